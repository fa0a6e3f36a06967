"""Reads EFI programs: whether a file is one, and for which processor."""

import struct
from pathlib import Path

MACHINES = {
    0x8664: "x64",
    0x014C: "ia32",
    0xAA64: "arm64",
    0x01C2: "arm32",
    0x5064: "riscv64",
    0x6264: "loong64",
}
"""What UEFI calls the processors (UEFI 2.10, 3.5.1.1), by the machine field of a PE header."""
EFI_APPLICATION = 10
HEADER_BYTES = 4096


def processor(program: Path) -> str:
    """The processor an EFI program is for, as its firmware names it (x64); empty when the file is none.

    A kernel is one when it was built with CONFIG_EFI_STUB.
    """
    with program.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if head[:2] != b"MZ" or len(head) < 0x40:
        return ""
    (start,) = struct.unpack_from("<I", head, 0x3C)
    # Signature, the 20 bytes of the COFF header, and the subsystem 68 bytes into what follows (PE format).
    if start + 24 + 70 > len(head) or head[start : start + 4] != b"PE\0\0":
        return ""
    (machine,) = struct.unpack_from("<H", head, start + 4)
    (subsystem,) = struct.unpack_from("<H", head, start + 24 + 68)
    return MACHINES.get(machine, "") if subsystem == EFI_APPLICATION else ""
