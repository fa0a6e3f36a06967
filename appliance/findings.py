"""What a check found: how bad it is, what it is about, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """The exit status of `distserver doctor` is the worst of these."""

    GREEN = 0
    YELLOW = 1
    """Some machines will not boot, or not as they should."""
    RED = 2
    """A whole kind of machines will not boot."""


@dataclass(frozen=True)
class Finding:
    level: Level
    subject: str
    said: str
    fix: str = ""


@dataclass(frozen=True)
class Examined:
    """What was found on one interface."""

    interface: str
    answers: int
    findings: tuple[Finding, ...]


def worst(findings: Iterable[Finding]) -> Level:
    return max((finding.level for finding in findings), default=Level.GREEN)
