"""Decides who may fetch its kernel now when very many machines are switched on together. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pxe.recent import Recent

LEAST, MOST, USUAL = 8, 64, 32
"""Places, of which a slow line has the least, and one whose speed nobody knows the usual number."""
BYTES_PER_SECOND = 5_000_000
"""What a machine shall get at least: its 50 MB are then there in 10 s, and no client's time-out is near."""

GRACE_SECONDS = 15.0
"""A machine that has its place and fetches nothing for so long has vanished."""
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 10.0
LATE_SECONDS = 10.0
"""One that is so much later than it was told to be has given up its turn."""
LONGEST_WAIT_SECONDS = 3600.0
_FIRST_GUESS_SECONDS = 2.0
_WEIGHT = 0.1


def places(speeds_mbit: tuple[int, ...], *, processors: int) -> int:
    """How many may fetch at a time over links of these speeds; a speed that is not positive is unknown."""
    known = [speed for speed in speeds_mbit if speed > 0]
    by_line = sum(known) * 125_000 // BYTES_PER_SECOND if known else USUAL
    return max(LEAST, min(by_line, MOST, 32 * processors))


@dataclass(frozen=True)
class Waiter:
    since: float
    """When it asked first."""
    expected: float
    """When it was told to come again."""


@dataclass(frozen=True)
class Place:
    since: float
    seen: float
    """When it last began or ended to fetch something."""
    transfers: int = 0


@dataclass(frozen=True)
class Turn:
    """The answer: go on, or come again in so many seconds."""

    wait_seconds: int = 0
    before: int = 0
    """How many others come first."""
    since: float = 0.0
    """When it asked first."""
    first: bool = False
    """It asks for the first time."""

    @property
    def admitted(self) -> bool:
        return self.wait_seconds == 0


class Admission:
    """Places for whoever fetches; who waited longest goes first, give or take the number of places.

    Times are seconds since the epoch.

    `spread` gives numbers from 0 to 1: machines that were switched on together shall not come together again.
    The last 4096 waiters are remembered; one that is forgotten waits from then on.
    """

    def __init__(self, spread: Callable[[], float], *, limit: int = 4096) -> None:
        self._spread = spread
        self._places: dict[str, Place] = {}
        self._waiting: Recent[str, Waiter] = Recent(limit)
        self._mean_seconds = _FIRST_GUESS_SECONDS

    @property
    def taken(self) -> int:
        return len(self._places)

    def ask(self, who: str, now: float, *, of: int, since: float | None = None) -> Turn:
        """May it fetch, with `of` places in all? `since`: when it asked first, as it says itself."""
        self._sweep(now)
        if held := self._places.get(who):
            self._places[who] = replace(held, seen=now)
            return Turn()
        first = self._waiting.get(who) is None and since is None
        asked_at = self._asked_at(who, now, since)
        before = sum(
            1
            for other, waiter in self._waiting.items()
            if other != who and (waiter.since, other) < (asked_at, who)
        )
        free = of - len(self._places)
        # A place does not stand empty until the very first comes again: the next ones may have it.
        if free > 0 and before < max(free, of):
            self._waiting.pop(who)
            self._places[who] = Place(now, now)
            return Turn()
        seconds = self._seconds((before - max(free, 0) + 1) / max(of, 1) * self._mean_seconds)
        self._waiting.put(who, Waiter(asked_at, now + seconds))
        return Turn(seconds, before, asked_at, first)

    def enter(self, who: str, now: float) -> None:
        """It is let in whatever comes: it could not wait."""
        self._waiting.pop(who)
        self._places[who] = replace(self._places.get(who) or Place(now, now), seen=now)

    def began(self, who: str, now: float) -> None:
        """It fetches something."""
        if held := self._places.get(who):
            self._places[who] = replace(held, transfers=held.transfers + 1, seen=now)

    def ended(self, who: str, now: float, *, last: bool = False) -> None:
        """It has it, or the connection broke; `last`: it needs its place no more."""
        held = self._places.get(who)
        if held is None:
            return
        self._places[who] = replace(held, transfers=max(held.transfers - 1, 0), seen=now)
        if last:
            del self._places[who]
            taken = min(max(now - held.since, 0.0), GRACE_SECONDS)
            self._mean_seconds += _WEIGHT * (taken - self._mean_seconds)

    def _asked_at(self, who: str, now: float, since: float | None) -> float:
        if known := self._waiting.get(who):
            return known.since
        # Its own word counts when this server forgot: it was killed, or there were too many.
        believable = since is not None and now - LONGEST_WAIT_SECONDS <= since <= now
        return since if believable and since is not None else now

    def _seconds(self, fair: float) -> int:
        limited = min(max(fair, SHORTEST_SECONDS), LONGEST_SECONDS)
        return max(1, round(limited * (0.75 + 0.5 * self._spread())))

    def _sweep(self, now: float) -> None:
        """Forget who vanished. A clock that was set back makes everybody young, and nobody old."""
        for who, place in list(self._places.items()):
            if not place.transfers and now - place.seen > GRACE_SECONDS:
                del self._places[who]
        for who, waiter in self._waiting.items():
            if now - waiter.expected > LATE_SECONDS:
                self._waiting.pop(who)
