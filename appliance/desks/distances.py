"""How far it is from one release to another, at a glance: read once, as releases do not change."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from buildfarm import difference
from buildfarm.difference import Contents

MOST_KNOWN = 512
"""Pairs that are remembered; each is three numbers."""
Mark = tuple[int, int, int]
"""Of a file: its inode, when it was written, its size."""


@dataclass(frozen=True)
class Distance:
    """What a machine sees that goes from one release to another."""

    packages: int
    """That come, go or change."""
    reboot: bool
    """The kernel is another one."""
    fetch_bytes: int


def distance(before: Path, after: Path) -> Distance:
    """Of two releases' directories.

    Raises OSError when one cannot be read, also when it could be before; Problem when it is none.
    """
    return _distance(before, after, tuple(_mark(place / "Packages") for place in (before, after)))


def _mark(file: Path) -> Mark:
    found = file.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _read(place: Path, mark: Mark) -> Contents:
    """Few are kept, as they are large: most machines are compared with the same published release."""
    return difference.read_packages(place)


@lru_cache(maxsize=MOST_KNOWN)
def _distance(before: Path, after: Path, marks: tuple[Mark, ...]) -> Distance:
    """`marks`: so that a directory that was made anew is read anew."""
    found = difference.compare(*(_read(*one) for one in zip((before, after), marks, strict=True)))
    return Distance(len(found.rows()), found.reboot, found.fetch_bytes)
