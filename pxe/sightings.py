"""Remembers which machine was seen at which address, and passes on how far it came."""

from collections.abc import Callable
from ipaddress import IPv4Address

from appliance.model import Firmware
from appliance.stages import Stage
from pxe.recent import Recent


class Sightings:
    """What passing packets tell: addresses of machines, their firmware, and the boot each OFFER was for."""

    def __init__(self, found: Callable[[str, str], None] = lambda mac, address: None) -> None:
        """`found` is told each MAC with its address."""
        self._found = found
        self._macs: Recent[str, str] = Recent()
        self._askers: Recent[str, tuple[Firmware | None, bool]] = Recent()
        self._boots: Recent[tuple[str, Stage], int] = Recent()
        self._servers: Recent[str, IPv4Address] = Recent()
        self._watchers: list[Callable[[str, Stage], None]] = []
        self._end_watchers: list[Callable[[str, Stage], None]] = []

    def watch(self, watcher: Callable[[str, Stage], None]) -> None:
        """Call `watcher` with the MAC and the stage whenever a machine comes for something."""
        self._watchers.append(watcher)

    def progressed(self, mac: str, stage: Stage) -> None:
        """A machine asked for what belongs to this stage."""
        for watcher in self._watchers:
            watcher(mac, stage)

    def watch_ends(self, watcher: Callable[[str, Stage], None]) -> None:
        """Call `watcher` with the MAC and the stage whenever a machine got all of something."""
        self._end_watchers.append(watcher)

    def finished(self, mac: str, stage: Stage) -> None:
        """A machine got all that belongs to this stage."""
        for watcher in self._end_watchers:
            watcher(mac, stage)

    def saw_asker(self, mac: str, firmware: Firmware | None, *, ipxe: bool) -> None:
        """Whose its last request was: of which firmware, if it said, and whether of an iPXE."""
        if firmware is None:
            firmware = self.firmware_of(mac)
        self._askers.put(mac, (firmware, ipxe))

    def is_ipxe(self, mac: str) -> bool:
        known = self._askers.get(mac)
        return known is not None and known[1]

    def firmware_of(self, mac: str) -> Firmware | None:
        known = self._askers.get(mac)
        return known[0] if known else None

    def saw_server(self, mac: str, server: IPv4Address) -> None:
        """The DHCP server whose lease a machine takes."""
        self._servers.put(mac, server)

    def server_of(self, mac: str) -> IPv4Address | None:
        return self._servers.get(mac)

    def saw_address(self, mac: str, address: str) -> None:
        self._macs.put(address, mac)
        self._found(mac, address)

    def mac_at(self, address: str) -> str | None:
        return self._macs.get(address)

    def first(self, mac: str, stage: Stage, xid: int) -> bool:
        """Whether this is the first of such packets in a boot attempt: those sent again keep their xid."""
        if self._boots.get((mac, stage)) == xid:
            return False
        self._boots.put((mac, stage), xid)
        return True
