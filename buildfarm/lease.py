"""Compile hosts for the length of one build: a relay to those that passed their probe, and checks."""

import fcntl
import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.compile_host import CompileHost
from appliance.deadline import wait_until
from appliance.run import running
from appliance.sandbox import Mount, Sandbox
from buildfarm import distcc, probe, relay, toolchain
from buildfarm.cluster import Seat, jobs
from buildfarm.distcc import Client, Ran
from buildfarm.toolchain import Toolchain
from buildfarm.view import View, view

log = logging.getLogger(__name__)

FIRST_PORT = 4001
RELAY_SECONDS = 20.0
FIRST_SAMPLES = 4
"""Two of them are a probe's, when there was one."""
EVERY_SAMPLE = 50
"""So many compilations of a host go by until another one is done again here."""
LOOK_SECONDS = 1.0
FAILURES = 3
"""A host that failed so often in one build is a bad one."""


@dataclass(frozen=True)
class Usage:
    """What really ran where, from distcc's own log and the relay's counts."""

    remote: Mapping[str, int] = field(default_factory=dict)
    """Compilations that ended well, by host."""
    local: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    """By host: connections it refused or broke, and compilations it could not do."""
    octets: int = 0
    """Sent and received."""
    checked: int = 0
    """Compilations of hosts that were done again here."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """Hosts that returned other objects than the toolchain makes, with the reason. What was built with them
    must not be published."""
    outdated: bool = False
    """The toolchain was replaced in the root meanwhile; from then on everything was compiled here."""

    @property
    def share(self) -> float:
        """The part of all compilations that ran on other hosts, 0 to 1."""
        away = sum(self.remote.values())
        return away / (away + self.local) if away + self.local else 0.0

    def __str__(self) -> str:
        hosts = ", ".join(f"{host} {count}" for host, count in sorted(self.remote.items()))
        total = sum(self.remote.values()) + self.local
        return f"{self.share:.0%} of {total} compilations on other hosts ({hosts or 'none'})"


@dataclass
class Lease:
    """What a build needs so that it compiles on other hosts; without any host it changes nothing."""

    slots: int
    """Jobs to run at a time, here and elsewhere."""
    env: Mapping[str, str] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    """For FEATURES."""
    mounts: tuple[Mount, ...] = ()
    sandbox_network: Path | None = None
    """The network namespace to build in."""
    hosts: tuple[str, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)
    """Hosts that did not pass their probe, with the reason."""
    _watch: "_Watch | None" = None
    _final: Usage | None = None

    def into(self, sandbox: Sandbox) -> Sandbox:
        """The sandbox with all of it laid in."""
        if not self.hosts:
            return sandbox
        features = f"{sandbox.env.get('FEATURES', '')} {' '.join(self.features)}".strip()
        return replace(
            sandbox,
            mounts=[*sandbox.mounts, *self.mounts],
            namespace=self.sandbox_network,
            env={**sandbox.env, **self.env, "FEATURES": features},
        )

    def report(self) -> Usage:
        """What ran where until now, or until the lease ended."""
        if self._final is None and self._watch is not None:
            return self._watch.usage()
        return self._final or Usage()


@dataclass(frozen=True)
class Invited:
    """A host that says it runs the toolchain, on this port."""

    host: CompileHost
    port: int
    probed: bool = False
    """It passed this toolchain's probe not long ago."""


@dataclass(frozen=True)
class Ground:
    """The root a build happens in, and how it compiles."""

    sandbox: Sandbox
    flags: probe.Flags
    made: Toolchain
    image: Path
    room: Path
    """Where the files of leases are made."""
    processors: int
    cross: Sandbox | None = None
    """Where the compiler is that hosts have, when it is not the root's own: that one is emulated."""

    @property
    def compilers(self) -> Sandbox:
        return self.cross or self.sandbox


def empty(processors: int) -> Lease:
    """No host at all: nothing is started, nothing is mounted."""
    return Lease(slots=processors)


@contextmanager
def lease(ground: Ground, invited: Sequence[Invited], passed: Callable[[str], None]) -> Iterator[Lease]:
    """Relay to the invited hosts while the block runs; `passed` is told of each that passed its probe now."""
    if not invited:
        yield empty(ground.processors)
        return
    with _place(ground.room) as place:
        seats = {
            each.host.name: Seat(each.host.name, FIRST_PORT + number, each.host.jobs)
            for number, each in enumerate(invited)
        }
        with _relay(place / "relay", seats, invited) as namespace:
            root = view(ground.sandbox)
            client = distcc.prepare(root, ground.made.names, place)
            rejected = _probe(ground, invited, seats, client, namespace, place, passed)
            used = {host: seat for host, seat in seats.items() if host not in rejected}
            if not used:
                yield replace(empty(ground.processors), rejected=rejected)
                return
            watch = _Watch(ground, root, used, client, place)
            with watch:
                held = Lease(
                    slots=jobs(list(used.values()), ground.processors),
                    env=distcc.environment(list(used.values()), ground.processors, here=not ground.cross),
                    features=distcc.FEATURES,
                    mounts=client.mounts,
                    sandbox_network=namespace,
                    hosts=tuple(sorted(used)),
                    rejected=rejected,
                    _watch=watch,
                )
                try:
                    yield held
                finally:
                    held._final = watch.usage()


@contextmanager
def _place(room: Path) -> Iterator[Path]:
    """A directory that is gone afterwards; what killed holders left goes first. A lock says who lives."""
    with ExitStack() as held:
        with (room / "lock").open("w") as making:
            fcntl.flock(making, fcntl.LOCK_EX)
            for left in room.glob("lease-*"):
                with (left / "lock").open("w") as lock, suppress(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left)
            place = Path(held.enter_context(TemporaryDirectory(prefix="lease-", dir=room)))
            fcntl.flock(held.enter_context((place / "lock").open("w")), fcntl.LOCK_EX)
        place.chmod(0o755)
        yield place


@contextmanager
def _relay(place: Path, seats: Mapping[str, Seat], invited: Sequence[Invited]) -> Iterator[Path]:
    """The relay as a process of its own; the path of its network namespace."""
    (place / "samples").mkdir(parents=True)
    routes = [
        {"port": seats[each.host.name].port, "address": each.host.address, "target": each.port}
        for each in invited
    ]
    plan = {"directory": str(place), "routes": routes, "first": FIRST_SAMPLES, "every": EVERY_SAMPLE}
    argv = [sys.executable, "-I", str(relay.__file__), json.dumps(plan)]
    ready, output = place / "ready", place / "output"
    output.touch()
    with running(argv, prefix=["setpriv", "--pdeathsig", "KILL"], output=output):

        def started() -> Path | None:
            return Path(ready.read_text()) if ready.exists() else None

        yield wait_until(started, seconds=RELAY_SECONDS, what="the relay runs", last_seen=output.read_text)


def _probe(
    ground: Ground,
    invited: Sequence[Invited],
    seats: Mapping[str, Seat],
    client: Client,
    namespace: Path,
    place: Path,
    passed: Callable[[str], None],
) -> dict[str, str]:
    """Host -> why it must not be used; those that passed lately are not asked again."""
    fresh = [each.host.name for each in invited if not each.probed]
    if not fresh:
        return {}
    work = place / "probe"
    work.mkdir()
    expected = probe.expect(ground.compilers, ground.flags, work)
    if ground.cross:
        probe.check_same_code(ground.sandbox, ground.cross, ground.flags, work)
    inside = replace(ground.sandbox, mounts=[*ground.sandbox.mounts, *client.mounts], namespace=namespace)
    rejected = {}
    for host in fresh:
        reason = probe.differs(
            inside,
            ground.flags,
            seats[host],
            masquerade=client.masquerade,
            expected=expected,
            place=work,
        )
        if reason:
            log.warning("compile host %s is not used: %s", host, reason)
            rejected[host] = reason
        else:
            passed(host)
    shutil.rmtree(work)
    return rejected


class _Watch:
    """Looks after a lease: does samples again, notices when the toolchain is replaced."""

    def __init__(
        self, ground: Ground, root: View, seats: Mapping[str, Seat], client: Client, place: Path
    ) -> None:
        self.ground = ground
        self.root = root
        self.seats = seats
        self.client = client
        self.place = place / "relay"
        self.scratch = place / "again"
        self.compilers = view(ground.compilers)
        self.before = toolchain.fingerprint(self.compilers, ground.made)
        self.wrong: dict[str, str] = {}
        self.checked = 0
        self.outdated = False
        self.looking = threading.Lock()
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._loop, name="lease", daemon=True)

    def __enter__(self) -> None:
        # What the probes left is no part of the build.
        for sample in (self.place / "samples").iterdir():
            sample.unlink()
        self.base = self._counts()
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def usage(self) -> Usage:
        """Also does every sample again that was taken until now."""
        self._look()
        text = self.client.log.read_text(errors="replace")
        ran: Ran = distcc.read_log(text)
        names = {seat.name: host for host, seat in self.seats.items()}
        counts = self._counts()
        failures = {host: self._since(counts, seat, "failures") for host, seat in self.seats.items()}
        for seat_name, count in ran.failed.items():
            if host := names.get(seat_name):
                failures[host] += count
        octets = sum(
            self._since(counts, seat, name)
            for seat in self.seats.values()
            for name in ("bytes_out", "bytes_in")
        )
        return Usage(
            remote={names[name]: count for name, count in ran.remote.items() if name in names},
            local=ran.local,
            failures={host: count for host, count in failures.items() if count},
            octets=octets,
            checked=self.checked,
            wrong=dict(self.wrong),
            outdated=self.outdated,
        )

    def _since(self, counts: Mapping[str, Mapping[str, int]], seat: Seat, name: str) -> int:
        port = str(seat.port)
        return counts.get(port, {}).get(name, 0) - self.base.get(port, {}).get(name, 0)

    def _counts(self) -> dict[str, dict[str, int]]:
        file = self.place / "counts"
        counts: dict[str, dict[str, int]] = json.loads(file.read_text()) if file.exists() else {}
        return counts

    def _loop(self) -> None:
        while not self.done.wait(LOOK_SECONDS):
            try:
                self._look()
            except Exception:
                log.exception("checking compile hosts")

    def _look(self) -> None:
        with self.looking:
            if not self.outdated and toolchain.fingerprint(self.compilers, self.ground.made) != self.before:
                log.warning("the toolchain was replaced: compiling here from now on")
                self.outdated = True
                self._stop(list(self.seats.values()))
            for response in sorted((self.place / "samples").glob("*.response")):
                self._again(response)

    def _stop(self, seats: Sequence[Seat]) -> None:
        stopped = self.place / "stopped"
        before = stopped.read_text() if stopped.exists() else ""
        relay.put(stopped, before + "".join(f"{seat.port}\n" for seat in seats))

    def _again(self, response: Path) -> None:
        """Let the toolchain's own distccd answer a recorded request, and compare."""
        request = response.with_suffix(".request")
        port = int(response.name.partition("-")[0])
        host, seat = next((host, seat) for host, seat in self.seats.items() if seat.port == port)
        try:
            ours = self._answer(request)
            # An answer that was cut off is a failure, which distcc saw itself. What is never the same twice
            # (link-time optimisation, sources without a name) proves nothing.
            theirs = distcc.outcome(response.read_bytes())
            wrong = ours != theirs and self._answer(request) == ours
        except ValueError as cut_off:
            log.info("an answer of compile host %s: %s", host, cut_off)
            return
        finally:
            for file in (request, response):
                file.unlink()
        self.checked += 1
        if wrong:
            log.warning("compile host %s returned a wrong object", host)
            self.wrong[host] = "an object it returned is not what the toolchain makes"
            self._stop([seat])

    def _answer(self, request: Path) -> tuple[int, bytes]:
        return distcc.outcome(toolchain.answer(self.ground.made, self.ground.image, request, self.scratch))
