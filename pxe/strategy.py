"""Which strategy a DISCOVER gets: the next one when the machine did not follow what it was offered."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from appliance.strategies import Preference, Source, Strategy
from pxe.recent import Recent

CYCLE = (Strategy.BINL, Strategy.DIRECT, Strategy.MENU)
"""The order in which a machine that follows none of them is offered them, beginning with its first."""

_ORDERS = {first: (first, *(one for one in CYCLE if one is not first)) for first in Strategy}

SAME_MOMENT_SECONDS = 1.5
"""A DISCOVER that comes again within this time, `secs` unchanged, came by two ways and is no new question."""
FOLLOWING_SECONDS = 120.0
"""What a machine fetches later than this after its DISCOVER has another reason."""
FORGOTTEN_SECONDS = 600.0
"""A machine that asks again later than this was switched on anew; it begins with the preferred strategy."""
PATIENCE_PROVEN = 3
"""Boots that a strategy may fail in a machine that followed it before: its DHCP server may have been down."""
PATIENCE_ASKED = 2
"""Boots that a strategy may fail after the machine came to port 4011 for it, but fetched nothing."""


class Reached(Enum):
    """How far a machine followed what it was offered last."""

    NOTHING = 0
    ASKED = 1
    """It asked port 4011."""
    FETCHED = 2
    """It asked for its boot program."""


@dataclass(frozen=True)
class Attempt:
    """What is known of a machine's attempts to boot since it last succeeded."""

    xid: int
    secs: int
    at: float
    """When its last DISCOVER came."""
    order: tuple[Strategy, ...]
    turn: int = 0
    """How many strategies it did not follow."""
    boots: int = 0
    """Boots that failed with the present strategy."""
    proven: bool = False
    """It followed the first one of `order` before."""
    reached: Reached = Reached.NOTHING
    told: bool = False
    """That it follows none of them was said."""
    aside: bool = False
    """Something else of this machine is booting: what it fetches is not the firmware's doing."""

    @property
    def strategy(self) -> Strategy:
        return self.order[self.turn % len(self.order)]


class Offered(NamedTuple):
    strategy: Strategy
    exhausted: bool = False
    """It was offered all there are and followed none; true once until it follows one."""


class Escalation:
    """A state machine for each machine; `now` is in seconds of any clock that does not run back."""

    def __init__(self, limit: int = 4096) -> None:
        self._attempts: Recent[str, Attempt] = Recent(limit)

    def __len__(self) -> int:
        return len(self._attempts)

    def discover(
        self, mac: str, *, xid: int, secs: int, now: float, preferred: Preference | None, usual: Strategy
    ) -> Offered:
        """A DISCOVER of a machine's firmware: the strategy for its OFFER."""
        known = self._attempts.get(mac)
        if known is None or self._begins_anew(known, now, preferred):
            attempt = _begin(known, xid, secs, now, preferred, usual)
        elif xid == known.xid:
            attempt = _same_boot(known, secs, now)
        else:
            attempt = _next_boot(known, xid, secs, now)
        # What the site fixed is tried as often as a cycle is long before it is called a failure.
        tried = attempt.turn and attempt.turn >= max(len(attempt.order), len(CYCLE))
        exhausted = bool(tried) and not attempt.told
        self._attempts.put(mac, replace(attempt, told=True) if exhausted else attempt)
        return Offered(attempt.strategy, exhausted)

    def following(self, mac: str) -> Strategy | None:
        """The strategy after the present one, None for a machine that was offered nothing."""
        known = self._attempts.get(mac)
        return known.order[(known.turn + 1) % len(known.order)] if known else None

    def aside(self, mac: str) -> None:
        """A DISCOVER of something else on this machine, an iPXE or UEFI HTTP boot, was answered."""
        if known := self._attempts.get(mac):
            self._attempts.put(mac, replace(known, aside=True))

    def asked(self, mac: str, now: float) -> None:
        """The machine came to port 4011."""
        known = self._attempts.get(mac)
        if known and known.reached is Reached.NOTHING and _is_following(known, now):
            self._attempts.put(mac, replace(known, reached=Reached.ASKED))

    def fetched(self, mac: str, now: float) -> Strategy | None:
        """The machine asked for its program: what it followed, if that is news."""
        known = self._attempts.get(mac)
        if known is None or known.reached is Reached.FETCHED or not _is_following(known, now):
            return None
        self._attempts.put(mac, replace(known, reached=Reached.FETCHED, told=False))
        return None if known.proven and known.turn == 0 else known.strategy

    @staticmethod
    def _begins_anew(known: Attempt, now: float, preferred: Preference | None) -> bool:
        if known.reached is Reached.FETCHED or now - known.at > FORGOTTEN_SECONDS:
            return True
        fixed = preferred is not None and preferred.source is Source.SITE
        return known.order != (preferred.strategy,) if fixed and preferred else len(known.order) == 1


def _begin(
    known: Attempt | None, xid: int, secs: int, now: float, preferred: Preference | None, usual: Strategy
) -> Attempt:
    told = known.told if known else False
    if preferred and preferred.source is Source.SITE:
        return Attempt(xid, secs, now, (preferred.strategy,), told=told)
    followed = _followed_before(known) if known else None
    first = followed or (preferred.strategy if preferred else usual)
    proven = followed is not None or (preferred is not None and preferred.source is Source.MACHINE)
    return Attempt(xid, secs, now, _ORDERS[first], proven=proven, told=told)


def _followed_before(known: Attempt) -> Strategy | None:
    if known.reached is Reached.FETCHED:
        return known.strategy
    return known.order[0] if known.proven else None


def _same_boot(known: Attempt, secs: int, now: float) -> Attempt:
    """It asks again, since it got no OFFER it could use: from us, or from its DHCP server."""
    if secs == known.secs and now - known.at < SAME_MOMENT_SECONDS:
        return replace(known, aside=False) if known.aside else known
    seen = replace(known, secs=secs, at=now, aside=False)
    if known.reached is Reached.ASKED or (known.proven and known.turn == 0):
        return seen
    return _give_up(seen)


def _next_boot(known: Attempt, xid: int, secs: int, now: float) -> Attempt:
    seen = replace(known, xid=xid, secs=secs, at=now, boots=known.boots + 1, aside=False)
    patience = 1
    if known.reached is Reached.ASKED:
        patience = PATIENCE_ASKED
    if known.proven and known.turn == 0:
        patience = PATIENCE_PROVEN
    return _give_up(seen) if seen.boots >= patience else seen


def _give_up(attempt: Attempt) -> Attempt:
    return replace(attempt, turn=attempt.turn + 1, boots=0, reached=Reached.NOTHING)


def _is_following(known: Attempt, now: float) -> bool:
    return not known.aside and now - known.at <= FOLLOWING_SECONDS
