"""Writing an image all or nothing: disks that fill up, files that change, kills."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from iso.layout import Image
from iso.payload import PIECE_BYTES
from iso.writer import Written, write_image
from tests.crash import killed

OLD = 1_000_000_000
"""Seconds since the epoch: files that were changed long ago, so that a change is another time."""


def payload(place: Path, name: str, size: int, fill: bytes = b"x") -> Path:
    path = place / name
    path.write_bytes(fill * size)
    os.utime(path, (OLD, OLD))
    return path


def data(files: dict[str, Path | bytes]) -> Image:
    return Image("DATA", files, bios=None, efi=None, mbr=None, made_at=OLD)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    run(["mount", "-n", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place])
    try:
        yield place
    finally:
        run(["umount", "-n", place])


def test_a_full_disk_is_said_at_once_and_keeps_the_old_image(tmp_path: Path) -> None:
    big = payload(tmp_path, "big", 5 << 20)
    told: list[int] = []
    with small_disk(tmp_path / "disk", "4m") as disk:
        output = disk / "medium.iso"
        write_image(data({"small": b"a"}), output)
        before = output.read_bytes()
        with pytest.raises(Problem, match=r"no space for .*medium\.iso"):
            write_image(data({"big": big}), output, lambda done, total: told.append(done))
        assert output.read_bytes() == before
        assert [one.name for one in disk.iterdir()] == ["medium.iso"]
    assert told == []


def test_an_image_crosses_file_systems(tmp_path: Path) -> None:
    big = payload(tmp_path, "big", PIECE_BYTES + 5)
    with small_disk(tmp_path / "disk", "20m") as disk:
        said = write_image(data({"big": big}), disk / "medium.iso")
        assert hashlib.sha256((disk / "medium.iso").read_bytes()).hexdigest() == said.sha256
        assert said == write_image(data({"big": big}), tmp_path / "here.iso")


def test_progress_rises_to_the_size_of_the_image(tmp_path: Path) -> None:
    files: dict[str, Path | bytes] = {"big": payload(tmp_path, "big", 3 * PIECE_BYTES), "small": b"b" * 5000}
    told: list[tuple[int, int]] = []
    written = write_image(data(files), tmp_path / "medium.iso", lambda *numbers: told.append(numbers))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {written.size_bytes}
    assert told[-1] == (written.size_bytes, written.size_bytes)
    assert len(told) >= 5


def shrink(path: Path) -> None:
    os.truncate(path, 100)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"y")


def replace(path: Path) -> None:
    payload(path.parent, "other", path.stat().st_size, b"y").replace(path)


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [shrink, rewrite, replace])
def test_a_file_that_changes_before_it_is_read_is_named(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    first, second = payload(tmp_path, "first", 5000), payload(tmp_path, "second", 6000)
    (tmp_path / "out").mkdir()
    with pytest.raises(Problem, match="second changed while it was being put on the medium"):
        write_image(
            data({"a": first, "b": second}), tmp_path / "out" / "medium.iso", lambda *_: change(second)
        )
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("change", [shrink, rewrite])
def test_a_file_that_changes_while_it_is_read_is_named(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    big = payload(tmp_path, "big", 2 * PIECE_BYTES + 1)
    (tmp_path / "out").mkdir()
    with pytest.raises(Problem, match="big changed while it was being put on the medium"):
        write_image(data({"a": big}), tmp_path / "out" / "medium.iso", lambda *_: change(big))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_goes_meanwhile_is_named(tmp_path: Path) -> None:
    first, second = payload(tmp_path, "first", 5000), payload(tmp_path, "second", 6000)
    with pytest.raises(Problem, match="second cannot be put on the medium: No such file"):
        write_image(data({"a": first, "b": second}), tmp_path / "medium.iso", lambda *_: remove(second))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["first"]


@pytest.mark.parametrize(
    ("name", "why"), [("nothing", "No such file"), (".", "no plain file"), ("pipe", "no plain file")]
)
def test_what_is_no_file_is_named(name: str, why: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Problem, match=f"{tmp_path / name} cannot be put on the medium: .*{why}"):
        write_image(data({"a": tmp_path / name}), tmp_path / "medium.iso")
    assert not (tmp_path / "medium.iso").exists()


def test_where_no_file_can_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"medium\.iso cannot be written: No such file or directory"):
        write_image(data({}), tmp_path / "nowhere" / "medium.iso")
    (tmp_path / "taken.iso").mkdir()
    with pytest.raises(Problem, match=r"taken\.iso cannot be written: Is a directory"):
        write_image(data({}), tmp_path / "taken.iso")
    assert [one.name for one in tmp_path.iterdir()] == ["taken.iso"]


def test_only_one_writes_an_image(tmp_path: Path) -> None:
    with (tmp_path / ".medium.iso.partial").open("wb") as other:
        other.write(b"half of what another process writes")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Problem, match=r"medium\.iso is being written by somebody else"):
            write_image(data({}), tmp_path / "medium.iso")
        assert (tmp_path / ".medium.iso.partial").stat().st_size > 0
    write_image(data({}), tmp_path / "medium.iso")
    assert [one.name for one in tmp_path.iterdir()] == ["medium.iso"]


def test_a_writer_killed_anywhere_leaves_the_old_image_or_the_new(tmp_path: Path) -> None:
    big = payload(tmp_path, "big", PIECE_BYTES + 1)
    place = tmp_path / "out"
    place.mkdir()
    output = place / "medium.iso"
    old = data({"old": b"old"})

    def digest() -> str:
        return hashlib.sha256(output.read_bytes()).hexdigest()

    whole: list[Written] = [write_image(data({"new": big}), output), write_image(old, output)]
    new_digest, old_digest = (one.sha256 for one in whole)
    seen, change = [], 0
    while killed(place, change, lambda: write_image(data({"new": big}), output)):
        assert digest() in (old_digest, new_digest)
        seen.append(digest())
        change += 1
    assert change >= 3
    assert seen[0] == old_digest
    assert digest() == new_digest
    assert [one.name for one in place.iterdir()] == ["medium.iso"]


def test_a_writer_killed_while_it_copies_leaves_the_old_image(tmp_path: Path) -> None:
    big = payload(tmp_path, "big", 2 * PIECE_BYTES)
    output = tmp_path / "medium.iso"
    before = write_image(data({"old": b"old"}), output)
    child = os.fork()
    if child == 0:
        write_image(data({"new": big}), output, lambda *_: os.kill(os.getpid(), 9))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    assert hashlib.sha256(output.read_bytes()).hexdigest() == before.sha256
    after = write_image(data({"new": big}), output)
    assert hashlib.sha256(output.read_bytes()).hexdigest() == after.sha256
    assert sorted(one.name for one in tmp_path.iterdir()) == ["big", "medium.iso"]


def test_what_goes_wrong_otherwise_leaves_nothing(tmp_path: Path) -> None:
    def broken(done_bytes: int, total_bytes: int) -> None:
        raise OSError(errno.EIO, "a broken callback")

    with pytest.raises(OSError, match="a broken callback"):
        write_image(data({"a": b"a"}), tmp_path / "medium.iso", broken)
    assert list(tmp_path.iterdir()) == []


def test_an_efi_image_of_32_mib_is_refused(tmp_path: Path) -> None:
    efi = tmp_path / "efi.img"
    efi.touch()
    os.truncate(efi, 32 << 20)
    image = Image("DATA", {}, bios=None, efi=efi, mbr=None, made_at=OLD)
    with pytest.raises(Problem, match=r"efi\.img has 33554432 bytes, but firmware starts less than 32 MiB"):
        write_image(image, tmp_path / "medium.iso")
    os.truncate(efi, 0)
    with pytest.raises(Problem, match="it is empty"):
        write_image(image, tmp_path / "medium.iso")
    os.truncate(efi, (32 << 20) - 512)
    write_image(image, tmp_path / "medium.iso")
    assert "No problems found." in run(["sgdisk", "--verify", tmp_path / "medium.iso"]).stdout
