"""What a Sun machine reads before any program of ours runs: its disk label, and kernel with initramfs."""

import gzip
import struct
from pathlib import Path

import pytest

from appliance import sun_label
from appliance.errors import Problem
from appliance.run import run
from buildfarm import open_firmware

DISK = 8 * 10**9
ENTRY = 0x404000
MIB = 1 << 20


def kernel(*, mark: bytes = b"HdrS") -> bytes:
    """An ELF file as the kernel is one: two segments, the second with room behind its content."""
    text = b"\x10\x80\x00\x0f\x81\x58\x00\x00" + mark + bytes(0x40)
    head = b"\x7fELF\x02\x02\x01".ljust(16, b"\0") + struct.pack(">HHIQQQ", 2, 43, 1, ENTRY, 64, 0)
    head += struct.pack(">IHHHHHH", 0, 64, 56, 2, 64, 0, 0)
    one = struct.pack(">IIQQQQQQ", 1, 5, 0x4000, ENTRY, ENTRY, len(text), len(text), 8192)
    two = struct.pack(">IIQQQQQQ", 1, 6, 0x6000, ENTRY + 0x2000, ENTRY + 0x2000, 4, 0x100, 8192)
    return (head + one + two).ljust(0x4000, b"\0") + text.ljust(0x2000, b"\0") + b"data"


def test_kernel_and_initramfs_become_one_image_that_the_firmware_jumps_into() -> None:
    made = open_firmware.image(kernel(), b"an initramfs")
    magic, text_bytes, data, room, _, entry, *_ = struct.unpack_from(">8I", made)
    assert (magic, text_bytes, data, room, entry) == (0x01030107, len(made) - 32, 0, 0, 0x4000)
    memory = made[32:]
    assert memory[0x2000:0x2004] == b"data"
    where, length = struct.unpack_from(">II", memory, 0x18)
    assert memory[where - ENTRY : where - ENTRY + length] == b"an initramfs"
    assert where % 8192 == 0
    # The firmware drops the image's last octets; the initramfs is not among them.
    assert memory[where - ENTRY + length :] == bytes(8192)
    # The kernel's own end, and what it clears there, is before it.
    assert where >= ENTRY + 0x2100 + 32


def test_a_packed_kernel_makes_the_same_image_and_none_has_no_initramfs() -> None:
    plain = open_firmware.image(kernel())
    assert open_firmware.image(gzip.compress(kernel())) == plain
    assert struct.unpack_from(">II", plain, 32 + 0x18) == (0, 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Path("/bin/sh").read_bytes()[:512], "no 64 bit ELF file of a big-endian machine"),
        (b"MZ" + bytes(100), "no 64 bit ELF file"),
        (kernel(mark=b"none"), "no header for a boot loader"),
    ],
)
def test_what_is_no_kernel_of_these_machines_is_refused(wrong: bytes, said: str) -> None:
    with pytest.raises(Problem, match=said):
        open_firmware.image(wrong)


def test_sfdisk_reads_the_label_as_it_was_planned(tmp_path: Path) -> None:
    slices = sun_label.plan(
        DISK, [(sun_label.BOOT, 32 * MIB), (sun_label.SWAP, 100 * MIB), (sun_label.ROOT, None)]
    )
    disk = tmp_path / "disk"
    disk.write_bytes(sun_label.label(DISK, slices))
    with disk.open("r+b") as file:
        file.truncate(DISK)
    said = run(["sfdisk", "--dump", disk]).stdout
    assert "label: sun" in said
    # sfdisk counts from one; the third is the whole disk.
    lines = {line.partition(" ")[0][-1]: line for line in said.splitlines() if "start=" in line}
    assert {number: line.rpartition("type=")[2] for number, line in lines.items()} == {
        "1": "1", "2": "3", "3": "5", "4": "2",
    }  # fmt: skip
    assert f"start= {slices[0].first_sector:>11}, size= {slices[0].cylinders * 1008:>11}" in lines["1"]
    assert slices[0].cylinders * sun_label.CYLINDER_BYTES >= 32 * MIB
    assert slices[3].first == slices[1].first + slices[1].cylinders
    assert slices[3].first + slices[3].cylinders == slices[2].cylinders
    assert "vtoc" not in said


def test_a_disk_that_is_too_small_and_a_ninth_partition_are_problems() -> None:
    with pytest.raises(Problem, match="too few for its partitions"):
        sun_label.plan(10 * MIB, [(sun_label.ROOT, 20 * MIB)])
    with pytest.raises(Problem, match="room for 7 partitions, 8 are wanted"):
        sun_label.plan(DISK, [(sun_label.ROOT, MIB)] * 8)
