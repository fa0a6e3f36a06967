"""Remembers which machine was seen at which address, for the timelines only."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from appliance.model import Firmware
from appliance.stages import Stage

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The last `limit` values set: strangers on the LAN can fill it but not make it grow."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def put(self, key: Key, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)


class Sightings:
    """What passing packets tell: addresses of machines, their firmware, and the boot each OFFER was for."""

    def __init__(self, found: Callable[[str, str], None] = lambda mac, address: None) -> None:
        """`found` is told each MAC with its address."""
        self._found = found
        self._macs: Recent[str, str] = Recent()
        self._firmware: Recent[str, Firmware] = Recent()
        self._boots: Recent[tuple[str, Stage], int] = Recent()

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
