"""A release is whole or not there, signed, and the same content is the same release."""

import lzma
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.model import Package
from appliance.run import CommandFailed, run
from buildfarm import manifest, release
from buildfarm.release import Content
from buildfarm.signing import Signer, verify
from buildfarm.tarball import read_directory, write_tar

FILES = (*release.FILES, "tree-gentoo.sqfs", "tree-guru.sqfs")
AT = 1795337807.0
PACKAGE = Package("ab" * 32, "app-misc/hello-2.10", 1, 10, "key", 100.0, "")


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


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("keys") / "keys")


def test_a_sealed_release_is_complete_and_signed(content: Content, releases: Path, signer: Signer) -> None:
    wanted = release.describe(content, AT)
    sealed = release.seal(content, wanted, releases=releases, signer=signer)
    place = releases / sealed.id
    assert [path.name for path in releases.iterdir()] == [sealed.id]
    assert sorted(p.name for p in place.iterdir()) == sorted([*FILES, "manifest", "manifest.sig"])
    verify(signer.public_keyring(), place / "manifest", place / "manifest.sig")
    assert manifest.parse((place / "manifest").read_text()).id == sealed.id
    assert (place / "stage").samefile(content.files["stage"])
    summary = release.summary(sealed)
    assert (summary.id, summary.created_at, summary.packages) == (sealed.id, AT, 1)


def test_the_same_content_on_another_day_is_the_same_release(
    content: Content, releases: Path, signer: Signer
) -> None:
    first = release.seal(content, release.describe(content, AT), releases=releases, signer=signer)
    later = release.describe(content, AT + 86400)
    assert later.id != first.id
    assert release.seal(content, later, releases=releases, signer=signer) == first
    assert len(list(releases.iterdir())) == 1


def test_what_a_killed_seal_left_is_no_release(content: Content, releases: Path, signer: Signer) -> None:
    wanted = release.describe(content, AT)
    left = releases / f"{wanted.id}.partial"
    left.mkdir()
    (left / "kernel").write_text("half")
    assert release.find(releases, wanted) is None
    release.seal(content, wanted, releases=releases, signer=signer)
    assert (releases / wanted.id / "kernel").read_text() == "kernel"
    assert not left.exists()


@pytest.mark.parametrize("name", ["kernel", "tree-guru.sqfs"])
def test_a_release_lacks_no_file(content: Content, name: str) -> None:
    left = {other: path for other, path in content.files.items() if other != name}
    with pytest.raises(ValueError, match="has the files"):
        release.describe(replace(content, files=left), AT)


def test_a_changed_file_does_not_fit_the_signature(tmp_path: Path, signer: Signer) -> None:
    text = tmp_path / "manifest"
    text.write_text("one")
    signer.sign(text, tmp_path / "sig")
    verify(signer.public_keyring(), text, tmp_path / "sig")
    text.write_text("two")
    with pytest.raises(CommandFailed):
        verify(signer.public_keyring(), text, tmp_path / "sig")


def test_the_private_key_is_for_its_owner_only(signer: Signer) -> None:
    signer.public_keyring()
    assert signer.home.stat().st_mode & 0o77 == 0


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
    write_tar(read_directory(top), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    listed = run(["tar", "-tvf", tmp_path / "one.tar"]).stdout
    assert "-rwxr-xr-x root" in listed or "-rwxr-xr-x 0/0" in listed
    assert "etc/link -> rc" in listed
