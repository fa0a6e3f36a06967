"""Reads where a profile's kernel comes from: a package of the tree, or one that the farm makes of sources."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance import kconfig
from appliance.schema import read_text

# Targets of the kernel's own Makefile that make a configuration from nothing.
BASES = ("defconfig", "tinyconfig", "allnoconfig", "alldefconfig")
NAME = r"[A-Za-z0-9_][A-Za-z0-9_+.-]*/[A-Za-z0-9_][A-Za-z0-9_+-]*"
PACKAGE = re.compile(NAME)
ATOM = re.compile(
    rf"(?:(?:[<>]=?|[=~])(?P<versioned>{NAME}-[0-9][A-Za-z0-9_.+-]*)\*?|(?P<plain>{NAME}))"
    r"(?::[\w.+/-]+)?(?:::[\w-]+)?(?:\[[^\]]+\])?"
)
VERSION = re.compile(r"-[0-9][A-Za-z0-9_.+]*(?:-r[0-9]+)?$")


@dataclass(frozen=True)
class KernelChoice:
    package: str
    source: str = ""
    base: str = ""
    """A target, or the text of a whole configuration."""


def choose_kernel(
    path: Path, lineage: tuple[str, ...], table: Mapping[str, str], complaints: list[str]
) -> KernelChoice:
    """What `[kernel]`, folded from a profile and its parents, says; mistakes are added to `complaints`."""
    where = f"{path / 'profiles' / lineage[-1] / 'profile.toml'}: kernel"
    package, source = table.get("package", ""), table.get("source", "")
    if bool(package) == bool(source):
        complaints.append(f"{where}: expected either package or source, got {'both' if source else 'none'}")
    elif package and not PACKAGE.fullmatch(package):
        complaints.append(f"{where}.package: expected CATEGORY/NAME, got {package!r}")
    elif source and not ATOM.fullmatch(source):
        complaints.append(
            f"{where}.source: expected an atom such as sys-kernel/gentoo-sources, got {source!r}"
        )
    if not source:
        if "base" in table:
            complaints.append(f"{where}.base: only for a kernel from source, {package} has its own")
        return KernelChoice(package)
    return KernelChoice(
        f"sys-kernel/{atom_name(source).partition('/')[2]}-kernel",
        source,
        _base(path, lineage, table.get("base", BASES[0]), complaints),
    )


def _base(path: Path, lineage: tuple[str, ...], base: str, complaints: list[str]) -> str:
    """A target by name, or the text of a file of the profile or of its nearest parent that has it."""
    if base in BASES:
        return base
    files = [path / "profiles" / name / base for name in reversed(lineage)]
    found = next((one for one in files if one.is_file()), None)
    if found is None:
        targets = ", ".join(BASES)
        complaints.append(
            f"{path / 'profiles' / lineage[-1] / 'profile.toml'}: kernel.base: expected {targets} or a file "
            f"beside profile.toml, got {base!r}"
        )
    return read_text(found, complaints) if found else ""


def atom_name(atom: str) -> str:
    """`>=sys-kernel/gentoo-sources-6.6:6.6[symlink]` -> `sys-kernel/gentoo-sources`."""
    found = ATOM.fullmatch(atom)
    if found is None:
        return atom
    return str(found["plain"] or VERSION.sub("", found["versioned"]))


def kernel_config(path: Path, lineage: tuple[str, ...], complaints: list[str]) -> str:
    """The fragments of a profile's parents and its own, joined.

    kconfig passes over a line it does not understand in silence, and a machine would lack what it meant.
    """
    texts = []
    for name in lineage:
        file = path / "profiles" / name / "kernel.config"
        text = read_text(file, complaints) if file.is_file() else ""
        for number, line in kconfig.mistakes(text):
            said = f"{file}:{number}: expected CONFIG_NAME=VALUE or # CONFIG_NAME is not set, got {line!r}"
            if said not in complaints:  # a parent's file is read once for each child
                complaints.append(said)
        # A file whose last line has no end would swallow the next file's first line.
        texts.append(text if text.endswith("\n") or not text else f"{text}\n")
    return "".join(texts)
