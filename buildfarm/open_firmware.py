"""Kernel and initramfs in one image, as Open Firmware of SPARC machines loads it: TFTP, disk. Pure."""

import gzip
import struct
from dataclasses import dataclass

from appliance.errors import Problem

SPARC_HEADER = b"\x7fELF\x02\x02"
EXECUTABLE = 0x01030107
"""a.out for SPARC, text that may be written (OMAGIC): the only format that every OpenBoot loads."""
LOAD_BASE = 0x4000
PAGE = 8192
AFTER_END = 32
"""So much is left between the kernel's end and the initramfs (Linux, arch/sparc/boot/piggyback.c)."""
SPARE = PAGE
"""Behind the initramfs: OpenBIOS 1.1 says that it loaded all of an image, and its end is not in memory."""
MARK = b"HdrS"
MARK_AT = 8
ROOT_FLAGS_AT = 0x12
RAMDISK = 0x0100
PT_LOAD = 1


@dataclass(frozen=True)
class _Loaded:
    """A kernel as it lies in memory, from its entry on."""

    entry: int
    memory: bytes


def image(kernel: bytes, initramfs: bytes = b"") -> bytes:
    """The a.out image of a sparc64 kernel (ELF, perhaps packed with gzip) and an initramfs.

    The firmware loads it at LOAD_BASE and jumps there; the kernel finds the initramfs behind itself by what
    is written into its header (HdrS, arch/sparc/kernel/head_64.S). Raises Problem when it is no such kernel.
    """
    loaded = _load(gzip.decompress(kernel) if kernel[:2] == b"\x1f\x8b" else kernel)
    memory = bytearray(loaded.memory)
    if memory[MARK_AT : MARK_AT + len(MARK)] != MARK:
        raise Problem("the kernel has no header for a boot loader (HdrS)", hint="expected Linux for sparc64")
    end = loaded.entry + len(memory)
    place = (end + AFTER_END + PAGE - 1) // PAGE * PAGE
    if initramfs:
        # root_flags, root_dev, ram_flags; the initramfs' place in the kernel's own addresses, and its size.
        fields = (0, RAMDISK, 0, place, len(initramfs))
        struct.pack_into(">HHHII", memory, ROOT_FLAGS_AT, *fields)
    text = bytes(memory) + bytes(place - end) + initramfs + bytes(SPARE)
    return struct.pack(">8I", EXECUTABLE, len(text), 0, 0, 0, LOAD_BASE, 0, 0) + text


def _load(elf: bytes) -> _Loaded:
    if elf[:6] != SPARC_HEADER:
        raise Problem("the kernel is no 64 bit ELF file of a big-endian machine", hint="expected sparc64")
    entry, table = struct.unpack_from(">QQ", elf, 24)
    size, count = struct.unpack_from(">HH", elf, 54)
    segments = []
    for number in range(count):
        kind, _, offset, address, _, length, room, _ = struct.unpack_from(
            ">IIQQQQQQ", elf, table + number * size
        )
        if kind == PT_LOAD:
            segments.append((address, offset, length, room))
    end = max((address + room for address, _, _, room in segments), default=entry)
    memory = bytearray(end - entry)
    for address, offset, length, _ in segments:
        start = max(address, entry)
        memory[start - entry : address + length - entry] = elf[offset + start - address : offset + length]
    return _Loaded(entry, bytes(memory))
