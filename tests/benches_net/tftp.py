"""TFTP: one client with several window sizes, and storms of clients, against other servers."""

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

from appliance.run import run
from tests.benches_net.peers import OURS, PEERS, server
from tests.benches_net.report import emit, say
from tests.benches_net.wire import CLIENT, SERVER, Wire, wire

WINDOWS = (1, 4, 16, 64)
STORMS = (1, 50, 200, 1000)
BLKSIZE = 1468
FILE_BYTES = 40_000_000
ROUNDS = 3
FETCHES = 3
"""Of one client in each round, from one start of the server."""
NBP = Path("/usr/lib/ipxe/snponly.efi")
# What OVMF asks for.
STORM_WINDOW = 4
FIRST_ADDRESS = "10.78.0.1"
NOTHING = "the loopback itself"
"""The least a server can do: what the same sockets and the same wire cost (see load.c)."""


@dataclass(frozen=True)
class Run:
    """One measured run."""

    completed: int
    failed: int
    repeats: int
    seconds: float
    each: tuple[float, ...]
    """Sorted: the seconds of every client that got the file."""
    cpu_seconds: float
    private_bytes: int

    def share(self, part: float) -> float:
        """The seconds within which this part of the clients had the file."""
        return self.each[min(int(part * len(self.each)), len(self.each) - 1)] if self.each else 0.0


@cache
def _load() -> Path:
    """The compiled load program. One that is written in Python would be slower than the servers."""
    program = Path(mkdtemp(prefix="bench-net-load-")) / "load"
    run(["gcc", "-O2", "-o", program, Path(__file__).with_name("load.c")])
    return program


def _runs(
    on: Wire, argv: list[str | Path], place: Path, file: Path, *, window: int, clients: int
) -> list[Run]:
    """A server from its start to its end, measured."""
    first = CLIENT if clients == 1 else FIRST_ADDRESS
    asked = [str(BLKSIZE), str(window), str(clients)]
    fetch: list[str | Path] = [_load(), "fetch", SERVER, file.name, file, *asked, first]
    count = FETCHES if clients == 1 else 1
    with server(on, argv, place / "server.log") as cost:
        printed = [run(fetch, prefix=on.clients, timeout_seconds=300).stdout for _ in range(count)]
    return [_read(text, cost.cpu_seconds / count, cost.private_bytes) for text in printed]


def _read(printed: str, cpu_seconds: float, private_bytes: int) -> Run:
    """What the load program printed."""
    lines = [line.split(maxsplit=1) for line in printed.splitlines()]
    each = tuple(float(rest) for word, rest in lines if word == "client")
    (summary,) = (rest for word, rest in lines if word == "all")
    for remark in sorted({" ".join(line) for line in lines if line[0] not in ("client", "all")}):
        say(remark)
    completed, failed, repeats, seconds = summary.split()
    return Run(int(completed), int(failed), int(repeats), float(seconds), each, cpu_seconds, private_bytes)


def _rounds(place: Path, file: Path, peers: list[str], *, window: int, clients: int) -> dict[str, list[Run]]:
    """Every peer in turn, several times: what else this machine does meets all alike."""
    runs: dict[str, list[Run]] = {peer: [] for peer in peers}
    with wire() as on:
        for number in range(ROUNDS):
            for peer in peers:
                least: list[str | Path] = [_load(), "serve", SERVER, file, str(BLKSIZE), str(window)]
                argv = least if peer == NOTHING else PEERS[peer](file.parent)
                for one in _runs(on, argv, place, file, window=window, clients=clients):
                    runs[peer].append(one)
                    say(
                        f"round {number + 1}: {peer}: {one.completed} of {clients} in {one.seconds:.3f} s, "
                        f"{one.repeats} repeats, server {one.cpu_seconds:.3f} s of processor"
                    )
    return runs


def _median(runs: list[Run], value: Callable[[Run], float]) -> float:
    return statistics.median(value(one) for one in runs)


def _best(runs: list[Run], value: Callable[[Run], float]) -> float:
    """What the server can do: whatever else runs on this machine only takes away from it."""
    return max(value(one) for one in runs)


def _root(place: Path) -> Path:
    root = place / "root"
    root.mkdir()
    return root


def window(size: int, place: Path) -> None:
    """One client that fetches one file in windows of `size` blocks."""
    say(f"tftp/w{size}: one client, {FILE_BYTES} bytes, blksize {BLKSIZE}, windowsize {size}")
    file = _root(place) / "file.bin"
    file.write_bytes(os.urandom(FILE_BYTES))
    runs = _rounds(place, file, [*PEERS, NOTHING], window=size, clients=1)
    ours, goal = runs.pop(OURS), {1: ">= 1.0", 4: "", 16: ">= 3.0", 64: ">= 3.0"}[size]

    def speed(one: Run) -> float:
        return FILE_BYTES / 1e6 / one.seconds if one.completed else 0.0

    for peer, theirs in runs.items():
        emit(
            f"tftp/w{size}",
            peer,
            ours=_best(ours, speed),
            theirs=_best(theirs, speed),
            unit=f"MB/s, best of {len(theirs)}",
            goal=goal if peer == "dnsmasq" else "",
        )
        emit(
            f"tftp/w{size}/cpu",
            peer,
            ours=_median(ours, lambda one: one.cpu_seconds),
            theirs=_median(theirs, lambda one: one.cpu_seconds),
            unit="server CPU s",
        )


def storm(clients: int, place: Path) -> None:
    """Machines that are switched on together and fetch the boot program, each from its own address."""
    say(f"storm/{clients}: {clients} clients, {NBP.name}, blksize {BLKSIZE}, windowsize {STORM_WINDOW}")
    file = _root(place) / NBP.name
    file.write_bytes(NBP.read_bytes())
    runs = _rounds(place, file, list(PEERS), window=STORM_WINDOW, clients=clients)
    ours = runs.pop(OURS)
    figures: tuple[tuple[str, str, str, Callable[[Run], float]], ...] = (
        ("", "s until 99 % of the clients have it", "<= 1.0", lambda one: one.share(0.99)),
        ("/p50", "s until half of the clients have it", "", lambda one: one.share(0.5)),
        ("/completed", "clients", "1.0", lambda one: one.completed),
        ("/failed", "clients", "0", lambda one: one.failed),
        ("/cpu", "server CPU s", "", lambda one: one.cpu_seconds),
        ("/memory", "MB of the server's own", "", lambda one: one.private_bytes / 1e6),
    )
    for peer, theirs in runs.items():
        for part, unit, goal, value in figures:
            emit(
                f"storm/{clients}{part}",
                peer,
                ours=_median(ours, value),
                theirs=_median(theirs, value),
                unit=unit,
                goal=goal if peer == "dnsmasq" else "",
            )


CASES: Mapping[str, Callable[[Path], None]] = {
    **{f"tftp/w{size}": partial(window, size) for size in WINDOWS},
    **{f"storm/{clients}": partial(storm, clients) for clients in STORMS},
}
