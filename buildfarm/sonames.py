"""Which libraries packages need and bring, by name and architecture as Portage writes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from buildfarm.elf import Linkage

Sonames = Mapping[str, frozenset[str]]
"""Multilib category, such as x86_64 -> names of libraries."""

# ELF machine -> the first half of a category (portage, dep/soname/multilib_category.py; numbers: elf.h).
PREFIXES: Mapping[int, str] = {
    2: "sparc", 3: "x86", 4: "m68k", 8: "mips", 15: "hppa", 18: "sparc", 20: "ppc", 21: "ppc", 22: "s390",
    40: "arm", 42: "sh", 43: "sparc", 45: "arc", 50: "ia64", 62: "x86", 93: "arc", 113: "nios2", 175: "e2k",
    183: "arm", 195: "arc", 224: "amdgpu", 243: "riscv", 247: "bpf", 253: "arc", 255: "arc", 258: "loong",
    0x9026: "alpha",
}  # fmt: skip
X86_64 = 62
RISCV = {0x1: "", 0x5: "d"}
"""e_flags: compressed instructions without or with double floats in registers."""
LOONG = {1: "lp64s", 2: "lp64f", 3: "lp64d", 5: "ilp32s", 6: "ilp32f", 7: "ilp32d"}
MIPS = {0x1000: "o32", 0x2000: "o64", 0x3000: "eabi32", 0x4000: "eabi64"}
MIPS_ABI, MIPS_ABI2 = 0xF000, 0x20


@dataclass(frozen=True, order=True)
class Absent:
    """A library that nothing brings."""

    soname: str
    category: str
    users: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.soname} ({self.category}) of {', '.join(self.users)}"


def parse(text: str) -> dict[str, frozenset[str]]:
    """`x86_64: libc.so.6 libm.so.6 x86_32: libc.so.6`, the form of REQUIRES and PROVIDES."""
    found: dict[str, set[str]] = {}
    category = ""
    for word in text.split():
        if word.endswith(":"):
            category = word[:-1]
        else:
            found.setdefault(category, set()).add(word)
    return {key: frozenset(names) for key, names in found.items()}


def absent(packages: Iterable[Mapping[str, str]], present: Sonames) -> tuple[Absent, ...]:
    """What packages (paragraphs of an index) require and neither one of them nor `present` has.

    What Portage was told to leave out (REQUIRES_EXCLUDE, PROVIDES_EXCLUDE) is in neither line.
    """
    provided = {category: set(names) for category, names in present.items()}
    users: dict[tuple[str, str], list[str]] = {}
    for fields in packages:
        for category, names in parse(fields.get("PROVIDES", "")).items():
            provided.setdefault(category, set()).update(names)
        for category, names in parse(fields.get("REQUIRES", "")).items():
            for name in names:
                users.setdefault((category, name), []).append(fields["CPV"])
    return tuple(
        sorted(
            Absent(name, category, tuple(sorted(needing)))
            for (category, name), needing in users.items()
            if name not in provided.get(category, ())
        )
    )


def category(about: Linkage) -> str:
    """How Portage calls the architecture of an ELF file; empty when it knows none."""
    wide = about.machine[0] == 2
    prefix = PREFIXES.get(about.machine[2], "")
    match prefix:
        case "riscv":
            floats = RISCV.get(about.flags)
            suffix = "" if floats is None else f"{'lp64' if wide else 'ilp32'}{floats}"
        case "loong":
            suffix = LOONG.get(about.flags & 0x7, "")
        case "mips":
            plain = "n32" if about.flags & MIPS_ABI2 else "n64" if wide else ""
            suffix = MIPS.get(about.flags & MIPS_ABI, plain) if about.flags & MIPS_ABI else plain
        case _:
            suffix = "64" if wide else "x32" if about.machine[2] == X86_64 else "32"
    return f"{prefix}_{suffix}" if prefix and suffix else ""
