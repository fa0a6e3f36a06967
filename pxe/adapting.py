"""Adapts what firmwares are offered to what they follow, and remembers and tells what came of it."""

import logging
import time
from collections.abc import Callable

from appliance.model import BootTarget
from appliance.stages import Stage
from appliance.strategies import Strategy
from pxe.advice import advice
from pxe.client import Client, Role
from pxe.dhcp import Packet
from pxe.director import Director
from pxe.policy import Here, House, boot_file, usual_strategy
from pxe.recent import Recent
from pxe.sightings import Sightings
from pxe.strategy import Escalation

log = logging.getLogger(__name__)

CHAINED_SECONDS = 60.0
"""An iPXE that fetched ours and asks again within this time runs ours, and is as poor as before."""
_NOT_YET = float("-inf")


class Adapting:
    """Told of every DISCOVER that is answered, and by the sightings of what machines come for."""

    def __init__(
        self, director: Director, sightings: Sightings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._director = director
        self._sightings = sightings
        self._clock = clock
        self._escalation = Escalation()
        self._kinds: Recent[str, str] = Recent()
        self._chained: Recent[str, float] = Recent()
        sightings.watch(self._progressed)

    def strategy(
        self, packet: Packet, client: Client, target: BootTarget, here: Here, house: House
    ) -> Strategy | None:
        """How the OFFER to a firmware is worded; tells a person when no way leads to a boot."""
        if client.role is not Role.FIRMWARE:
            self._escalation.aside(self._key(client.mac))
            return None
        mac, kind = client.mac, client.kind
        self._kinds.put(mac, kind)
        offered = self._escalation.discover(
            f"{mac} {kind}",
            xid=packet.xid,
            secs=packet.secs,
            now=self._clock(),
            preferred=self._director.strategy_of(mac, kind),
            usual=usual_strategy(client),
        )
        if offered.exhausted:
            name = boot_file(client, target, here, house)
            text = advice(client, name, here, foreign=self._sightings.server_of(client.mac))
            log.warning("%s", text)
            self._director.record(client.mac, Stage.OFFER, status="failed", message=text)
        return offered.strategy

    def _key(self, mac: str) -> str:
        """A machine as the firmware that asked last: one with UEFI and BIOS may try them in turn."""
        return f"{mac} {self._kinds.get(mac) or ''}"

    def next_strategy(self, mac: str) -> Strategy | None:
        """What a machine is offered after the present strategy, None when nothing was offered."""
        return self._escalation.following(self._key(mac))

    def loops(self, client: Client) -> bool:
        """Whether a poor iPXE asks that fetched ours in this boot: it would load it for ever."""
        if client.role is not Role.IPXE or client.fit:
            return False
        fetched_at = self._chained.get(client.mac)
        if fetched_at is not None and self._clock() - fetched_at < CHAINED_SECONDS:
            return True
        self._chained.put(client.mac, _NOT_YET)
        return False

    def _progressed(self, mac: str, stage: Stage) -> None:
        now = self._clock()
        if stage is Stage.PROXY:
            self._escalation.asked(self._key(mac), now)
        if stage is not Stage.PROGRAM:
            return
        if self._chained.get(mac) is not None:
            self._chained.put(mac, now)
        if followed := self._escalation.fetched(self._key(mac), now):
            log.info("%s follows the strategy %s", mac, followed.value)
            self._director.strategy_won(mac, self._kinds.get(mac) or "", followed)
