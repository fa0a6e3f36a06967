"""Repositories that are one file: continued downloads, signatures, damage."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.run import run
from appliance.site_model import SyncKind
from tests.integration.mirrors import GEMATO, ArchiveMirror, Keys, make_mirror, repository
from tests.integration.syncyard import NOW, Yard, change, listing


@pytest.fixture(params=[SyncKind.SNAPSHOT, SyncKind.SQUASHFS], ids=lambda kind: kind.value)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveMirror]:
    made = make_mirror(request.param, tmp_path)
    assert isinstance(made, ArchiveMirror)
    # Bytes that do not shrink: half of a file is worth going on from.
    (made.tree / "noise").write_bytes(os.urandom(200_000))
    made.release(at=NOW)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def archive_yard(archive: ArchiveMirror, tmp_path: Path) -> Yard:
    (tmp_path / "state").mkdir()
    return Yard(tmp_path / "state", repository(archive))


def test_an_unchanged_file_is_not_sent_again(archive: ArchiveMirror, archive_yard: Yard) -> None:
    first = archive_yard.sync()
    assert archive.server
    archive.server.requests.clear()
    assert archive_yard.sync() == first
    ((path, headers),) = archive.server.requests
    assert path == f"/{archive.name}"
    assert headers["If-None-Match"]


def test_a_broken_download_is_refused_and_continued(archive: ArchiveMirror, archive_yard: Yard) -> None:
    assert archive.server
    archive.server.cut_after = 100_000
    assert "100000 of" in archive_yard.refused()
    archive.server.cut_after = None
    archive_yard.sync()
    headers = [headers for path, headers in archive.server.requests if path == f"/{archive.name}"][-1]
    assert headers["Range"] == "bytes=100000-"


def test_a_part_of_another_file_is_not_mixed_in(archive: ArchiveMirror, archive_yard: Yard) -> None:
    assert archive.server
    archive.server.cut_after = 100_000
    archive_yard.refused()
    archive.server.cut_after = None
    (archive.tree / "noise").write_bytes(os.urandom(200_000))
    archive.release(at=NOW)
    assert "noise" in listing(archive_yard.sync())


def test_a_file_that_is_no_archive_is_refused(archive: ArchiveMirror, archive_yard: Yard) -> None:
    first = archive_yard.sync()
    good = (archive.place / archive.name).read_bytes()
    (archive.place / archive.name).write_bytes(good[:90_000])
    assert "cannot be unpacked" in archive_yard.refused()
    (archive.place / archive.name).write_bytes(good)
    assert archive_yard.sync().revision == first.revision


def test_a_tarball_without_signature_may_hold_a_signed_manifest(
    tmp_path: Path, mirror_keys: tuple[Keys, Keys]
) -> None:
    made = make_mirror(SyncKind.SNAPSHOT, tmp_path)
    words = ["--hashes", "BLAKE2B SHA512", "--openpgp-id", mirror_keys[0].name, "--sign"]
    run([*GEMATO, "create", *words, made.tree], env=mirror_keys[0].env)
    made.release()
    made.start()
    yard = Yard(tmp_path / "state", repository(made, mirror_keys[0].keyring))
    yard.path.mkdir()
    first = yard.sync()
    change(made)
    made.release()
    assert "its Manifest does not verify" in yard.refused()
    assert yard.state.revision == first.revision
    made.stop()


def test_a_wrong_checksum_beside_the_file_is_found(archive: ArchiveMirror, archive_yard: Yard) -> None:
    (archive.place / f"{archive.name}.md5sum").write_text(f"{'0' * 32}  {archive.name}\n")
    assert "its md5 is" in archive_yard.refused()


def test_a_file_url_works_like_any_other(archive: ArchiveMirror, archive_yard: Yard) -> None:
    archive_yard.repository = replace(archive_yard.repository, uri=(archive.place / archive.name).as_uri())
    first = archive_yard.sync()
    assert archive_yard.sync() == first
    (archive.place / archive.name).unlink()
    assert "tiny was not synchronised" in archive_yard.refused()
