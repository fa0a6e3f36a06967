"""What the web page shows and changes of the compile cluster: rows only, by which the farm orders hosts."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.compile_host import CompileHost, HostState
from appliance.desks.audit import AuditDesk
from appliance.desks.cluster import PROBE_SECONDS, WANT_SECONDS, ClusterDesk
from appliance.errors import Problem
from appliance.model import Machine
from buildfarm import toolchain
from buildfarm.toolchain import Toolchain

DAY = 86400.0
SHARE_DAYS = (1, 7, 30)
MOST_SLOTS = 65536


@dataclass(frozen=True)
class Duty:
    """A toolchain on a host."""

    hash: str
    made: Toolchain | None
    """None: its image is not kept any more."""
    port: int
    ordered: bool
    runs: bool
    """The host says that its distccd answers on that port."""
    probed_at: float
    """When it made the same objects as the profile's own compiler; 0: not since it was ordered."""
    good: bool
    """That was lately enough; else it is probed before it is used."""


@dataclass(frozen=True)
class Kept:
    """A toolchain image."""

    made: Toolchain
    until: float | None
    """So long it is ordered onto hosts; None: it is not."""


@dataclass(frozen=True)
class Yard:
    """The cluster as a whole."""

    now: float
    hosts: tuple[CompileHost, ...]
    """All of them, those first that wait for a person."""
    ready: int
    slots: int
    load: float
    """Slots and load of those that are ready."""
    shares: tuple[tuple[int, float | None], ...]
    """(days, the part of their building time that compile hosts took; None when nothing was built)."""
    lending: int
    """How many machines boot as compile hosts."""


RANK = {HostState.UNKNOWN: 0, HostState.QUARANTINED: 1, HostState.GONE: 2, HostState.READY: 3}


class HostDesk:
    """Looking writes nothing. `who` acts; each change and its line in the audit log are one transaction."""

    def __init__(self, cluster: ClusterDesk, audit: AuditDesk) -> None:
        self.cluster = cluster
        self.audit = audit
        self.store = cluster.store
        self.clock = cluster.clock

    # what there is

    def yard(self) -> Yard:
        now = self.clock()
        hosts = sorted(self.cluster.look(), key=lambda one: (RANK[one.state], one.name))
        ready = [host for host in hosts if host.state is HostState.READY]
        share = self.store.packages.remote_share
        return Yard(
            now=now,
            hosts=tuple(hosts),
            ready=len(ready),
            slots=sum(host.jobs for host in ready),
            load=sum(host.report.load for host in ready if host.report),
            shares=tuple((days, share(since=now - days * DAY)) for days in SHARE_DAYS),
            lending=self.store.machines.count_lending(),
        )

    def host(self, name: str) -> CompileHost:
        """Raises Problem when there is none."""
        found = next((host for host in self.cluster.look() if host.name == name), None)
        if found is None:
            raise Problem(f"there is no compile host {name}", hint="the page Cluster shows those there are")
        return found

    def duties(self, host: CompileHost) -> list[Duty]:
        """What it was ordered to run, and what it runs that it was not."""
        now = self.clock()
        runs: Mapping[str, int] = host.report.runs if host.report else {}
        ordered = self.store.compile_hosts.duties(host.name)
        known = {one for one, _, _ in ordered}
        all_ = [(*one, True) for one in ordered]
        all_ += [(one, port, 0.0, False) for one, port in sorted(runs.items()) if one not in known]
        return [
            Duty(
                hash=one,
                made=self._toolchain(one),
                port=port,
                ordered=is_ordered,
                runs=host.state is HostState.READY and runs.get(one) == port,
                probed_at=at,
                good=at > 0 and now - at < PROBE_SECONDS,
            )
            for one, port, at, is_ordered in all_
        ]

    def toolchains(self) -> list[Kept]:
        wanted = self.store.compile_hosts.wanted_until(now=self.clock())
        hashes = sorted(file.stem for file in self._room.glob("*.json"))
        found = [made for one in hashes if (made := self._toolchain(one))]
        return [Kept(made, wanted.get(made.hash)) for made in found]

    def lending(self, *, limit: int, offset: int = 0) -> list[Machine]:
        """A part of the machines that boot as compile hosts."""
        return self.store.machines.lending(limit=limit, offset=offset)

    def count_lending(self) -> int:
        return self.store.machines.count_lending()

    # what a person changes

    def add(self, name: str, *, address: str, slots: int, arch: str, who: str) -> None:
        """Let a host be used; without an address one that said hello. Raises Problem."""
        if not 0 <= slots <= MOST_SLOTS:
            raise Problem(f"slots is {slots}, expected 0 (one for each processor) to {MOST_SLOTS}")
        with self.store.database.change():
            host = self.cluster.add(name, address=address, slots=slots, arch=arch, tend=False)
            self.audit.note(who, "host add", name, host.address)

    def remove(self, name: str, *, who: str) -> None:
        """Use it no more. Raises Problem for one that the site names."""
        with self.store.database.change():
            self.cluster.remove(name, tend=False)
            self.audit.note(who, "host remove", name)

    def quarantine(self, name: str, reason: str, *, who: str) -> None:
        """Raises Problem for a host that may not be used anyway: after a quarantine it would be used."""
        with self.store.database.change():
            host = self.cluster.host(name)
            if host.state is HostState.UNKNOWN:
                raise Problem(f"{name} is not used: nobody said that it may be", hint="remove it")
            if host.state is HostState.QUARANTINED:
                raise Problem(f"{name} is quarantined already: {host.reason}")
            self.cluster.quarantine(name, reason.strip() or "by hand", who=who)

    def release(self, name: str, *, who: str) -> None:
        """End its quarantine; it is probed before it is used."""
        with self.store.database.change():
            host = self.cluster.host(name)
            if host.state is not HostState.QUARANTINED:
                raise Problem(f"{name} is {host.state.value}, not quarantined")
            self.cluster.release_quarantine(name)
            self.audit.note(who, "host release", name, host.reason)

    def probe_again(self, name: str, *, who: str) -> None:
        """What it compiles is compared once more before any build uses it."""
        with self.store.database.change():
            self.cluster.host(name)
            for made, _, _ in self.store.compile_hosts.duties(name):
                self.store.compile_hosts.set_probed(name, made, 0.0)
            self.audit.note(who, "host probe", name, "before its next use")

    def order(self, digest: str, *, who: str) -> None:
        """Have a toolchain on every host that can run it, for some hours. Raises Problem."""
        if self._toolchain(digest) is None:
            raise Problem(f"there is no toolchain {digest[:12]} any more", hint="the next build makes it")
        with self.store.database.change():
            self.store.compile_hosts.want(digest, until=self.clock() + WANT_SECONDS)
            self.audit.note(who, "toolchain order", digest)

    def lend(self, machine: Machine, lends: bool, *, who: str) -> None:
        """Let a machine boot as a compile host, or no longer. Raises Problem for one that is armed."""
        with self.store.database.change():
            self.cluster.lend(machine.mac, lends)
            self.audit.note(who, "machine lend", machine.mac, "boots to compile" if lends else "no longer")

    def _toolchain(self, digest: str) -> Toolchain | None:
        with contextlib.suppress(FileNotFoundError):  # the farm removed it just now
            return toolchain.find(self._room, digest)
        return None

    @property
    def _room(self) -> Path:
        return self.cluster.tree.path / "toolchains"  # the web page's user may make no directory
