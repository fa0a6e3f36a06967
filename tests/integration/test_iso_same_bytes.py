"""The same image is the same bytes, and a change of one file changes little."""

import hashlib
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.run import run
from iso.layout import BLOCK_BYTES, Image
from iso.payload import Content
from iso.writer import author, write_image
from tests.boot_images import make_boot_images

MADE_AT = 1795000000
DATE = "2026111811064000"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    place = tmp_path_factory.mktemp("payload")
    boot = make_boot_images(place)
    files: dict[str, Path | bytes] = {"boot/grub/grub.cfg": b"echo it boots\n"}
    for number in range(60):
        path = place / f"package{number}"
        path.write_bytes(hashlib.sha256(bytes([number])).digest() * (64 + 37 * number))
        files[f"pool/{number % 7:02x}/{number:064x}.gpkg.tar"] = path
    return Image("SAME", files, boot.bios, boot.efi, boot.mbr, MADE_AT)


def test_the_same_image_is_the_same_bytes(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another day, in another time zone, from copies of the files, told in another order."""
    first = write_image(image, tmp_path / "first.iso")
    copies: dict[str, Path | bytes] = {}
    for number, (path, content) in enumerate(reversed(list(image.files.items()))):
        copy = tmp_path / f"copy{number}"
        copy.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        os.utime(copy, (number, number))
        copies[path] = copy
    assert image.efi is not None
    (tmp_path / "efi").write_bytes(image.efi.read_bytes())
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 100 * 86400)
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    time.tzset()
    try:
        again = write_image(replace(image, files=copies, efi=tmp_path / "efi"), tmp_path / "again.iso")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert first == again
    assert (tmp_path / "first.iso").read_bytes() == (tmp_path / "again.iso").read_bytes()


def test_everything_was_made_at_the_time_of_the_image(image: Image, tmp_path: Path) -> None:
    write_image(image, tmp_path / "medium.iso")
    said = run(["xorriso", "-indev", tmp_path / "medium.iso", "-pvd_info"]).stdout
    dates = dict(re.findall(r"^(\w+)\.? Time\s*: (\d+)$", said, re.M))
    assert dates == {"Creation": DATE, "Modif": DATE, "Eff": DATE, "Expir": "0" * 16}
    files = run(["isoinfo", "-l", "-R", "-i", tmp_path / "medium.iso"]).stdout
    assert set(re.findall(r"\d+ (\w{3} \d+ \d{4}) \[", files)) == {"Nov 18 2026"}


def test_images_that_differ_have_other_guids(image: Image, tmp_path: Path) -> None:
    write_image(image, tmp_path / "one.iso")
    write_image(replace(image, files={**image.files, "distserver/id-1": b""}), tmp_path / "other.iso")
    one, other = (
        set(re.findall(r"[0-9A-F-]{36}", run(["sfdisk", "--dump", tmp_path / name]).stdout))
        for name in ("one.iso", "other.iso")
    )
    assert len(one) == len(other) == 3
    assert one & other == {"C12A7328-F81F-11D2-BA4B-00A0C93EC93B"}


def blocks_of(path: Path) -> dict[str, int]:
    """The digest of each block of 2 KiB, and where it is found first."""
    data = path.read_bytes()
    found: dict[str, int] = {}
    for start in range(0, len(data), BLOCK_BYTES):
        found.setdefault(hashlib.sha256(data[start : start + BLOCK_BYTES]).hexdigest(), start // BLOCK_BYTES)
    return found


@pytest.mark.parametrize("grown_bytes", [0, 7001], ids=["same-size", "larger"])
def test_what_changes_is_the_changed_file_and_metadata(
    image: Image, grown_bytes: int, tmp_path: Path
) -> None:
    """A file that grows moves the others by whole blocks, so their blocks stay what they were."""
    path = sorted(image.files)[20]
    before = image.files[path]
    assert isinstance(before, Path)
    changed = tmp_path / "changed"
    changed.write_bytes(os.urandom(before.stat().st_size + grown_bytes))
    write_image(image, tmp_path / "old.iso")
    write_image(replace(image, files={**image.files, path: changed}), tmp_path / "new.iso")
    old, new = blocks_of(tmp_path / "old.iso"), blocks_of(tmp_path / "new.iso")
    fresh = {block for digest, block in new.items() if digest not in old}
    said = run(["xorriso", "-indev", tmp_path / "new.iso", "-find", "/", "-exec", "report_lba", "--"]).stdout
    found = re.findall(r"^File data lba: *\d+ *, *(\d+) *, *(\d+) *, *\d+ *, *'/(.*)'$", said, re.M)
    extents = {name: range(int(start), int(start) + int(count)) for start, count, name in found}
    first_file = min(extent.start for extent in extents.values() if extent)
    last_file = max(extent.stop for extent in extents.values())
    own = set(extents[path])
    assert own <= fresh
    assert {block for block in fresh - own if first_file <= block < last_file} == set()
    assert len(fresh - own) < 60


def test_files_of_more_than_4_gib_have_their_place(image: Image, tmp_path: Path) -> None:
    """Nothing of their content is needed for that. Two that are alike are one extent also then."""
    large = Content(tmp_path / "large", (5 << 30) + 1, (0, 0, 0))
    small = Content(b"small", 5, None)
    files = {"a/large": large, "b/again": large, "c": small}
    with (tmp_path / "medium.iso").open("wb+") as target:
        medium = author(replace(image, bios=None, efi=None, mbr=None), files, target)
    assert [content for _, content in medium.placed] == [large, small]
    assert (tmp_path / "medium.iso").stat().st_size == medium.size_bytes
    start = medium.placed[0][0] // BLOCK_BYTES
    said = run(
        ["xorriso", "-indev", tmp_path / "medium.iso", "-find", "/", "-exec", "report_lba", "--"]
    ).stdout
    found = re.findall(r"^File data lba: *(\d+) *, *(\d+) *, *(\d+) *, *(\d+) *, *'/(.*)'$", said, re.M)
    chunk = 0xFFFFF800 // BLOCK_BYTES
    for path in ("a/large", "b/again"):
        parts = [(int(at), int(count)) for _, at, count, _, name in found if name == path]
        assert parts == [(start, chunk), (start + chunk, (5 << 30) // BLOCK_BYTES + 1 - chunk)]
    listing = run(["isoinfo", "-l", "-R", "-i", tmp_path / "medium.iso"]).stdout
    assert "Warning" not in listing
    assert "No problems found." in run(["sgdisk", "--verify", tmp_path / "medium.iso"]).stdout
