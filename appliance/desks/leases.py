"""What full DHCP asks of the site and the store."""

from collections.abc import Sequence
from dataclasses import replace

from appliance.dhcp_settings import DhcpSettings, Subnet
from appliance.leases import Lease
from appliance.live import LiveSite
from appliance.store import Store
from pxe.full import Guest


class LeaseDesk:
    def __init__(self, live: LiveSite, store: Store) -> None:
        self._live = live
        self._store = store

    def settings(self) -> DhcpSettings:
        """The table [dhcp]; where it names no DNS server or domain, those of the table [dns]."""
        site = self._live.now()
        zone = site.dns.zone

        def completed(subnet: Subnet) -> Subnet:
            return replace(subnet, dns=subnet.dns or (None,), domain=subnet.domain or zone)

        return replace(site.dhcp, subnets=tuple(map(completed, site.dhcp.subnets))) if zone else site.dhcp

    def guest(self, mac: str) -> Guest:
        """Known is who has a row in the store, by hand or because it told the server what it is."""
        machine = self._store.machines.get(mac)
        return Guest(known=machine is not None, name=machine.name if machine else "")

    def kept(self) -> Sequence[Lease]:
        return self._store.leases.all()

    def keep(self, leases: Sequence[Lease]) -> None:
        self._store.leases.keep(leases)
