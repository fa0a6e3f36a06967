"""Follows each machine's boot through what passes here, and puts on its timeline where it stopped."""

import asyncio
import logging
from collections.abc import Callable

from appliance.model import NetBoot
from appliance.stages import Stage
from appliance.strategies import Strategy
from pxe.director import Director
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
        """Look for stops until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.look()
            except Exception:
                log.exception("looking for boots that stopped")

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
        if stage in (Stage.OFFER, Stage.SCRIPT) and not self._boots_from_network(mac):
            self._stalls.ended(mac)
        elif stage is Stage.OFFER:
            ipxe = self._sightings.is_ipxe(mac)
            self._stalls.offered(mac, now, firmware=self._sightings.firmware_of(mac), ipxe=ipxe)
        else:
            self._stalls.reached(mac, stage, now)

    def _boots_from_network(self, mac: str) -> bool:
        target = self._director.boot_target(mac, self._sightings.firmware_of(mac))
        return isinstance(target, NetBoot)
