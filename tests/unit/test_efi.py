"""Which files are EFI programs, and for which processor."""

import struct
from pathlib import Path

import pytest

from buildfarm import efi


def program(machine: int, subsystem: int = 10, start: int = 0x80) -> bytes:
    """The head of a PE file as far as it is read."""
    coff = struct.pack("<4sH18x", b"PE\0\0", machine)
    optional = struct.pack("<H66xH", 0x20B, subsystem)
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", start) + bytes(start - 0x40) + coff + optional


@pytest.mark.parametrize(
    ("data", "processor"),
    [
        (program(0x8664), "x64"),
        (program(0x014C), "ia32"),
        (program(0xAA64), "arm64"),
        (program(0x1234), ""),
        (program(0x8664, subsystem=3), ""),
        (program(0x8664)[:-4], ""),
        (program(0x8664, start=5000), ""),
        (b"MZ", ""),
        (b"\x7fELF" + bytes(5000), ""),
        (b"", ""),
    ],
)
def test_the_processor_of_an_efi_program(data: bytes, processor: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    assert efi.processor(tmp_path / "file") == processor
