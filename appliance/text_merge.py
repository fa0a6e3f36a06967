"""Two changes of one text put together, so that a person can go on with both. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from appliance.merge_lines import Block, blocks, lines_of


@dataclass(frozen=True)
class Clash:
    """Lines that both changed, each in another way."""

    base: tuple[str, ...]
    mine: tuple[str, ...]
    theirs: tuple[str, ...]
    line: int
    """Of the merged text, where `mine` stands; counted from 1."""


@dataclass(frozen=True)
class Merged:
    text: str
    """Both changes; where they clash, mine: markers between them might pass for lines of the file."""
    clashes: tuple[Clash, ...]


def merge(base: str, mine: str, theirs: str) -> Merged:
    """As diff3 does, but that nothing has to be taken out of the text again."""
    old, own, other = lines_of(base), lines_of(mine), lines_of(theirs)
    made: list[str] = []
    clashes: list[Clash] = []
    at = own_at = other_at = 0
    ends = (len(old), len(own), len(other), 0)
    for start, own_start, other_start, size in (*_common(blocks(old, own), blocks(old, other)), ends):
        parts = old[at:start], own[own_at:own_start], other[other_at:other_start]
        if parts[1] == parts[0]:
            made += parts[2]
        else:
            if parts[2] not in (parts[0], parts[1]):
                was, yours, their = (tuple(one.rstrip("\n") for one in part) for part in parts)
                clashes.append(Clash(was, yours, their, len(made) + 1))
            made += parts[1]
        made += old[start : start + size]
        at, own_at, other_at = start + size, own_start + size, other_start + size
    return Merged("".join(made), tuple(clashes))


def _common(first: list[Block], second: list[Block]) -> Iterator[tuple[int, int, int, int]]:
    """Where all three texts agree: places in the base and in both others, and a length."""
    one = other = 0
    while one < len(first) and other < len(second):
        a, b = first[one], second[other]
        start, end = max(a.left, b.left), min(a.left + a.size, b.left + b.size)
        if start < end:
            yield start, a.right + start - a.left, b.right + start - b.left, end - start
        if a.left + a.size < b.left + b.size:
            one += 1
        else:
            other += 1
