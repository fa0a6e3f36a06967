"""Compares versions of packages, as the Package Manager Specification says in 3.3."""

import re
from itertools import zip_longest
from typing import Any

VERSION = re.compile(
    r"(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<letter>[a-z]?)"
    r"(?P<suffixes>(?:_(?:alpha|beta|pre|rc|p)[0-9]*)*)(?:-r(?P<revision>[0-9]+))?"
)
SUFFIX = re.compile(r"_(alpha|beta|pre|rc|p)([0-9]*)")
RANK = {"alpha": 0, "beta": 1, "pre": 2, "rc": 3, "": 4, "p": 5}
NO_SUFFIX = (RANK[""], 0)


def compare(one: str, other: str) -> int:
    """-1, 0 or 1 as `one` is less than, the same as or more than `other`; ValueError when one is none."""
    first, second = _match(one), _match(other)
    return (
        _numbers(first["numbers"].split("."), second["numbers"].split("."))
        or _sign(first["letter"], second["letter"])
        or _sign(*_suffixes(first["suffixes"], second["suffixes"]))
        or _sign(int(first["revision"] or 0), int(second["revision"] or 0))
    )


def without_revision(version: str) -> str:
    return re.sub(r"-r[0-9]+$", "", version)


def _match(version: str) -> re.Match[str]:
    found = VERSION.fullmatch(version)
    if not found:
        raise ValueError(f"{version!r} is no version")
    return found


def _numbers(one: list[str], other: list[str]) -> int:
    """The first as numbers; of the others those with a leading zero as decimal fractions."""
    if first := _sign(int(one[0]), int(other[0])):
        return first
    for mine, theirs in zip(one[1:], other[1:], strict=False):
        if mine.startswith("0") or theirs.startswith("0"):
            found = _sign(mine.rstrip("0"), theirs.rstrip("0"))
        else:
            found = _sign(int(mine), int(theirs))
        if found:
            return found
    return _sign(len(one), len(other))


def _suffixes(one: str, other: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Both with the same length: no suffix is more than _rc and less than _p."""
    pairs = zip_longest(SUFFIX.findall(one), SUFFIX.findall(other), fillvalue=None)
    ranked = [(_rank(mine), _rank(theirs)) for mine, theirs in pairs]
    return [mine for mine, _ in ranked], [theirs for _, theirs in ranked]


def _rank(suffix: tuple[str, str] | None) -> tuple[int, int]:
    return (RANK[suffix[0]], int(suffix[1] or 0)) if suffix else NO_SUFFIX


def _sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)
