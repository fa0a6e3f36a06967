"""Follows each machine's boot through what passes here, and puts on its timeline where it stopped."""

import asyncio
import logging
from collections.abc import Callable

from appliance.stages import Stage
from appliance.strategies import Strategy
from pxe import gate
from pxe.director import Director
from pxe.resuming import LOOK_BACK_SECONDS, under_way
from pxe.sightings import Sightings
from pxe.stalls import Stall, Stalls

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
_TRANSFERS = (Stage.PROGRAM, Stage.KERNEL, Stage.INSTALLER)
_STRATEGIC = (Stage.OFFER, Stage.PROXY)
"""What did not lead on after one of these is worded differently the next time."""


class Watching:
    """Told by the sightings; every stop becomes one event."""

    def __init__(
        self,
        director: Director,
        sightings: Sightings,
        clock: Callable[[], float],
        next_strategy: Callable[[str], Strategy | None] = lambda mac: None,
    ) -> None:
        self._director = director
        self._sightings = sightings
        self._clock = clock
        self._next_strategy = next_strategy
        self._stalls = Stalls()
        sightings.watch(self._began)
        sightings.watch_ends(self._ended)

    async def run(self) -> None:
        """Look for stops until cancelled, also of boots that an earlier process followed."""
        self._safely(self.resume)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._safely(self.look)

    def _safely(self, look: Callable[[], None]) -> None:
        try:
            look()
        except Exception:
            log.exception("looking for boots that stopped")

    def resume(self) -> None:
        """Go on following the boots that were under way when this process began."""
        before = under_way(self._director.recent_events(LOOK_BACK_SECONDS), self._clock())
        for mac, boot in before.items():
            if self._sightings.firmware_of(mac) is None:
                self._sightings.saw_asker(mac, boot.firmware, ipxe=boot.ipxe)
            if gate.closed(self._director, self._sightings, mac) is None:
                self._stalls.resume(mac, boot)

    def look(self) -> None:
        """Tell of the boots that stopped since the last look."""
        for stall in self._stalls.due(self._clock()):
            text = f"{stall}{self._outlook(stall)}"
            log.warning("%s: %s does not follow: %s", stall.mac, stall.missing, text)
            self._director.record(stall.mac, stall.missing, status="failed", message=text)

    def _outlook(self, stall: Stall) -> str:
        strategy = self._next_strategy(stall.mac) if stall.after in _STRATEGIC else None
        return f"; if it asks again and again it is offered the strategy {strategy.value}" if strategy else ""

    def _began(self, mac: str, stage: Stage) -> None:
        if stage is Stage.HELLO:
            self._stalls.ended(mac)
        elif stage is Stage.SCRIPT:
            self._stalls.waits(mac, self._clock())
        elif stage in _TRANSFERS:
            self._stalls.began(mac, stage, self._clock())

    def _ended(self, mac: str, stage: Stage) -> None:
        now = self._clock()
        if (
            stage in (Stage.OFFER, Stage.SCRIPT)
            and gate.closed(self._director, self._sightings, mac) is not None
        ):
            self._stalls.ended(mac)
        elif stage is Stage.OFFER:
            ipxe = self._sightings.is_ipxe(mac)
            self._stalls.offered(mac, now, firmware=self._sightings.firmware_of(mac), ipxe=ipxe)
        else:
            self._stalls.reached(mac, stage, now)
