"""What is found of real block devices: what is on them, what is built on them, and that one went."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from appliance.run import run
from iso.sticks import Block, Refused, judge
from iso.usb import is_there, node, survey, watching
from tests.hybrid_image import hybrid_image, medium_files
from tests.loop_devices import blank, loop_device
from tests.used_sticks import STICK_BYTES, apart, find, used_stick


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    return used_stick(tmp_path / "stick")


def test_a_loop_device_is_found_with_what_is_on_it_and_refused_by_its_bus(
    stick: Path, tmp_path: Path
) -> None:
    with stick.open("r+b") as file:
        file.write(hybrid_image(tmp_path, medium_files()).read_bytes())
    with loop_device(stick) as device:
        system = survey()
        drive = find(device)
        block = system.blocks[drive.name]
        assert (drive.size_bytes, drive.sector_bytes, drive.read_only) == (STICK_BYTES, 512, False)
        assert (block.contents.file_system, block.contents.table) == ("iso9660", "gpt")
        assert block.contents.label == "DISTSERVER_VM"
        judged = judge(drive, system)
        assert isinstance(judged, Refused)
        assert [reason.said for reason in judged.reasons] == [
            "it is no removable medium: its bus is none that is known"
        ]
    with loop_device(stick, read_only=True) as device:
        assert find(device).read_only


def test_a_loop_device_on_a_stick_counts_as_built_on_it(stick: Path, tmp_path: Path) -> None:
    with loop_device(stick) as device, loop_device(device) as upper:
        system = survey()
        block: Block = system.blocks[find(upper).name]
        assert block.built_on == {find(device).name}


def test_what_the_kernel_says_is_built_on_a_stick_and_swapped_to_is_found(
    stick: Path, tmp_path: Path
) -> None:
    """Its words are laid over /sys and /proc in a mount namespace: not every kernel has device mapper."""
    other = blank(tmp_path / "other", STICK_BYTES)
    with loop_device(stick) as device, loop_device(other) as upper:
        lower, name = find(device).name, find(upper).name
        said = apart(__name__, f"tell_stack('{lower}', '{name}', '{upper}', Path('{tmp_path}'))").splitlines()
    assert said == [
        f"it belongs to the running system: {name}, which is built on it, is swap space",
        f"it belongs to the running system: {lower} is what the system boots from or mounts: /boot",
        f"it belongs to the running system: {name}, which is built on it, is what the system boots from"
        " or mounts: resume= of the kernel",
        f"{name} is built on {lower} and uses it",
        "it is no removable medium: its bus is none that is known",
    ]


def tell_stack(lower: str, upper: str, node: str, place: Path) -> None:
    slaves = Path(f"/sys/class/block/{upper}/slaves").resolve()
    run(["mount", "-n", "-t", "tmpfs", "tmpfs", slaves])
    (slaves / lower).symlink_to(f"../../{lower}")
    words = {
        "/proc/swaps": f"Filename Type Size Used Priority\n{node} partition 1024 0 -2\n",
        "/etc/fstab": f"# <file system>\n/dev/{lower} /boot ext4 noauto 0 2\n",
        "/proc/cmdline": f"ro resume=/dev/{upper}\n",
    }
    for number, (path, text) in enumerate(words.items()):
        (place / str(number)).write_text(text)
        run(["mount", "-n", "--bind", place / str(number), path])
    system = survey()
    drive = next(one for one in system.drives if one.name == lower)
    judged = judge(drive, system)
    assert isinstance(judged, Refused)
    for reason in judged.reasons:
        print(reason.said)


def test_a_stick_that_was_exchanged_is_another_one(stick: Path) -> None:
    with loop_device(stick) as device:
        drive = find(device)
        assert is_there(drive)
        assert not is_there(replace(drive, sequence="0")), "another one with the same number and size"
        with watching(drive) as gone:
            assert not gone(0.1)
    assert not is_there(drive)
    with watching(drive) as gone:
        assert gone(0)


def test_that_a_stick_goes_is_waited_for(stick: Path) -> None:
    """A write fails a moment before the kernel takes a pulled stick away."""
    with ExitStack() as plugged:
        drive = find(plugged.enter_context(loop_device(stick)))
        with watching(drive) as gone:
            pull = Thread(target=plugged.close)
            pull.start()
            assert gone(30)
            pull.join()


def test_a_node_is_made_where_dev_has_none() -> None:
    with node("no such/name", (1, 3)) as path:
        assert path.is_block_device()
        assert path.stat().st_rdev == os.makedev(1, 3)
    assert not path.exists()


def test_udevs_database_is_believed_where_there_is_one(stick: Path) -> None:
    """A record as udevd writes it, in a mount namespace of its own; blkid would find nothing here."""
    with loop_device(stick) as device:
        said = apart(__name__, f"tell_database({device.stat().st_rdev})")
    assert said.split("\n")[:2] == ["vfat MY ÖLD STICK", "S-77"]


def tell_database(number: int) -> None:
    run(["mount", "-n", "-t", "tmpfs", "tmpfs", "/run"])
    place = Path("/run/udev/data")
    place.mkdir(parents=True)
    lines = (
        "S:disk/by-id/x", "I:1", "E:ID_FS_TYPE=vfat", r"E:ID_FS_LABEL_ENC=MY\x20\xc3\x96LD\x20STICK",
        "E:ID_SERIAL_SHORT=S-77", "V:1",
    )  # fmt: skip
    (place / f"b{os.major(number)}:{os.minor(number)}").write_text("\n".join(lines) + "\n")
    system = survey()
    drive = next(one for one in system.drives if os.makedev(*one.number) == number)
    contents = system.blocks[drive.name].contents
    print(contents.file_system, contents.label)
    print(drive.serial)
