"""Booting machines: answers to DISCOVERs, kernel and initramfs by HTTP, and how long a whole boot takes."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp

from appliance.lab import APPLIANCE_ADDRESS, Lan, foreign_dhcp, lan, wait_for_port
from appliance.model import PC_FIRMWARE, Firmware
from appliance.run import run, running
from appliance.vm import Vm
from appliance.vm_power import power_on
from tests.benches_net.peers import OURS, server, unpacked
from tests.benches_net.report import emit, say
from tests.benches_net.stand_in import MARKER, RELEASE, StandIn, make
from tests.benches_net.wire import INTERFACE, SERVER, Wire, wire

ROUNDS = 3
MACHINES = 5000
IN_FLIGHT = (1, 32)
PERFDHCP_RATE = 20_000
PERFDHCP_SECONDS = 3
HTTP_CLIENTS = 64
MARKER_SECONDS = 180.0
UP_SECONDS = 30.0
DNSMASQ, NGINX, BOTH = "dnsmasq", "nginx", "dnsmasq and nginx"
# What OVMF x64 says of itself, for perfdhcp.
FIRMWARE_OPTIONS = {
    60: b"PXEClient:Arch:00007:UNDI:003000",
    93: b"\0\7",
    94: b"\1\3\0",
    97: bytes(17),
}
NGINX_CONFIG = """\
user root;
worker_processes auto;
daemon off;
pid {place}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    server {{ listen {address}:80; root {root}; }}
}}
"""


def _dnsmasq(boot: Path, subnet: str) -> list[str | Path]:
    """A proxy as its manual has it: firmware gets iPXE, iPXE gets a script, both by TFTP."""
    nothing_else = [
        "--conf-file=/dev/null",
        "--port=0",
        "--log-facility=/dev/null",
        "--user=root",
        "--pid-file=",
    ]
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        *nothing_else,
        "--interface=eth0",
        "--bind-interfaces",
    ]
    services = [
        f"--pxe-service=tag:{tag},{arch},boot,{name}"
        for tag, arch, name in (
            ("!ipxe", "x86PC", "undionly.kpxe"),
            ("!ipxe", "X86-64_EFI", "snponly.efi"),
            ("ipxe", "x86PC", "boot.ipxe"),
            ("ipxe", "X86-64_EFI", "boot.ipxe"),
        )
    ]
    ranges = [f"--dhcp-range={subnet},proxy,255.255.255.0", "--dhcp-userclass=set:ipxe,iPXE"]
    return [*words, *ranges, *services, "--enable-tftp", f"--tftp-root={boot}"]


def _nginx(place: Path, root: Path, address: str) -> list[str | Path]:
    config = place / "nginx.conf"
    config.write_text(NGINX_CONFIG.format(place=place, root=root, address=address))
    return [unpacked("nginx") / "usr/sbin/nginx", "-e", "stderr", "-c", config]


# DISCOVERs.


@cache
def _load() -> Path:
    program = Path(mkdtemp(prefix="bench-net-dhcp-")) / "dhcp"
    run(["gcc", "-O2", "-o", program, Path(__file__).with_name("dhcp.c")])
    return program


@dataclass(frozen=True)
class Answers:
    answered: int
    lost: int
    seconds: float
    each: tuple[float, ...]
    """Sorted: the seconds until each OFFER."""

    @property
    def rate(self) -> float:
        return self.answered / self.seconds

    @property
    def p99_ms(self) -> float:
        return 1000 * self.each[int(0.99 * len(self.each))] if self.each else 1000.0


def _discover(on: Wire, in_flight: int) -> Answers:
    words: list[str | Path] = [_load(), INTERFACE, SERVER, str(MACHINES), str(in_flight)]
    lines = run(words, prefix=on.clients, timeout_seconds=300).stdout.splitlines()
    _, answered, lost, seconds = lines[-1].split()
    each = sorted(float(line.split()[1]) for line in lines[:-1])
    return Answers(int(answered), int(lost), float(seconds), tuple(each))


def _perfdhcp(on: Wire) -> float:
    """OFFERs a second to a relay that passes on more DISCOVERs than anybody answers."""
    options = [word for code, value in FIRMWARE_OPTIONS.items() for word in ("-o", f"{code},{value.hex()}")]
    words = ["perfdhcp", "-4", "-i", "-u", "-r", str(PERFDHCP_RATE), "-p", str(PERFDHCP_SECONDS), *options]
    # 3: some were not answered in time, which is what is asked for.
    printed = run([*words, "-l", INTERFACE, SERVER], prefix=on.clients, ok=(0, 3), timeout_seconds=60).stdout
    (received,) = (line.split()[-1] for line in printed.splitlines() if line.startswith("received packets"))
    return int(received) / PERFDHCP_SECONDS


def proxydhcp(place: Path) -> None:
    """Machines that ask all at once, each one new to the server, against dnsmasq as a proxy."""
    found: dict[str, dict[str, list[float]]] = {OURS: {}, DNSMASQ: {}}
    for number in range(ROUNDS):
        for peer, figures in found.items():
            own = place / f"{peer}-{number}"
            own.mkdir()
            stand_in = make(own)
            argv = stand_in.argv() if peer == OURS else _dnsmasq(stand_in.tree.room("boot"), "10.77.9.0")
            with wire() as on, server(on, argv, own / "server.log"):
                for in_flight in IN_FLIGHT:
                    one = _discover(on, in_flight)
                    said = f"{in_flight} in flight: {one.rate:.0f}/s, {one.lost} lost"
                    say(f"round {number + 1}: {peer}, {said}")
                    figures.setdefault(f"proxydhcp/{in_flight}", []).append(one.rate)
                    figures.setdefault(f"proxydhcp/{in_flight}/p99", []).append(one.p99_ms)
                    figures.setdefault(f"proxydhcp/{in_flight}/lost", []).append(one.lost)
                figures.setdefault("proxydhcp/perfdhcp", []).append(_perfdhcp(on))
    for case, ours in found[OURS].items():
        part = case.rpartition("/")[2]
        unit = {"p99": "ms", "lost": "machines"}.get(part, "answers/s")
        goal = {"p99": "<= 1.0", "lost": "0"}.get(part, ">= 1.0")
        theirs = statistics.median(found[DNSMASQ][case])
        emit(case, DNSMASQ, ours=statistics.median(ours), theirs=theirs, unit=unit, goal=goal)


# Files.


def _fetch_all(on: Wire, urls: Sequence[str]) -> float:
    """Seconds until every client has every file."""
    script = (
        f"for n in $(seq {HTTP_CLIENTS}); do "
        'curl -sSf --parallel-max 1 $(for url; do echo -o /dev/null "$url"; done) & done; '
        "for n in $(jobs -p); do wait $n || exit 1; done"
    )
    began = time.monotonic()
    run(["bash", "-c", script, "bash", *urls], prefix=on.clients, timeout_seconds=300)
    return time.monotonic() - began


def http(place: Path) -> None:
    """64 clients that fetch kernel and initramfs at the same time, against nginx."""
    stand_in = make(place)
    files = [stand_in.release / name for name in ("kernel", "installer")]
    megabytes = HTTP_CLIENTS * sum(file.stat().st_size for file in files) / 1e6
    servers: Mapping[str, tuple[list[str | Path], str]] = {
        OURS: (stand_in.argv(), f"http://{SERVER}/r/{RELEASE}"),
        NGINX: (_nginx(place, stand_in.release, SERVER), f"http://{SERVER}"),
    }
    speeds: dict[str, list[float]] = {peer: [] for peer in servers}
    costs: dict[str, list[float]] = {peer: [] for peer in servers}
    with wire() as on:
        for number in range(ROUNDS):
            for peer, (argv, base) in servers.items():
                with server(on, argv, place / f"{peer}.log", port=80, tcp=True) as cost:
                    seconds = _fetch_all(on, [f"{base}/{file.name}" for file in files])
                speeds[peer].append(megabytes / seconds)
                costs[peer].append(cost.cpu_seconds)
                said = f"{megabytes / seconds:.0f} MB/s, {cost.cpu_seconds:.2f} s of processor"
                say(f"round {number + 1}: {peer}: {said}")
    emit("http", NGINX, ours=_median(speeds[OURS]), theirs=_median(speeds[NGINX]), unit="MB/s", goal=">= 0.8")
    emit("http/cpu", NGINX, ours=_median(costs[OURS]), theirs=_median(costs[NGINX]), unit="server CPU s")


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


# Whole boots.


@contextmanager
def _ours(net: Lan, stand_in: StandIn) -> Iterator[None]:
    prefix = net.exec_prefix("appliance")
    with running(stand_in.argv(), prefix=prefix, output=stand_in.place / "ours.log"):
        wait_for_port(net, "appliance", 80, seconds=UP_SECONDS)
        yield


@contextmanager
def _dnsmasq_and_nginx(net: Lan, stand_in: StandIn) -> Iterator[None]:
    boot, base = stand_in.tree.room("boot"), f"http://{APPLIANCE_ADDRESS}"
    script = f"#!ipxe\nkernel {base}/kernel initrd=installer console=ttyS0\ninitrd {base}/installer\nboot\n"
    (boot / "boot.ipxe").write_text(script)
    prefix = net.exec_prefix("appliance")
    with ExitStack() as stack:
        for name, argv in (
            ("dnsmasq", _dnsmasq(boot, "10.77.0.0")),
            ("nginx", _nginx(stand_in.place, stand_in.release, APPLIANCE_ADDRESS)),
        ):
            log = stand_in.place / f"{name}.log"
            stack.enter_context(running(argv, prefix=prefix, output=log))
        wait_for_port(net, "appliance", 80, seconds=UP_SECONDS)
        wait_for_port(net, "appliance", 69, seconds=UP_SECONDS, udp=True)
        yield


def power_on_to_installer(firmware: Firmware, place: Path) -> None:
    """From the power button to the installer's first line, against dnsmasq and nginx with the same files."""
    stand_in = make(place)
    case = f"power-on/{firmware.value}"
    seconds: dict[str, list[float]] = {OURS: [], BOTH: []}
    for number in range(ROUNDS):
        for peer, serve in ((OURS, _ours), (BOTH, _dnsmasq_and_nginx)):
            with lan("bench") as net, foreign_dhcp(net, place / "dhcp.log"), serve(net, stand_in):
                mac = f"52:54:00:7c:00:{number:02x}"
                vm = Vm(f"{peer}-{number}", place / f"{peer}-{number}", firmware, mac=mac, tap=net.taps[0])
                began = time.monotonic()
                with power_on(vm, prefix=net.exec_prefix("lan")) as machine:
                    machine.console.wait_for(MARKER, seconds=MARKER_SECONDS)
                    seconds[peer].append(time.monotonic() - began)
            say(f"{case}, round {number + 1}: {peer}: {seconds[peer][-1]:.1f} s")
    ours, theirs = _median(seconds[OURS]), _median(seconds[BOTH])
    emit(case, BOTH, ours=ours, theirs=theirs, unit="s", goal="<= 1.0")


CASES: Mapping[str, Callable[[Path], None]] = {
    "proxydhcp": proxydhcp,
    "http": http,
    **{f"power-on/{firmware.value}": partial(power_on_to_installer, firmware) for firmware in PC_FIRMWARE},
}
