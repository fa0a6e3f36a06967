"""Small pictures of the overview: parts of a whole side by side, and times along one axis. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

WIDTH = 1000.0
LEAST = 8.0
"""One machine of ten thousand is seen, too."""


@dataclass(frozen=True)
class Part:
    """A piece of a bar that is WIDTH wide."""

    name: str
    count: int
    left: float
    width: float


def parts(counts: Mapping[str, int]) -> tuple[Part, ...]:
    """One for each name with a count, in their order; together they are as wide as the bar."""
    there = {name: count for name, count in counts.items() if count > 0}
    whole = sum(there.values())
    shares = {name: max(LEAST, WIDTH * count / whole) for name, count in there.items()}
    scale = WIDTH / sum(shares.values()) if shares else 1.0
    found, left = [], 0.0
    for name, share in shares.items():
        width = share * scale
        found.append(Part(name, there[name], round(left, 1), round(width, 1)))
        left += width
    return tuple(found)


def along(start: float, end: float, *, first: float, last: float) -> tuple[float, float]:
    """(left, width) of a time between `start` and `end` on an axis from `first` to `last`."""
    whole = max(last - first, 1.0)
    left = WIDTH * (min(max(start, first), last) - first) / whole
    right = WIDTH * (min(max(end, first), last) - first) / whole
    left = min(left, WIDTH - LEAST)
    return round(left, 1), round(max(right - left, LEAST), 1)
