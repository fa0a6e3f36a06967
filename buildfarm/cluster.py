"""Who compiles for whom: what each host is ordered to run, and how a build names its hosts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.compile_host import CompileHost, HostState

FIRST_PORT = 3640
LAST_PORT = 3999
TOOLCHAINS_PER_HOST = 12
NICE = 10
MOST_JOBS = 8
"""Jobs for each processor of the building host: it preprocesses and links all that others compile."""
LIFETIME_SECONDS = 3600
RUNS = {"x86_64": frozenset({"x86_64", "i686"})}
"""What a host's processor runs besides its own programs."""


@dataclass(frozen=True)
class Want:
    """A toolchain that builds need now."""

    toolchain: str
    arch: str
    size_bytes: int


@dataclass(frozen=True)
class Ordered:
    """One distccd a host is to run."""

    toolchain: str
    port: int
    jobs: int
    size_bytes: int


def assign(
    hosts: Sequence[CompileHost], wants: Sequence[Want], ports: Mapping[str, Mapping[str, int]]
) -> dict[str, tuple[Ordered, ...]]:
    """Host -> what it runs. `wants`: the most wanted first; `ports`: host -> toolchain -> port until now.

    A toolchain keeps its port, so that hosts go on while others come and go.
    """
    return {
        host.name: _orders(host, wants, ports.get(host.name, {}))
        for host in hosts
        if host.state is not HostState.UNKNOWN
    }


def _orders(host: CompileHost, wants: Sequence[Want], before: Mapping[str, int]) -> tuple[Ordered, ...]:
    runs = RUNS.get(host.machine, frozenset({host.machine}))
    mine = [want for want in wants if want.arch in runs][:TOOLCHAINS_PER_HOST]
    kept = {before[want.toolchain] for want in mine if want.toolchain in before}
    free = (port for port in range(FIRST_PORT, LAST_PORT) if port not in kept)
    return tuple(
        Ordered(want.toolchain, before.get(want.toolchain) or next(free), host.jobs, want.size_bytes)
        for want in mine
    )


def render(host: str, orders: Sequence[Ordered], *, serial: int, now: float, builders: Sequence[str]) -> str:
    """The text a compile host obeys when it is signed, serial and time are new, and the name is its own."""
    lines = [
        "orders 1",
        f"host {host}",
        f"serial {serial}",
        f"time {now:.0f}",
        f"lifetime {LIFETIME_SECONDS}",
        f"allow {' '.join(builders)}",
        f"nice {NICE}",
        *(f"toolchain {one.toolchain} {one.port} {one.jobs} {one.size_bytes}" for one in orders),
        "end",
    ]
    return "".join(f"{line}\n" for line in lines)


def serving(host: CompileHost, toolchain: str, port: int | None) -> bool:
    """May builds use this toolchain there, as far as the host itself says?"""
    runs = host.report.runs if host.report else {}
    return host.state is HostState.READY and port is not None and runs.get(toolchain) == port


@dataclass(frozen=True)
class Seat:
    """A host as one build sees it: a port of its own network that leads there."""

    host: str
    port: int
    slots: int

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"


def jobs(seats: Sequence[Seat], local: int) -> int:
    """How many compilers a build starts at a time."""
    return min(local + sum(seat.slots for seat in seats), local * MOST_JOBS)


def distcc_hosts(seats: Sequence[Seat], local: int, *, here: bool = True) -> str:
    """DISTCC_HOSTS: the remote ones first, this host when they are full.

    127.0.0.1:PORT is a host over TCP like any other; only the word localhost means `here` (hosts.c). Without
    `here` a compilation waits for a host: this root's own compiler is emulated, which takes longer.
    """
    remote = [f"{seat.name}/{seat.slots},lzo" for seat in sorted(seats, key=lambda s: (-s.slots, s.port))]
    limits = [f"--localslots={local}", f"--localslots_cpp={local * 4}"]
    return " ".join([*limits, *remote, *([f"localhost/{local}"] if here else [])])
