"""Compares what is installed with a release, package by package and by the hash of what was merged."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distserver_client.index import Listed

FIELDS = ("BUILD_ID", "BINPKGMD5", "SLOT")


@dataclass(frozen=True)
class Inventory:
    """How the installed packages differ from a release; pure."""

    same: tuple[str, ...]
    """category/PF of those that are the very packages of the release."""
    differ: tuple[str, ...]
    """Of those whose slot the release fills with another package."""
    foreign: tuple[str, ...]
    """Of those whose name and slot the release does not have."""

    @property
    def drift(self) -> tuple[str, ...]:
        return tuple(sorted(self.differ + self.foreign))


def compare(installed: Iterable[Listed], release: Sequence[Listed]) -> Inventory:
    """BINPKGMD5 is the MD5 of the package that was merged, and the index has the MD5 of each."""
    offered = {(one.cpv, one.build_id, one.md5) for one in release}
    slots = {_slot(one) for one in release}
    same, differ, foreign = [], [], []
    for one in sorted(installed, key=lambda each: each.cpv):
        if (one.cpv, one.build_id, one.md5) in offered:
            same.append(one.cpv)
        elif _slot(one) in slots:
            differ.append(one.cpv)
        else:
            foreign.append(one.cpv)
    return Inventory(tuple(same), tuple(differ), tuple(foreign))


def digest(installed: Iterable[Listed]) -> str:
    """SHA256 of what is installed: the same on two machines that have the same packages."""
    lines = sorted(f"{one.cpv} {one.build_id} {one.md5}\n" for one in installed)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def to_merge_again(installed: Iterable[Listed], release: Sequence[Listed]) -> tuple[str, ...]:
    """category/PF of the release's packages for slots where something else is, or something else, too.

    A merge that was cut off between its last file and the removal of the old package leaves two in one slot,
    and the resolver then sees the right one there (depgraph looks at what is newest in a slot).
    """
    wrong = {_slot(one) for one in installed if not _is_of(one, release)}
    return tuple(sorted(one.cpv for one in release if _slot(one) in wrong))


def _is_of(one: Listed, release: Sequence[Listed]) -> bool:
    return any((one.cpv, one.build_id, one.md5) == (each.cpv, each.build_id, each.md5) for each in release)


def read(packages: Path) -> tuple[Listed, ...]:
    """What Portage's own record says is installed."""
    found = []
    for place in sorted(packages.glob("*/*/")):
        # -MERGING-: a merge that was cut off; Portage itself looks past it (vartree.py).
        if place.name.startswith("-MERGING-"):
            continue
        build_id, md5, slot = (_field(place / name) for name in FIELDS)
        found.append(Listed(f"{place.parent.name}/{place.name}", build_id, md5, slot.partition("/")[0]))
    return tuple(found)


def _field(path: Path) -> str:
    return path.read_text(errors="replace").strip() if path.is_file() else ""


def _slot(one: Listed) -> tuple[str, str]:
    return split_name(one.cpv), one.slot


def split_name(cpv: str) -> str:
    """category/PN of category/PF; a name never ends like a version (PMS 3.1.2)."""
    words = cpv.split("-")
    at = len(words) - 1
    if at > 1 and words[at][:1] == "r" and words[at][1:].isdigit() and words[at - 1][:1].isdigit():
        at -= 1
    return "-".join(words[:at])
