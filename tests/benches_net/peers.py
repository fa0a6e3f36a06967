"""TFTP servers to measure: ours as `distserver up` starts it, and others as their Debian packages are."""

import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.deadline import wait_until
from appliance.demo import cache
from appliance.lab import listening_ports
from appliance.model import Tree
from appliance.run import run, running
from appliance.services import init_site
from tests.benches_net.wire import INTERFACE, SERVER, Wire

OURS = "distserver"
START_SECONDS = 20.0
SAMPLE_SECONDS = 0.25
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
TFTPY = """\
import logging, sys, tftpy
logging.disable()
tftpy.TftpServer(sys.argv[2]).listen(sys.argv[1], 69)
"""


@dataclass
class Cost:
    """What a server used since it was ready."""

    cpu_seconds: float = 0.0
    private_bytes: int = 0
    """The most that all of its processes had for themselves at a time."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, session: int) -> None:
        while True:
            self.private_bytes = max(self.private_bytes, _private_bytes(session))
            if self._stop.wait(SAMPLE_SECONDS):
                return

    def stop(self) -> None:
        self._stop.set()


def unpacked(package: str) -> Path:
    """The files of a Debian package that is not installed: its service would take port 69 of this host."""
    place = cache() / "bench-net" / package
    if not place.exists():
        part = place.with_name(f"{package}.part")
        part.mkdir(parents=True, exist_ok=True)
        run(["apt-get", "download", "-q", package], cwd=part)
        (archive,) = part.glob("*.deb")
        run(["dpkg-deb", "-x", archive, part])
        part.rename(place)
    return place


def _with_libwrap(package: str, program: str, *words: str | Path) -> list[str | Path]:
    libraries = unpacked("libwrap0") / "usr/lib/x86_64-linux-gnu"
    setting: list[str | Path] = ["env", f"LD_LIBRARY_PATH={libraries}"]
    return [*setting, unpacked(package) / "usr/sbin" / program, *words]


def _ours(root: Path) -> list[str | Path]:
    """The boot process. It serves the files of its state's `boot`, which are those of `root`."""
    site, tree = root.parent / "site", Tree(root.parent / "state")
    if not site.exists():
        init_site(site)
        for file in root.iterdir():
            os.link(file, tree.room("boot") / file.name)
    words = ["process", "boot", "--site", str(site), "--interface", INTERFACE]
    return [sys.executable, "-m", "appliance.cli", "--state", tree.path, *words]


def _dnsmasq(root: Path) -> list[str | Path]:
    nothing_else = [
        "--conf-file=/dev/null",
        "--port=0",
        "--log-facility=/dev/null",
        "--user=root",
        "--pid-file=",
    ]
    here = [f"--interface={INTERFACE}", "--bind-interfaces", f"--tftp-root={root}", "--tftp-max=4096"]
    return ["dnsmasq", "--keep-in-foreground", *nothing_else, "--enable-tftp", *here]


def _hpa(root: Path) -> list[str | Path]:
    where = ["--foreground", "--address", f"{SERVER}:69", "--secure"]
    return _with_libwrap("tftpd-hpa", "in.tftpd", "--user", "root", *where, root)


def _atftpd(root: Path) -> list[str | Path]:
    who = ["--user", "root", "--group", "root", "--maxthread", "4096", "--verbose=0"]
    return _with_libwrap("atftpd", "atftpd", "--daemon", "--no-fork", "--bind-address", SERVER, *who, root)


PEERS: Mapping[str, Callable[[Path], list[str | Path]]] = {
    OURS: _ours,
    "dnsmasq": _dnsmasq,
    "tftpd-hpa": _hpa,
    "atftpd": _atftpd,
    "tftpy": lambda root: [sys.executable, "-c", TFTPY, SERVER, root],
}
"""By their names: the argv that serves a directory on port 69 in the foreground."""


@contextmanager
def server(
    on: Wire, argv: list[str | Path], log_file: Path, *, port: int = 69, tcp: bool = False
) -> Iterator[Cost]:
    """A server that is ready, so listens on `port`; what it cost is known when the block is left."""
    # The usual 1024 would decide a storm of 1000 clients. Ours raises its own.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with running(argv, prefix=on.server, output=log_file) as child:
        words = ["ss", "--no-header", "--numeric", "--tcp" if tcp else "--udp", "--listening"]

        def ready() -> bool | None:
            if child.poll() is not None:
                raise RuntimeError(f"{argv[0]} ended: {log_file.read_text()[-2000:]}")
            return port in listening_ports(run(words, prefix=on.server).stdout) or None

        wait_until(ready, seconds=START_SECONDS, what=f"{argv[0]} listens", last_seen=log_file.read_text)
        cost, before = Cost(), _cpu_seconds(child.pid)
        watching = threading.Thread(target=cost.watch, args=(child.pid,))
        watching.start()
        try:
            yield cost
            cost.cpu_seconds = _cpu_seconds(child.pid) - before
        finally:
            cost.stop()
            watching.join()


def _processes(session: int) -> Iterator[Path]:
    """Those that a server consists of: it leads a session of its own."""
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and os.getsid(int(place.name)) == session:
                yield place
        except ProcessLookupError:
            continue


def _private_bytes(session: int) -> int:
    whole = 0
    for place in _processes(session):
        try:
            _, resident, shared, *_ = (place / "statm").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        whole += (int(resident) - int(shared)) * PAGE_BYTES
    return whole


def _cpu_seconds(session: int) -> float:
    """User and system time of a server, of its processes that ended, too."""
    ticks = 0
    for place in _processes(session):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND
