"""Decides what stays and why; what nothing names and is old enough goes. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

SHOWN = 3


@dataclass(frozen=True)
class Rules:
    now: float
    keep_releases: int
    """The newest of each profile, and as many of each channel's history."""
    keep_seconds: float
    busy_since: float | None = None
    """When the oldest build that runs began: what came since then is about to be named."""

    def is_young(self, at: float) -> bool:
        """A time to come counts as young: a clock that went back must not make anything old."""
        oldest = self.now - self.keep_seconds
        return at >= (oldest if self.busy_since is None else min(oldest, self.busy_since))


@dataclass(frozen=True)
class Entry:
    """A sealed release as it lies on the disk."""

    id: str
    profile: str
    created_at: float
    touched_at: float
    """When it was sealed here, or found to be the same as what was just built."""


@dataclass(frozen=True)
class Named:
    """Who names releases."""

    channels: Mapping[str, str] = field(default_factory=dict)
    """`PROFILE/CHANNEL` -> release."""
    pins: Mapping[str, str] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    """MAC -> the release it has or is being given."""
    history: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`PROFILE/CHANNEL` -> what it named, the newest first, each once."""
    media: Mapping[str, str] = field(default_factory=dict)
    """Image that may still install its machine -> release."""


def releases(entries: Iterable[Entry], named: Named, rules: Rules) -> dict[str, list[str]]:
    """Release id -> why it stays; nothing: it goes."""
    entries = list(entries)
    why: dict[str, list[str]] = {entry.id: [] for entry in entries}

    def stays(release: str, reason: str) -> None:
        if release in why:
            why[release].append(reason)

    for channel, release in sorted(named.channels.items()):
        stays(release, f"channel {channel} names it")
    for channel, release in sorted(named.pins.items()):
        stays(release, f"channel {channel} is pinned to it")
    for mac, release in sorted(named.machines.items()):
        stays(release, f"machine {mac} has it")
    for medium, release in sorted(named.media.items()):
        stays(release, f"image {medium} may still install its machine from it")
    for channel, history in sorted(named.history.items()):
        for release in history[: rules.keep_releases]:
            stays(release, f"channel {channel} can be rolled back to it")
    for profile in sorted({entry.profile for entry in entries}):
        own = [entry for entry in entries if entry.profile == profile]
        newest = sorted(own, key=lambda entry: (entry.created_at, entry.id), reverse=True)
        for entry in newest[: rules.keep_releases]:
            stays(entry.id, f"it is one of the newest of profile {profile}")
    for entry in entries:
        if rules.is_young(max(entry.created_at, entry.touched_at)):
            stays(entry.id, "it is young")
    return why


def some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return ", ".join(ordered[:SHOWN]) + more
