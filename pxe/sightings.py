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
        self._firmware: Recent[str, Firmware] = Recent()
        self._boots: Recent[tuple[str, Stage], int] = Recent()
        self._servers: Recent[str, IPv4Address] = Recent()
        self._watchers: list[Callable[[str, Stage], None]] = []
        self._end_watchers: list[Callable[[str, Stage], None]] = []
        self._ipxe: Recent[str, bool] = Recent()

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

    def saw_ipxe(self, mac: str, ipxe: bool) -> None:
        """Whether its last request was that of an iPXE."""
        self._ipxe.put(mac, ipxe)

    def is_ipxe(self, mac: str) -> bool:
        return bool(self._ipxe.get(mac))

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

    def saw_firmware(self, mac: str, firmware: Firmware) -> None:
        self._firmware.put(mac, firmware)

    def firmware_of(self, mac: str) -> Firmware | None:
        return self._firmware.get(mac)

    def first(self, mac: str, stage: Stage, xid: int) -> bool:
        """Whether this is the first of such packets in a boot attempt: those sent again keep their xid."""
        if self._boots.get((mac, stage)) == xid:
            return False
        self._boots.put((mac, stage), xid)
        return True
