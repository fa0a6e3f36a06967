"""Why a build compiled a package or took it from the pool, and its time against its history. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.farm_model import FailureRecord, JobPackage, Package

MOST_PAST = 20


@dataclass(frozen=True)
class PackageStory:
    """A package of a build as a person sees it."""

    entry: JobPackage
    why: tuple[str, ...]
    log: str
    """Name of its newest log; empty: there is none."""
    past: tuple[float, ...]
    """Seconds of its builds before, the newest first."""
    failure: FailureRecord | None = None

    @property
    def usual(self) -> float | None:
        """The middle of its history; None when it has none."""
        return statistics.median(self.past) if self.past else None


@dataclass(frozen=True)
class Ending:
    """How a package failed: what one wants to read first."""

    cpv: str
    said: str
    tail: str
    """The last lines of its log."""
    log: str
    """Name of its log; empty: there is none."""


@dataclass(frozen=True)
class Reason:
    """One thing the gate says, and the log that tells more; empty: none does."""

    said: str
    log: str


def log_of(reason: str, names: Sequence[str]) -> str:
    """Which of a build's logs tells more about one reason of the gate."""
    own = [name for name in names if name.startswith(f"build/{reason.partition(' ')[0]}:")]
    if own:
        return max(own)
    # buildfarm/gate.py: what a scratch machine lacks is in the log of its installation.
    likely = "client.out" if " machine" in reason and "virtual machine" not in reason else "emerge.out"
    return likely if likely in names else ""


def why_built(cpv: str, before: Package | None, differs: Sequence[str]) -> tuple[str, ...]:
    """`before`: the newest package of that name then; `differs`: which parts of its recipe changed since."""
    if before is None:
        return ("it was never built here",)
    if differs:
        return tuple(differs)
    if before.cpv != cpv:
        return (f"{before.cpv} was the last that was built",)
    return ("no package in the pool was built just this way: what decides about it changed",)


def why_reused(found: Package | None) -> tuple[str, ...]:
    if found is None:
        return ("a package that was built just this way was in the pool",)
    whose = f", built for {found.profile}" if found.profile else ""
    return (f"a package that was built just this way was in the pool{whose}",)
