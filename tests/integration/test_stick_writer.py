"""Writes on real block devices: what is there before and after, and what is said when it goes wrong."""

import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from appliance.desks.usb import UsbDesk
from appliance.errors import Problem
from appliance.overlays import HOME
from appliance.run import CommandFailed, run
from iso.image_file import examine
from iso.stick_writer import BLOCK_BYTES, Interrupted, Phase, Written, write_stick
from iso.sticks import Refused, Stick, judge
from iso.usb import survey
from tests.hybrid_image import hybrid_image, medium_files
from tests.loop_devices import blank, loop_device
from tests.used_sticks import NOISE, STICK_BYTES, apart, find, used_stick


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six blocks, the last one of them not whole."""
    return hybrid_image(tmp_path_factory.mktemp("image"), medium_files())


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """The file behind a stick that was in use: all of it is written on."""
    return used_stick(tmp_path / "stick")


def write(
    device: Path,
    image: Path,
    *,
    check: Callable[[], None] = lambda: None,
    gone: Callable[[float], bool] = lambda seconds: False,
    progress: Callable[[Phase, int, int], None] = lambda phase, done, total: None,
) -> Written:
    return write_stick(device, image, name="stick", check=check, gone=gone, progress=progress)


def boots(file: Path) -> bool:
    """Whether firmware finds anything: MBR, GPT, its backup at the end, an ISO's descriptors."""
    with file.open("rb") as there:
        head, size = there.read(BLOCK_BYTES), file.stat().st_size
        there.seek(size - 512)
        last = there.read(512)
    return any(head) or last.startswith(b"EFI PART")


def test_the_stick_is_the_image_byte_for_byte_and_the_progress_is_whole(image: Path, stick: Path) -> None:
    seen: list[tuple[Phase, int, int]] = []
    with loop_device(stick) as device:
        written = write(device, image, progress=lambda *step: seen.append(step))
    data = image.read_bytes()
    assert stick.read_bytes()[: len(data)] == data
    assert written == Written(len(data), hashlib.sha256(data).hexdigest(), True)
    for phase in Phase:
        done = [step[1] for step in seen if step[0] is phase]
        assert done == sorted(set(done))
        assert done[-1] == len(data)


def test_the_kernel_forgets_old_partitions_and_no_old_table_is_found_again(image: Path, stick: Path) -> None:
    """The stick was a GPT disk with RAID metadata at its end."""
    run(["sgdisk", "--new", "1:2048:+4M", "--new", "2:30000:+4M", stick])
    with stick.open("r+b") as file:
        file.seek(STICK_BYTES - 64 * 1024)
        file.write((0xA92B4EFC).to_bytes(4, "little"))
    with loop_device(stick) as device:
        write(device, image)
    said = run(["sgdisk", "-v", stick], ok=range(256)).stdout
    assert "Identified 1 problems!" in said
    assert "doesn't reside\nat the end of the disk" in said
    assert not any(stick.read_bytes()[-1024 * 1024 :])
    assert "iso9660" in run(["blkid", "-p", "-o", "value", "-s", "TYPE", stick]).stdout


@pytest.mark.parametrize("extra", [0, 512, 4096, 100 * 1024])
def test_a_stick_that_is_just_large_enough_is_right(image: Path, tmp_path: Path, extra: int) -> None:
    stick = blank(tmp_path / "stick", image.stat().st_size + extra)
    with loop_device(stick) as device:
        write(device, image)
    assert stick.read_bytes()[: image.stat().st_size] == image.read_bytes()


@pytest.mark.parametrize("size", [512, BLOCK_BYTES, BLOCK_BYTES + 512, 2 * BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_images_of_one_and_two_and_three_blocks(tmp_path: Path, size: int) -> None:
    image, stick = tmp_path / "image", blank(tmp_path / "stick", 3 * BLOCK_BYTES)
    image.write_bytes(os.urandom(size))
    with loop_device(stick) as device:
        assert write(device, image).sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    assert stick.read_bytes()[:size] == image.read_bytes()


def test_a_stick_that_is_too_small_is_refused_before_the_first_write(image: Path, tmp_path: Path) -> None:
    stick = blank(tmp_path / "stick", image.stat().st_size - 512)
    stick.write_bytes(b"x" * stick.stat().st_size)
    with loop_device(stick) as device, pytest.raises(Problem, match=r"holds 4.9 MB and the image has 4.9 MB"):
        write(device, image)
    assert set(stick.read_bytes()) == set(b"x")


def test_a_read_only_stick_is_refused(image: Path, stick: Path) -> None:
    with loop_device(stick, read_only=True) as device, pytest.raises(Problem, match="is read-only"):
        write(device, image)


def test_a_mounted_stick_and_one_whose_partition_is_mounted_are_refused(
    image: Path, stick: Path, tmp_path: Path
) -> None:
    """By the kernel itself, and by what the survey found; the mount is in a namespace of its own."""
    place = tmp_path / "place"
    place.mkdir()
    run(["mkfs.ext4", "-q", "-F", stick])
    with loop_device(stick) as device:
        said = apart(__name__, f"tell_refusals(Path('{device}'), Path('{image}'), Path('{place}'))")
    assert f"is mounted at {place} umount {place}" in said
    assert "stick is in use: mounted, or held by another program" in said


def tell_refusals(device: Path, image: Path, place: Path) -> None:
    run(["mount", "-n", device, place])
    system = survey()
    number = device.stat().st_rdev
    drive = next(one for one in system.drives if os.makedev(*one.number) == number)
    judged = judge(drive, system)
    assert isinstance(judged, Refused)
    for reason in judged.reasons:
        print(reason.said, reason.fix)
    try:
        write(device, image)
    except Problem as problem:
        print(problem)


def test_a_stick_that_another_program_holds_is_refused(image: Path, stick: Path) -> None:
    with loop_device(stick) as device:
        holder = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            with pytest.raises(Problem, match="stick is in use"):
                write(device, image)
        finally:
            os.close(holder)
        write(device, image)


def test_udevd_is_kept_from_looking_at_it_meanwhile(image: Path, stick: Path) -> None:
    """The lock that systemd's documents name, shared by udevd while it looks at a device."""
    locks: list[int | None] = []

    def look(phase: Phase, done: int, total: int) -> None:
        udevd = os.open(device, os.O_RDONLY)
        try:
            fcntl.flock(udevd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            locks.append(error.errno)
        finally:
            os.close(udevd)

    with loop_device(stick) as device:
        write(device, image, progress=look)
    assert set(locks) == {errno.EWOULDBLOCK}


@pytest.mark.parametrize("block", [0, 1, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize("within", [0, 77_777])
def test_a_byte_that_is_not_what_was_written_is_named(
    image: Path, stick: Path, block: int, within: int
) -> None:
    """It changes on the medium itself, below every cache of the device; the stick does not boot then."""
    offset = block * BLOCK_BYTES + within

    def damage(phase: Phase, done: int, total: int) -> None:
        ends = block in (0, 4)
        if phase is Phase.WRITE and done == (total if ends else 4 * BLOCK_BYTES - BLOCK_BYTES):
            with stick.open("r+b") as file:
                file.seek(offset)
                was = file.read(1)[0]
                file.seek(offset)
                file.write(bytes((was ^ 0x40,)))

    good = image.read_bytes()[offset]
    said = f"byte {offset} of stick reads 0x{good ^ 0x40:02x}, expected 0x{good:02x}: stick is not usable"
    with loop_device(stick) as device, pytest.raises(Problem, match=said):
        write(device, image, progress=damage)
    assert not boots(stick)


class Broken(Exception):
    pass


@pytest.mark.parametrize("whole", [False, True], ids=["a larger stick", "as large as the image"])
def test_wherever_it_ends_a_half_written_stick_does_not_boot(
    image: Path, tmp_path: Path, whole: bool
) -> None:
    """After each block of both phases; the old stick had a GPT, and its backup at the end."""
    size = image.stat().st_size + (0 if whole else 4 * BLOCK_BYTES)
    steps = 0
    with loop_device(blank(tmp_path / "count", size)) as device:

        def count(phase: Phase, done: int, total: int) -> None:
            nonlocal steps
            steps += 1

        write(device, image, progress=count)
    assert steps == 10
    stick = blank(tmp_path / "stick", size)
    run(["sgdisk", "--new", "1:2048:0", stick])
    before = stick.read_bytes()
    for end in range(1, steps + 1):
        stick.write_bytes(before)
        assert boots(stick)
        left = end

        def stop(phase: Phase, done: int, total: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt

        with loop_device(stick) as device, pytest.raises(Interrupted) as stopped:
            write(device, image, progress=stop)
        assert "stick is not usable and does not boot" in stopped.value.message
        assert not boots(stick)


def test_what_is_raised_before_the_first_write_leaves_everything(image: Path, stick: Path) -> None:
    before = stick.read_bytes()

    def other() -> None:
        raise Problem("another stick")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with loop_device(stick) as device:
        with pytest.raises(Problem, match="another stick"):
            write(device, image, check=other)
        with pytest.raises(KeyboardInterrupt):
            write(device, image, check=interrupt)
    assert stick.read_bytes() == before


def test_a_closed_pipe_is_not_called_a_broken_stick(image: Path, stick: Path) -> None:
    def closed(phase: Phase, done: int, total: int) -> None:
        raise BrokenPipeError

    with loop_device(stick) as device, pytest.raises(BrokenPipeError):
        write(device, image, progress=closed)
    assert not boots(stick)


def test_a_medium_that_takes_no_more_is_named_with_the_place(image: Path, tmp_path: Path) -> None:
    """A file system without room behind the stick: the device answers a write with an error."""
    said = apart(__name__, f"tell_full(Path('{image}'), Path('{tmp_path}'))")
    assert "stick failed at byte" in said
    assert "while writing it" in said
    assert "stick is not usable and does not boot" in said
    assert "worn out, or smaller than it says" in said
    assert "stick was pulled out while writing it" in said, "the same error of one that is gone"


def answer(said: bool, seconds: float) -> bool:
    return said


def tell_full(image: Path, place: Path) -> None:
    run(["mount", "-n", "-t", "tmpfs", "-o", "size=4M", "tmpfs", place])
    for is_gone in (False, True):
        with loop_device(blank(place / "stick", STICK_BYTES)) as device:
            try:
                write(device, image, gone=partial(answer, is_gone))
            except Problem as problem:
                print(problem)


def test_an_image_that_is_cut_or_changed_while_it_is_written_is_said(
    image: Path, stick: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"

    def cut(phase: Phase, done: int, total: int) -> None:
        os.truncate(copy, 2 * BLOCK_BYTES)

    def change(phase: Phase, done: int, total: int) -> None:
        for file, data in ((stick, b"?"), (copy, b"!")):
            with file.open("r+b") as there:
                there.seek(BLOCK_BYTES)
                there.write(data)

    for spoil, said in ((cut, "the image became shorter"), (change, "the image was changed meanwhile")):
        copy.write_bytes(image.read_bytes())
        with loop_device(stick) as device, pytest.raises(Problem, match=said):
            write(device, copy, progress=spoil)
        assert not boots(stick)


# The whole command


def test_what_is_no_stick_is_refused_by_the_command_with_the_reason(image: Path, stick: Path) -> None:
    with loop_device(stick) as device:
        name = find(device).name
        with pytest.raises(CommandFailed) as failed:
            run([sys.executable, "-m", "appliance.cli", "usb", "write", image, name, "--yes"], cwd=HOME)
    assert failed.value.status == 1
    assert f"{name} (a drive without a name, 33.6 MB, no serial number) is not written" in failed.value.output
    assert "its bus is none that is known" in failed.value.output
    assert stick.read_bytes().startswith(NOISE)


def test_the_desk_writes_only_the_stick_that_was_chosen(image: Path, stick: Path) -> None:
    """A stick that was exchanged for another of the same name, between the question and the answer."""
    with loop_device(stick) as device:
        drive = find(device)
        for other in (replace(drive, sequence="1"), replace(drive, serial="S-9")):
            with pytest.raises(Problem, match="is another one now"):
                UsbDesk().write(Stick(other), examine(image), lambda phase, done, total: None)
        with pytest.raises(Problem, match="is not written: it is no removable medium"):
            UsbDesk().write(Stick(drive), examine(image), lambda phase, done, total: None)
    assert stick.read_bytes().startswith(NOISE)
