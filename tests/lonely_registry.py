"""A registry of full DHCP without machines or leases, for servers that nobody asks for an address."""

from collections.abc import Sequence

from appliance.dhcp_settings import DhcpSettings
from appliance.leases import Lease
from pxe.full import Guest


class LonelyRegistry:
    def __init__(self, settings: DhcpSettings) -> None:
        self._settings = settings

    def settings(self) -> DhcpSettings:
        return self._settings

    def guest(self, mac: str) -> Guest:
        return Guest(known=False)

    def kept(self) -> Sequence[Lease]:
        return ()

    def keep(self, leases: Sequence[Lease]) -> None:
        raise AssertionError("nobody asked for an address")
