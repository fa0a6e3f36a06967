"""What compile hosts are ordered to run: signed files, and the toolchain images they are made of."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.compile_host import CompileHost
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.store import Store
from buildfarm import cluster, orders, toolchain
from buildfarm.cluster import Want
from buildfarm.orders import Signs

log = logging.getLogger(__name__)

KEPT_SECONDS = 3600.0
"""An image that was made just now is wanted in a moment."""


@dataclass(frozen=True)
class Ordering:
    """Who gives orders; one process at a time."""

    live: LiveSite
    store: Store
    signer: Signs
    orders: Path
    """A file for each host that has orders."""
    toolchains: Path

    def round(self, hosts: Sequence[CompileHost], *, now: float) -> None:
        """Sign orders that are new or grow old; remove those of others, and images nobody wants any more."""
        wanted = self.store.compile_hosts.wanted(now=now)
        made = {one.hash: one for one in toolchain.all_toolchains(self.toolchains)}
        wants = [Want(h, made[h].arch, made[h].size_bytes) for h in wanted if h in made]
        ports = {host.name: self.store.compile_hosts.ports(host.name) for host in hosts}
        assigned = cluster.assign(hosts, wants, ports)
        for host in hosts:
            if host.name in assigned:
                self._order(host, assigned[host.name], now)
        for file in self.orders.iterdir():
            if file.is_file() and file.name not in assigned:
                file.unlink()
        self._forget(set(made) - set(wanted), now)

    def withdraw(self, name: str) -> None:
        """Take a host's orders away."""
        (self.orders / name).unlink(missing_ok=True)

    def _forget(self, unwanted: Iterable[str], now: float) -> None:
        for digest in unwanted:
            if now - (self.toolchains / f"{digest}.json").stat().st_mtime < KEPT_SECONDS:
                continue
            for suffix in ("json", "sqfs"):
                (self.toolchains / f"{digest}.{suffix}").unlink(missing_ok=True)

    def _order(self, host: CompileHost, ordered: Sequence[cluster.Ordered], now: float) -> None:
        self.store.compile_hosts.set_ports(host.name, {one.toolchain: one.port for one in ordered})
        try:
            builders = [orders.source_address(host.address), *self.live.now().builders]
        except Problem as problem:
            log.warning("%s", problem)
            return
        signed_at, standing = orders.signed_time(self.orders, host.name)
        text = cluster.render(host.name, ordered, serial=0, now=now, builders=builders)
        same = orders.body(text) == standing and 0 <= now - signed_at < cluster.LIFETIME_SECONDS / 4
        if not same:
            serial = self.store.compile_hosts.next_serial(host.name, now=now)
            text = cluster.render(host.name, ordered, serial=serial, now=now, builders=builders)
            orders.write(self.orders, host.name, text, self.signer)
