"""The names of the site's machines, kept current without asking the store for every question."""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address

from appliance.boot import default_name
from appliance.dns_settings import NameBook
from appliance.live import LiveSite
from appliance.store import Store

LOOK_SECONDS = 1.0
"""How often the store is asked whether anything changed."""


class NameDesk:
    """One for each process that answers DNS."""

    def __init__(self, live: LiveSite, store: Store, clock: Callable[[], float]) -> None:
        self._live = live
        self._store = store
        self._clock = clock
        self._book: NameBook | None = None
        self._looked_at = 0.0
        self._stamp: tuple[int, int] | None = None

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
        if before and before.settings == settings and self._stamp == stamp:
            return before
        self._stamp = stamp
        hosts = self._hosts()
        if before and (before.settings, before.hosts) == (settings, hosts):
            return before
        # Secondary servers compare serials (RFC 1982): it grows, also over a restart.
        serial = max(int(now) & 0xFFFFFFFF, before.serial + 1 if before else 1)
        return NameBook(settings, hosts, serial)

    def _hosts(self) -> Mapping[str, tuple[IPv4Address, ...]]:
        seen = self._store.addresses.all()
        found: dict[str, set[IPv4Address]] = {}
        for machine in self._store.machines.all():
            if machine.mac in seen:
                name = machine.name or default_name(machine.mac)
                found.setdefault(name, set()).add(seen[machine.mac])
        return {name: tuple(sorted(addresses)) for name, addresses in sorted(found.items())}
