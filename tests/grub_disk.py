"""A disk in a file that a PC's BIOS starts GRUB from, with one ext4 file system; no root, no loop device."""

import struct
from pathlib import Path

from appliance.run import run

MODULES = Path("/usr/lib/grub/i386-pc")
NEEDED = ("biosdisk", "part_gpt", "ext2")
SECTOR = 512
MIB = 1 << 20
CORE_AT, ROOT_AT = 2048, 4096
"""Sectors: the BIOS boot partition and the file system."""
KERNEL_SECTOR = 0x5C
"""In boot.img, eight octets (GRUB_BOOT_MACHINE_KERNEL_SECTOR of include/grub/i386/pc/boot.h)."""
BLOCKS = SECTOR - 12
"""In diskboot.img: first sector, how many, and the segment that they are loaded to."""
SEGMENT = 0x820
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
CODE_BYTES = 440
"""Of the first sector; then the partition table begins."""


def make_disk(tree: Path, disk: Path, *, size_bytes: int = 256 * MIB) -> Path:
    """`tree` with a /boot/grub/grub.cfg becomes the file system; GRUB's modules are laid in it."""
    place = tree / "boot/grub/i386-pc"
    place.mkdir(parents=True)
    for path in MODULES.iterdir():
        if path.suffix in (".mod", ".lst"):
            (place / path.name).write_bytes(path.read_bytes())
    core = disk.with_suffix(".core")
    prefix = "(hd0,gpt2)/boot/grub"
    run(["grub-mkimage", "-O", "i386-pc", "-p", prefix, "-o", core, *NEEDED])
    with disk.open("wb") as sink:
        sink.truncate(size_bytes)
    rooms = f"start={CORE_AT}, size=2048, type={BIOS_BOOT}\nstart={ROOT_AT}, type=L\n"
    run(["sfdisk", "-q", disk], stdin=f"label: gpt\n{rooms}".encode())
    kib = (size_bytes - ROOT_AT * SECTOR - MIB) // 1024
    run(["mkfs.ext4", "-q", "-F", "-d", tree, "-E", f"offset={ROOT_AT * SECTOR}", disk, f"{kib}k"])
    content = bytearray(core.read_bytes())
    content += bytes(-len(content) % SECTOR)
    struct.pack_into("<QHH", content, BLOCKS, CORE_AT + 1, len(content) // SECTOR - 1, SEGMENT)
    boot = bytearray((MODULES / "boot.img").read_bytes()[:CODE_BYTES])
    struct.pack_into("<Q", boot, KERNEL_SECTOR, CORE_AT)
    with disk.open("r+b") as sink:
        sink.write(boot)
        sink.seek(CORE_AT * SECTOR)
        sink.write(content)
    return disk
