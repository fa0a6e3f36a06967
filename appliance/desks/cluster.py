"""The compile cluster: which hosts there are, what they are ordered, and their use by a build."""

import fcntl
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.compile_host import NAME, CompileHost, HostState, accept, punish, settle
from appliance.deadline import DeadlinePassed, wait_until
from appliance.decision import may_install
from appliance.desks.ordering import Ordering
from appliance.errors import Problem
from appliance.lending import TOKEN, from_site
from appliance.live import LiveSite
from appliance.model import Machine, Tree
from appliance.overlays import overlay
from appliance.sandbox import Sandbox
from appliance.site_cluster import is_address
from appliance.store import Store
from buildfarm import cluster, distcc, lease, probe, toolchain
from buildfarm.lease import Invited, Lease, Usage
from buildfarm.orders import Signs
from buildfarm.probe import Flags
from buildfarm.signing import Signer
from buildfarm.toolchain import Toolchain

log = logging.getLogger(__name__)

WANT_SECONDS = 12 * 3600.0
"""A toolchain stays on the hosts for so long after a build used it."""
START_SECONDS = 60.0
"""So long a build waits for a first host to fetch and start its toolchain."""
OTHERS_SECONDS = 10.0
"""And so long for those that are slower."""
TEND_SECONDS = 60.0
"""How often orders are looked after while a build runs."""
PROBE_SECONDS = 24 * 3600.0
AGENT = "compile-host"


@dataclass(frozen=True)
class Shown:
    """A host, and what it was ordered to run."""

    host: CompileHost
    ordered: tuple[str, ...]
    probed: tuple[str, ...]
    """Toolchains whose probe it passed lately."""


class ClusterDesk:
    def __init__(
        self,
        live: LiveSite,
        tree: Tree,
        store: Store,
        clock: Callable[[], float],
        signer: Signs | None = None,
    ) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.clock = clock
        self._signer = signer

    @property
    def signer(self) -> Signs:
        return self._signer or Signer(self.tree.room("keys"))

    @property
    def toolchains(self) -> Path:
        return self.tree.room("toolchains").resolve()

    # hosts

    def hosts(self) -> list[CompileHost]:
        """Every host as it is now: those the site names, those added here, those that only said hello."""
        with self.store.database.change():
            stored = {host.name: host for host in self.store.compile_hosts.all()}
            settled = self._settled(stored)
            for name in stored.keys() - {host.name for host in settled}:
                self.store.compile_hosts.remove(name)
            for host in settled:
                if host != stored.get(host.name):
                    self.store.compile_hosts.put(host)
        return settled

    def look(self) -> list[CompileHost]:
        """The same for who only looks: nothing is written."""
        return self._settled({host.name: host for host in self.store.compile_hosts.all()})

    def _settled(self, stored: Mapping[str, CompileHost]) -> list[CompileHost]:
        now = self.clock()
        named = {one.name: one for one in self.live.now().compile_hosts}
        kept = {name: host for name, host in stored.items() if host.origin != "site" or name in named}
        kept |= {name: from_site(wanted, kept.get(name)) for name, wanted in named.items()}
        return [settle(kept[name], now=now) for name in sorted(kept)]

    def host(self, name: str) -> CompileHost:
        """Raises Problem when there is none."""
        found = next((host for host in self.hosts() if host.name == name), None)
        if found is None:
            raise Problem(
                f"there is no compile host {name}", hint="`distserver cluster list` shows those there are"
            )
        return found

    def show(self) -> list[Shown]:
        now = self.clock()
        shown = []
        for host in self.hosts():
            ordered = tuple(self.store.compile_hosts.ports(host.name))
            good = (t for t in ordered if now - self._probed(host, t) < PROBE_SECONDS)
            shown.append(Shown(host, ordered, tuple(good)))
        return shown

    def add(
        self, name: str, *, address: str = "", slots: int = 0, arch: str = "", tend: bool = True
    ) -> CompileHost:
        """Let a host be used; without an address one that said hello, at the address it said it from.

        `tend` False is for who may not sign: the farm orders within seconds.
        """
        if not NAME.fullmatch(name):
            raise Problem(f"{name!r} is no host name, expected lower-case letters, digits, - and .")
        known = self.store.compile_hosts.get(name)
        if not address and known is None:
            raise Problem(
                f"nothing was heard of {name}", hint="name its address, or start compile-host there"
            )
        if address and not is_address(address):
            raise Problem(f"{address!r} is no IPv4 address")
        host = known or CompileHost(name, address, HostState.GONE)
        host = replace(host, address=address or host.address, origin="hand", slots=slots, arch=arch)
        self.store.compile_hosts.put(accept(host, now=self.clock()))
        if tend:
            self.tend()
        return self.host(name)

    def remove(self, name: str, *, tend: bool = True) -> None:
        """`tend` False: the farm takes its orders away within seconds."""
        host = self.host(name)
        if host.origin == "site":
            raise Problem(f"{name} stands in the site", hint="take it out of appliance.toml")
        self.store.compile_hosts.remove(name)
        if tend:
            self._ordering.withdraw(name)

    def release_quarantine(self, name: str) -> CompileHost:
        """Use it again from now on, after a new probe."""
        self.store.compile_hosts.put(accept(self.host(name), now=self.clock()))
        return self.host(name)

    def quarantine(self, name: str, reason: str, *, who: str | None = None) -> CompileHost:
        """Do not use it for a time, longer at each time; every toolchain has to be probed again then."""
        log.warning("compile host %s is quarantined: %s", name, reason)
        with self.store.database.change():
            self.store.compile_hosts.put(punish(self.host(name), reason, now=self.clock()))
            self.store.audit.add(self.clock(), who, "host quarantine", name, reason)
            for made in self.store.compile_hosts.ports(name):
                self.store.compile_hosts.set_probed(name, made, 0.0)
        return self.host(name)

    def lend(self, mac: str, lends: bool) -> Machine:
        """Let a machine boot from the network as a compile host, or no longer; its disks stay as they are."""
        machine = self.store.machines.get(mac)
        if machine is None:
            raise Problem(
                f"there is no machine {mac}", hint="`distserver machine list` shows those there are"
            )
        if lends and may_install(machine):
            raise Problem(
                f"machine {mac} is {machine.state.value}: it will be installed first",
                hint=f"distserver machine disarm {mac}",
            )
        self.store.machines.set_lends(mac, lends)
        if not lends:
            self.store.tokens.revoke(mac, TOKEN)
        return replace(machine, lends=lends)

    def probe(self, name: str) -> list[tuple[Toolchain, str]]:
        """Ask a host for an object of every toolchain it runs, and compare; (toolchain, what is wrong).

        A host that answers wrongly is quarantined. A build asks once more, with the flags of its profile.
        """
        host = self.host(name)
        found = []
        for digest, port in sorted((host.report.runs if host.report else {}).items()):
            if made := toolchain.find(self.toolchains, digest):
                found.append((made, self._ask(host, port, made)))
        reasons = [reason for _, reason in found if reason]
        if reasons:
            self.quarantine(name, reasons[0])
        return found

    def _ask(self, host: CompileHost, port: int, made: Toolchain) -> str:
        # The compiler names an object after the line that says where its source came from.
        asked = distcc.request(made.names[0], b'# 1 "probe.c"\n' + toolchain.SAMPLE)
        with TemporaryDirectory(prefix="probe-") as place:
            file = Path(place) / "request"
            file.write_bytes(asked)
            ours = toolchain.answer(made, self.toolchains / f"{made.hash}.sqfs", file, Path(place))
        try:
            theirs = distcc.ask(host.address, port, asked)
            same = distcc.outcome(theirs) == distcc.outcome(ours)
        except (OSError, ValueError) as failure:
            return f"its distccd on port {port} does not answer: {failure}"
        return "" if same else f"the object of its distccd on port {port} is not what the toolchain makes"

    # toolchains and orders

    def all_toolchains(self) -> list[tuple[Toolchain, bool]]:
        """Every toolchain image, and whether it is ordered onto hosts now."""
        wanted = set(self.store.compile_hosts.wanted(now=self.clock()))
        return [(made, made.hash in wanted) for made in toolchain.all_toolchains(self.toolchains)]

    def find_toolchain(self, start: str) -> Toolchain:
        """By the first characters of its hash; raises Problem."""
        found = [made for made, _ in self.all_toolchains() if made.hash.startswith(start)]
        if len(found) != 1:
            count = "no" if not found else f"{len(found)}"
            raise Problem(
                f"{count} toolchains begin with {start}", hint="`distserver cluster toolchains` lists them"
            )
        return found[0]

    def want(self, made: Toolchain, *, seconds: float = WANT_SECONDS) -> None:
        """Order a toolchain onto every host that can run it."""
        self.store.compile_hosts.want(made.hash, until=self.clock() + seconds)
        self.tend()

    def tend(self) -> None:
        """One round: sign orders that are new or grow old, remove toolchains that nobody wants any more.

        One process at a time does so: two that order at once would give one port to two toolchains.
        """
        with (self.tree.room("cluster") / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._ordering.round(self.hosts(), now=self.clock())

    @property
    def _ordering(self) -> Ordering:
        return Ordering(self.live, self.store, self.signer, self._room("orders"), self.toolchains)

    def _room(self, name: str) -> Path:
        place = self.tree.room("cluster").resolve() / name
        place.mkdir(exist_ok=True)
        return place

    # builds

    def toolchain(self, sandbox: Sandbox, flags: Flags, *, identity: str = "") -> Toolchain:
        """The toolchain image of a profile's root, made when there is none yet (seconds)."""
        return toolchain.make(sandbox, flags.wanted, self.toolchains, identity=identity)

    @contextmanager
    def lease(
        self,
        sandbox: Sandbox,
        processors: int,
        *,
        flags: Flags | None = None,
        identity: str = "",
        cross: Sandbox | None = None,
        start_seconds: float = START_SECONDS,
    ) -> Iterator[Lease]:
        """Compile hosts for one build in this root. Without any that answers it costs nothing.

        Raises Problem when the flags are other ones on every host (-march=native).
        Hosts that fail their probe, return wrong objects or break down again and again are quarantined.
        """
        if not any(host.state is HostState.READY for host in self.hosts()):
            yield lease.empty(processors)
            return
        flags = flags or probe.read_flags(sandbox)
        probe.check_flags(sandbox, flags)
        made = self.toolchain(cross or sandbox, flags, identity=identity)
        self.want(made)
        invited = self._invited(made, start_seconds)
        image = self.toolchains / f"{made.hash}.sqfs"
        ground = lease.Ground(sandbox, flags, made, image, self._room("leases"), processors, cross)

        def passed(host: str) -> None:
            self.store.compile_hosts.set_probed(host, made.hash, self.clock())

        with self._tending(), lease.lease(ground, invited, passed) as held:
            for name, reason in held.rejected.items():
                self.quarantine(name, reason)
            yield held
        self._judge(held.report())

    @contextmanager
    def _tending(self) -> Iterator[None]:
        """Orders are signed again before they are over, however long a build takes."""
        done = threading.Event()

        def tend() -> None:
            store = Store(self.tree.store)
            own = ClusterDesk(LiveSite(self.live.path), self.tree, store, self.clock, self._signer)
            while not done.wait(TEND_SECONDS):
                try:
                    own.tend()
                except Exception:
                    log.exception("ordering compile hosts")
            store.close()

        thread = threading.Thread(target=tend, name="cluster", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _invited(self, made: Toolchain, seconds: float) -> list[Invited]:
        """Hosts that run the toolchain; waits for the first of them, and a moment for the others."""

        def first() -> bool | None:
            return bool(self._serving(made)[0]) or None

        def others() -> bool | None:
            return None if self._serving(made)[1] else True

        try:
            wait_until(first, seconds=seconds, what=f"a compile host runs toolchain {made.hash}")
            wait_until(others, seconds=OTHERS_SECONDS, what="every ready compile host runs it")
        except DeadlinePassed as late:
            log.warning("some compile hosts are not used: %s", late)
        return self._serving(made)[0]

    def _serving(self, made: Toolchain) -> tuple[list[Invited], list[str]]:
        """Who runs the toolchain, and who is ready and was ordered to but does not yet."""
        found, missing = [], []
        for host in self.hosts():
            port = self.store.compile_hosts.ports(host.name).get(made.hash)
            if port is None or host.state is not HostState.READY:
                continue
            if cluster.serving(host, made.hash, port):
                probed = self.clock() - self._probed(host, made.hash) < PROBE_SECONDS
                found.append(Invited(host, port, probed))
            else:
                missing.append(host.name)
        return found, missing

    def _judge(self, usage: Usage) -> None:
        for name, reason in usage.wrong.items():
            self.quarantine(name, reason)
        for name, count in usage.failures.items():
            if name not in usage.wrong and count >= lease.FAILURES:
                self.quarantine(name, f"it failed {count} times in one build")
        for name, count in usage.remote.items():
            if count and name not in usage.wrong and not usage.failures.get(name):
                host = self.host(name)
                if host.strikes and host.state is HostState.READY:
                    self.store.compile_hosts.put(replace(host, strikes=host.strikes - 1))

    def _probed(self, host: CompileHost, made: str) -> float:
        return self.store.compile_hosts.probed_at(host.name, made)

    # what a compile host needs

    def kit(self, place: Path, *, server: str, name: str = "") -> None:
        """Write the files of a compile host below a directory that is new or empty."""
        if place.exists() and any(place.iterdir()):
            raise Problem(f"{place} is not empty", hint="name a new directory")
        shutil.copytree(overlay(AGENT), place, dirs_exist_ok=True)
        settings = f"# Settings of compile-host; read by sh.\nserver={server}\n"
        settings += f"name={name}\n" if name else ""
        (place / "etc/distserver/compile-host.conf").write_text(settings)
        shutil.copy(self.signer.public_keyring(), place / "etc/distserver/release-key.gpg")
