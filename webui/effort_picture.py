"""A build's time against its history: a bar, and a mark where the middle of its history is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 1000
MARK = 12


@dataclass(frozen=True)
class EffortPicture:
    """In a picture that is WIDTH wide."""

    width: float
    """Of the bar."""
    mark: float | None
    """Where the mark begins; None: there is no history."""
    slow: bool
    """It took much longer than usual."""


SLOW = 1.5


def draw(seconds: float, past: Sequence[float], usual: float | None) -> EffortPicture:
    """The longest of all is as wide as the picture."""
    longest = max(seconds, *past, 0.001) if past else max(seconds, 0.001)
    width = round(WIDTH * max(0.0, seconds) / longest, 1)
    if usual is None:
        return EffortPicture(width, None, slow=False)
    mark = min(round(WIDTH * usual / longest, 1), WIDTH - MARK)
    return EffortPicture(width, mark, slow=seconds > SLOW * usual)
