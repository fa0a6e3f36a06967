"""Shim before iPXE, for machines that know only Microsoft's keys."""

import shutil
import struct
import tempfile
from pathlib import Path

from appliance.errors import Problem
from appliance.run import run
from pxe.programs import SHIM, SHIMS_MANAGER, SHIMS_SECOND

SHIM_HOME = Path("/usr/lib/shim")
OBJCOPY = Path("/usr/bin/objcopy")
SHIM_FILES = frozenset((SHIM.file, SHIMS_SECOND, SHIMS_MANAGER))
# shim starts nothing that does not say which generations of components it is made of (shim's SBAT.md).
IPXE_GENERATIONS = """\
sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
ipxe,1,iPXE,ipxe,1,https://ipxe.org
"""
PAGE = 4096


def needed_packages() -> dict[Path, str]:
    """What has to be on this host, and the Debian package it comes from."""
    return {SHIM_HOME / f"{SHIM.file}.signed": "shim-signed", OBJCOPY: "binutils"}


def make_shim_files(place: Path, ipxe: Path) -> list[str]:
    """Make shim, its manager of keys, and an iPXE that it starts, in `place`; returns their names."""
    for name in (SHIM.file, SHIMS_MANAGER):
        shutil.copyfile(SHIM_HOME / f"{name}.signed", place / name)
    add_generations(ipxe, place / SHIMS_SECOND, IPXE_GENERATIONS)
    return sorted(SHIM_FILES)


def generations(program: Path) -> bytes:
    """What a program says of its generations (section .sbat); raises Problem when it says nothing."""
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text"
        run([OBJCOPY, "-O", "binary", "--only-section=.sbat", program, text])
        found = text.read_bytes().partition(b"\0")[0] if text.exists() else b""
    if not found.startswith(b"sbat,"):
        raise Problem(f"{program} has no section .sbat", hint="shim would refuse what is made of it")
    return found


def add_generations(program: Path, output: Path, text: str) -> None:
    """The program with a section `.sbat` behind its last one; the same program gives the same bytes."""
    head = program.read_bytes()[:PAGE]
    (start,) = struct.unpack_from("<I", head, 0x3C)
    # SizeOfImage: 56 bytes into the optional header (PE format), and in whole pages behind everything.
    (size,) = struct.unpack_from("<I", head, start + 24 + 56)
    address = -(-size // PAGE) * PAGE
    with tempfile.NamedTemporaryFile("w") as section:
        section.write(text)
        section.flush()
        place = ["--add-section", f".sbat={section.name}", "--change-section-address", f".sbat={address:#x}"]
        flags = ["--set-section-flags", ".sbat=contents,alloc,load,readonly,data"]
        run([OBJCOPY, *place, *flags, program, output])
    with output.open("r+b") as made:
        # objcopy writes the time it ran and a sum over it. Both may be nothing.
        (start,) = struct.unpack_from("<I", made.read(0x40), 0x3C)
        for field in (start + 8, start + 24 + 64):
            made.seek(field)
            made.write(bytes(4))
