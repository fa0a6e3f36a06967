"""The names of the site's machines, kept current without asking the store for every question."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

from appliance.dns_settings import NameBook
from appliance.install import default_name
from appliance.live import LiveSite
from appliance.store import Store

LOOK_SECONDS = 1.0
"""How often the store is asked whether anything changed."""
LEASES_SECONDS = 60.0
"""How often it is read although nothing did: a lease ends by itself."""


class NameDesk:
    """One for each process that answers DNS."""

    def __init__(self, live: LiveSite, store: Store, clock: Callable[[], float]) -> None:
        self._live = live
        self._store = store
        self._clock = clock
        self._book: NameBook | None = None
        self._looked_at = 0.0
        self._stamp: tuple[int, int] | None = None
        self._made_at = 0.0

    def book(self) -> NameBook:
        """The names as of at most a second ago; the same object until one of them changes."""
        now = self._clock()
        if self._book is None or not 0 <= now - self._looked_at < LOOK_SECONDS:
            self._looked_at = now
            self._book = self._newer(now)
        return self._book

    def _newer(self, now: float) -> NameBook:
        settings, stamp = self._live.now().dns, self._store.database.stamp()
        before = self._book
        old = now - self._made_at > LEASES_SECONDS
        if before and before.settings == settings and self._stamp == stamp and not old:
            return before
        self._stamp, self._made_at = stamp, now
        hosts = self._hosts(now)
        networks = tuple(one.network for one in self._live.now().dhcp.subnets)
        if before and (before.settings, before.hosts, before.networks) == (settings, hosts, networks):
            return before
        # Secondary servers compare serials (RFC 1982): it grows, also over a restart.
        serial = max(int(now) & 0xFFFFFFFF, before.serial + 1 if before else 1)
        return NameBook(settings, hosts, serial, networks)

    def _hosts(self, now: float) -> Mapping[str, tuple[IPv4Address, ...]]:
        names = {mac: name or default_name(mac) for mac, name in self._store.machines.names()}
        fixed = self._live.now().dhcp.fixed
        leases = {one.mac: one.address for one in self._store.leases.all() if one.live(now)}
        found = places(names, fixed=fixed, leases=leases, seen=self._store.addresses.all())
        hosts: dict[str, set[IPv4Address]] = {}
        for mac, address in found.items():
            hosts.setdefault(names[mac], set()).add(address)
        return {name: tuple(sorted(addresses)) for name, addresses in sorted(hosts.items())}


def places(
    names: Mapping[str, str],
    *,
    fixed: Mapping[str, IPv4Address],
    leases: Mapping[str, IPv4Address],
    seen: Mapping[str, IPv4Address],
) -> dict[str, IPv4Address]:
    """Where each machine of `names` (by MAC) is: by its lease, else where it was seen, else fixed.

    `fixed` is by MAC or name. An address that is leased or fixed is its owner's, whoever was seen there.
    """
    given = {mac: fixed.get(mac) or fixed.get(name) for mac, name in names.items()}
    owner = {address: mac for mac, address in given.items() if address}
    owner |= {address: mac for mac, address in leases.items()}
    found = {}
    for mac in sorted(names):
        rightly = seen.get(mac) if owner.get(seen.get(mac, IPv4Address(0)), mac) == mac else None
        address = leases.get(mac) or rightly or given[mac]
        if address:
            found[mac] = address
    return found
