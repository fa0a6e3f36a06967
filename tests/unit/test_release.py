"""A release is whole or not there, signed, and the same content is the same release."""

import hashlib
import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.run import run
from buildfarm import manifest, release
from buildfarm.inspection import Inspector
from buildfarm.pool import Pool
from buildfarm.release import Content
from buildfarm.tarball import read_directory, write_tar
from tests.fake_notary import FakeNotary

FILES = (*release.FILES, "tree-gentoo.sqfs", "tree-guru.sqfs")
AT = 1795337807.0
BYTES = b"a package"
PACKAGE = Package(hashlib.sha256(BYTES).hexdigest(), "app-misc/hello-2.10", 1, len(BYTES), "key", 100.0, "")


@pytest.fixture
def content(tmp_path: Path) -> Content:
    (tmp_path / "out").mkdir()
    files = {name: tmp_path / "out" / name for name in FILES}
    for name, path in files.items():
        path.write_text(name)
    return Content("vm", "amd64", "gentoo:9b10e9f guru:0123", files, (PACKAGE,))


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    return tmp_path / "releases"


@pytest.fixture
def inspector(tmp_path: Path) -> Inspector:
    pool = Pool(tmp_path / "pool")
    pool.file(PACKAGE.sha256).parent.mkdir(parents=True)
    pool.file(PACKAGE.sha256).write_bytes(BYTES)
    return Inspector(pool, FakeNotary())


def test_a_sealed_release_is_complete_and_signed(
    content: Content, releases: Path, inspector: Inspector
) -> None:
    wanted = release.describe(content, AT)
    sealed = release.seal(content, wanted, releases=releases, inspector=inspector)
    place = releases / sealed.id
    assert [path.name for path in releases.iterdir()] == [sealed.id]
    assert sorted(p.name for p in place.iterdir()) == sorted([*FILES, "manifest", "manifest.sig"])
    inspector.notary.check(place / "manifest", place / "manifest.sig")
    assert manifest.parse((place / "manifest").read_text()).id == sealed.id
    assert (place / "stage").samefile(content.files["stage"])
    summary = release.summary(sealed)
    assert (summary.id, summary.created_at, summary.packages) == (sealed.id, AT, 1)


def test_the_same_content_on_another_day_is_the_same_release(
    content: Content, releases: Path, inspector: Inspector
) -> None:
    first = release.seal(content, release.describe(content, AT), releases=releases, inspector=inspector)
    later = release.describe(content, AT + 86400)
    assert later.id != first.id
    assert release.seal(content, later, releases=releases, inspector=inspector) == first
    assert len(list(releases.iterdir())) == 1


def test_what_a_killed_seal_left_is_no_release(
    content: Content, releases: Path, inspector: Inspector
) -> None:
    wanted = release.describe(content, AT)
    left = releases / f"{wanted.id}.partial"
    left.mkdir()
    (left / "kernel").write_text("half")
    assert release.find(releases, wanted, inspector) is None
    release.seal(content, wanted, releases=releases, inspector=inspector)
    assert (releases / wanted.id / "kernel").read_text() == "kernel"
    assert not left.exists()


@pytest.mark.parametrize("name", ["kernel", "tree-guru.sqfs"])
def test_a_release_lacks_no_file(content: Content, name: str) -> None:
    left = {other: path for other, path in content.files.items() if other != name}
    with pytest.raises(ValueError, match="has the files"):
        release.describe(replace(content, files=left), AT)


def test_a_signed_release_has_a_signed_kernel_and_its_loader(content: Content, tmp_path: Path) -> None:
    signed = {name: tmp_path / name for name in release.SIGNED}
    for path in signed.values():
        path.write_bytes(b"signed")
    plain = release.describe(content, AT)
    both = release.describe(replace(content, files={**content.files, **signed}), AT)
    assert {item.name for item in both.files} - {item.name for item in plain.files} == set(release.SIGNED)
    assert both.content != plain.content
    for name, path in signed.items():
        with pytest.raises(ValueError, match="has the files"):
            release.describe(replace(content, files={**content.files, name: path}), AT)


def test_a_shim_stands_only_before_a_signed_loader(content: Content, tmp_path: Path) -> None:
    added = {name: tmp_path / name for name in release.SHIMMED}
    for path in added.values():
        path.write_bytes(b"signed")
    whole = release.describe(replace(content, files={**content.files, **added}), AT)
    assert {item.name for item in whole.files} >= set(release.SHIMMED)
    for name in release.SHIMMED:
        some = {other: path for other, path in added.items() if other != name}
        with pytest.raises(ValueError, match="has the files"):
            release.describe(replace(content, files={**content.files, **some}), AT)


def test_a_package_that_left_the_pool_is_in_no_release(
    content: Content, releases: Path, inspector: Inspector
) -> None:
    inspector.pool.file(PACKAGE.sha256).unlink()
    with pytest.raises(Problem, match="no longer has app-misc/hello"):
        release.seal(content, release.describe(content, AT), releases=releases, inspector=inspector)
    assert list(releases.iterdir()) == []


def test_a_release_that_was_altered_is_made_again_under_its_name(
    content: Content, releases: Path, inspector: Inspector
) -> None:
    wanted = release.describe(content, AT)
    release.seal(content, wanted, releases=releases, inspector=inspector)
    damaged = releases / wanted.id / "kernel"
    damaged.unlink()
    damaged.write_text("kernex")
    assert inspector.reasons(releases / wanted.id) == ["kernel has other bytes than its manifest says"]
    assert release.seal(content, wanted, releases=releases, inspector=inspector) == wanted
    assert Inspector(inspector.pool, inspector.notary).reasons(releases / wanted.id) == []
    assert (releases / f"{wanted.id}.damaged" / "kernel").read_text() == "kernex"


def test_an_xz_stage_is_packed_again_once(tmp_path: Path) -> None:
    stage = tmp_path / "archive"
    stage.write_bytes(lzma.compress(b"a tar"))
    packed = release.stage_archive(stage)
    assert run(["zstd", "-dc", packed]).stdout == "a tar"
    assert release.stage_archive(stage) == packed
    assert release.stage_archive(packed) == packed


def test_a_stage_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"something")
    with pytest.raises(Problem, match="unknown way"):
        release.stage_archive(tmp_path / "archive")


def test_a_tar_depends_on_contents_only(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "etc").mkdir(parents=True)
    (top / "etc/rc").write_text("#!/bin/sh\n")
    (top / "etc/rc").chmod(0o700)
    (top / "etc/link").symlink_to("rc")
    write_tar(read_directory(top), tmp_path / "one.tar")
    (top / "etc/rc").touch()
    (top / "etc/rc").chmod(0o755)
    (top / "etc/__pycache__").mkdir()
    (top / "etc/__pycache__/rc.cpython-311.pyc").touch()
    write_tar(read_directory(top), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    listed = run(["tar", "-tvf", tmp_path / "one.tar"]).stdout
    assert "-rwxr-xr-x root" in listed or "-rwxr-xr-x 0/0" in listed
    assert "etc/link -> rc" in listed
