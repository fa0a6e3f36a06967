"""Processors by the first word of a CHOST: what their ELF files say, what this host can run. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

CLASS_32, CLASS_64, LITTLE, BIG = 1, 2, 1, 2


@dataclass(frozen=True)
class Processor:
    """A kind of processor; the numbers are those of elf.h."""

    name: str
    """As `uname -m` says it."""
    elf: tuple[int, int, int]
    """Class, byte order and machine number of its programs."""
    emulator: str
    """The program of QEMU's user emulation that runs them; empty: none is asked for."""

    @property
    def magic(self) -> bytes:
        """How a program for it begins: identification, then e_type (2: executable) and e_machine."""
        size, order, machine = self.elf
        word: Literal["little", "big"] = "little" if order == LITTLE else "big"
        start = bytes((0x7F, *b"ELF", size, order, 1)).ljust(16, b"\0")
        return start + (2).to_bytes(2, word) + machine.to_bytes(2, word)

    @property
    def mask(self) -> bytes:
        """The ABI octet may be any (7); e_type may be 3, a program that can be loaded anywhere."""
        kind = b"\xfe\xff" if self.elf[1] == LITTLE else b"\xff\xfe"
        return b"\xff" * 7 + b"\0" + b"\xff" * 8 + kind + b"\xff\xff"


I686 = Processor("i686", (CLASS_32, LITTLE, 3), "")
X86_64 = Processor("x86_64", (CLASS_64, LITTLE, 62), "")
AARCH64 = Processor("aarch64", (CLASS_64, LITTLE, 183), "qemu-aarch64-static")
SPARC64 = Processor("sparc64", (CLASS_64, BIG, 43), "qemu-sparc64-static")
PROCESSORS: Mapping[str, Processor] = {
    "i386": I686, "i486": I686, "i586": I686, "i686": I686, "x86_64": X86_64, "aarch64": AARCH64,
    "sparc64": SPARC64,
}  # fmt: skip
RUNS: Mapping[str, frozenset[str]] = {"x86_64": frozenset({"x86_64", "i686"})}
"""What a processor runs besides its own programs."""


def of(chost: str) -> Processor | None:
    """The processor of a CHOST; None when its files are not known here."""
    return PROCESSORS.get(chost.partition("-")[0])


def is_native(chost: str, machine: str) -> bool:
    """Does a host with this `uname -m` run programs for the CHOST itself? One that is not known is let be."""
    wanted = of(chost)
    return wanted is None or wanted.name in RUNS.get(machine, frozenset({machine}))


def machine_of(head: bytes) -> tuple[int, int, int] | None:
    """Class, byte order and machine number of an ELF file by its first 20 octets; None: it is none."""
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return None
    return head[4], head[5], int.from_bytes(head[18:20], "little" if head[5] == LITTLE else "big")


def describe(elf: tuple[int, int, int]) -> str:
    """A processor for messages: its name, or its number where it is not known here."""
    names = sorted({one.name for one in PROCESSORS.values() if one.elf == elf})
    return names[0] if names else f"ELF machine {elf[2]}, {32 * elf[0]} bit"
