"""What full DHCP asks of the site and the store."""

from collections.abc import Sequence
from dataclasses import replace

from appliance.dhcp_settings import DhcpSettings, Subnet
from appliance.leases import Lease
from appliance.live import LiveSite
from appliance.store import Store
from pxe.full import Guest, find_subnet


class LeaseDesk:
    def __init__(self, live: LiveSite, store: Store) -> None:
        self._live = live
        self._store = store

    def settings(self) -> DhcpSettings:
        """The table [dhcp], completed: DNS server and domain are those of [dns] where it names none.

        What a machine is told by RARP is its fixed address, too, so that nobody else gets it.
        """
        site = self._live.now()
        zone, subnets = site.dns.zone, site.dhcp.subnets

        def completed(subnet: Subnet) -> Subnet:
            return replace(subnet, dns=subnet.dns or (None,), domain=subnet.domain or zone)

        told = {mac: at for mac, at in site.net.rarp.items() if find_subnet(site.dhcp, at)}
        return replace(
            site.dhcp,
            subnets=tuple(map(completed, subnets)) if zone else subnets,
            fixed={**told, **site.dhcp.fixed},
        )

    def guest(self, mac: str) -> Guest:
        """Known is who has a row in the store, by hand or because it told the server what it is."""
        machine = self._store.machines.get(mac)
        return Guest(known=machine is not None, name=machine.name if machine else "")

    def kept(self) -> Sequence[Lease]:
        return self._store.leases.all()

    def keep(self, leases: Sequence[Lease]) -> None:
        self._store.leases.keep(leases)
