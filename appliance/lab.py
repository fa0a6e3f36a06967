"""A virtual LAN in network namespaces: a bridge, a foreign DHCP server, the appliance, clients and taps."""

import logging
import os
import re
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.run import run, running

log = logging.getLogger(__name__)

BRIDGE = "br0"
DHCP_ADDRESS = "10.77.0.1"
APPLIANCE_ADDRESS = "10.77.0.2"
PREFIX_LENGTH = 24
POOL = ("10.77.0.100", "10.77.0.199")
ROUTER_ADDRESS = "fd77::1"
NAMESPACES = Path("/run/netns")
NAME = re.compile(r"distserver-(?P<pid>\d+)-(?P<start>\d+)-(?P<rest>.+)")
START_SECONDS = 10.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Lan:
    """A LAN that is up. Its rooms are `lan` (the bridge and the taps; QEMU runs here), `dhcp`, `appliance`
    and the clients, each a network namespace; inside, every room but `lan` has one interface `eth0`."""

    name: str
    taps: tuple[str, ...]
    clients: tuple[str, ...]

    def namespace(self, room: str) -> str:
        if room not in self.rooms:
            raise KeyError(f"no room {room!r} on this LAN, it has {', '.join(self.rooms)}")
        return f"{self.name}-{room}"

    @property
    def rooms(self) -> tuple[str, ...]:
        return ("lan", "dhcp", "appliance", *self.clients)

    def exec_prefix(self, room: str) -> list[str]:
        """The argv prefix that makes a program run in a room."""
        return ["ip", "netns", "exec", self.namespace(room)]


@dataclass(frozen=True)
class NetbootOptions:
    """What a DHCP server that is not ours says of network boot."""

    next_server: str = ""
    """siaddr in the header; empty: dnsmasq names itself, as many servers do."""
    boot_file: str = ""
    """The header's `file`, or option 67 for clients that ask for that."""
    vendor_class: str = ""
    """Option 60, sent whoever asks."""
    offer_delay_seconds: int = 0
    """Most servers take a second, to see whether an address is free."""


FOREIGN: Mapping[str, NetbootOptions] = {
    "plain": NetbootOptions(),
    "siaddr": NetbootOptions(next_server="10.77.0.66"),
    "file": NetbootOptions(boot_file="foreign.0"),
    # Its OFFER is the second one: iPXE looks no further when the first has that class and an address.
    "class": NetbootOptions(vendor_class="PXEClient", offer_delay_seconds=1),
}
"""The DHCP servers one meets in offices, by what they say of network boot."""


@contextmanager
def lan(prefix: str = "lab", *, taps: int = 1, clients: Mapping[str, str] | None = None) -> Iterator[Lan]:
    """A LAN of its own, up until the block is left, then gone with all that still runs in it.

    `taps` names tap0, tap1, ... for machines; `clients` maps the names of further rooms to their IPv4
    addresses ("" for none). What an earlier, killed owner left behind is removed first.
    """
    remove_leftovers()
    members = {"dhcp": DHCP_ADDRESS, "appliance": APPLIANCE_ADDRESS, **(clients or {})}
    own = f"{_owner_name(os.getpid())}-{prefix}-{secrets.token_hex(2)}"
    made = Lan(own, tuple(f"tap{number}" for number in range(taps)), tuple(clients or {}))
    try:
        _make(made, members)
        yield made
    finally:
        for room in made.rooms:
            _remove_namespace(made.namespace(room))


def _make(made: Lan, members: Mapping[str, str]) -> None:
    bridge = made.namespace("lan")
    _make_namespace(bridge)
    # No forwarding delay: a bridge port that learns for 15 s would eat a firmware's first packets. No
    # multicast snooping: without a querier it would lose router solicitations.
    options = ["stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"]
    _ip(bridge, "link", "add", BRIDGE, "type", "bridge", *options)
    _ip(bridge, "link", "set", BRIDGE, "up")
    for room, address in members.items():
        inside, port = made.namespace(room), f"to-{room}"[:15]
        _make_namespace(inside)
        # Both ends are made inside: the host's own network never sees an interface.
        _ip(bridge, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", inside)
        _ip(bridge, "link", "set", port, "master", BRIDGE, "up")
        _ip(inside, "link", "set", "eth0", "up")
        if address:
            _ip(inside, "address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "eth0")
    for tap in made.taps:
        # tun/tap has no netns option of its own; `ip -netns` makes it where it belongs.
        _ip(bridge, "tuntap", "add", tap, "mode", "tap")
        _ip(bridge, "link", "set", tap, "master", BRIDGE, "up")


def _make_namespace(name: str) -> None:
    run(["ip", "netns", "add", name])
    _ip(name, "link", "set", "lo", "up")
    # Duplicate address detection would keep the link-local address from answering for the first second.
    setting = "/proc/sys/net/ipv6/conf/default/accept_dad"
    run(["tee", setting], prefix=["ip", "netns", "exec", name], stdin=b"0\n")


def _ip(namespace: str, *words: str) -> None:
    run(["ip", "-netns", namespace, *words])


def _remove_namespace(name: str) -> None:
    """End what still runs in a namespace, then delete it; one that is gone is fine."""
    if not (NAMESPACES / name).exists():
        return

    def empty() -> bool | None:
        listed = run(["ip", "netns", "pids", name], ok=(0, 1)).stdout.split()
        pids = [int(word) for word in listed if word.isdigit()]
        for pid in pids:
            log.info("ending process %d, left in %s", pid, name)
            _kill(pid)
        return None if pids else True

    wait_until(empty, seconds=STOP_SECONDS, what=f"no process is left in {name}")
    # Another lab that starts now may be removing the same leftovers: what counts is that it is gone.
    said = run(["ip", "netns", "delete", name], ok=(0, 1)).stdout
    if (NAMESPACES / name).exists():
        raise Problem(f"network namespace {name} cannot be deleted", hint=said.strip())


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("process %d had ended", pid)


def remove_leftovers() -> None:
    """Remove the LANs of owners that no longer live."""
    names = [place.name for place in NAMESPACES.iterdir()] if NAMESPACES.exists() else []
    for name in leftovers(names, _owner_name):
        log.info("removing %s, its owner is gone", name)
        _remove_namespace(name)


def leftovers(names: Sequence[str], owner_name: Callable[[int], str]) -> list[str]:
    """The namespaces whose name tells of a process that is not the one with that PID now."""
    found = []
    for name in sorted(names):
        match = NAME.fullmatch(name)
        if match and owner_name(int(match["pid"])) != f"distserver-{match['pid']}-{match['start']}":
            found.append(name)
    return found


def _owner_name(pid: int) -> str:
    """A process's name for its namespaces: PID and start time (proc(5), stat field 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else f"distserver-{pid}-{rest[18]}"


@contextmanager
def foreign_dhcp(
    on: Lan,
    log_file: Path,
    *,
    advertise: bool = True,
    netboot: NetbootOptions = FOREIGN["plain"],
    interface: str = "eth0",
    pools: Sequence[tuple[str, str]] = (POOL,),
) -> Iterator[None]:
    """The office's own DHCP server. `netboot` is what it says of network boot: nothing unless told.

    `pools` are the first and last address of each subnet it serves, the relayed ones among them.

    `advertise` adds IPv6 router advertisements: without them iPXE waits about 16 s for IPv6 at each boot.
    """
    words = [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0",
        f"--interface={interface}", "--bind-interfaces", "--no-ping", "--dhcp-authoritative",
        "--log-dhcp", "--log-facility=-", "--user=root", "--pid-file=", "--leasefile-ro",
        *(f"--dhcp-range={first},{last},255.255.255.0,1h" for first, last in pools),
        *_netboot_words(netboot),
    ]  # fmt: skip
    if advertise:
        _ip(on.namespace("dhcp"), "address", "replace", f"{ROUTER_ADDRESS}/64", "dev", interface, "nodad")
        words += ["--enable-ra", "--dhcp-range=fd77::,ra-only,64,1h", f"--ra-param={interface},high,4,0"]
    log_file.write_bytes(b"")
    with running(words, prefix=on.exec_prefix("dhcp"), output=log_file) as server:
        _wait_for_text(server.poll, log_file, "DHCP, IP range")
        yield


def _netboot_words(netboot: NetbootOptions) -> list[str]:
    words = []
    if netboot.boot_file or netboot.next_server:
        words.append(f"--dhcp-boot={netboot.boot_file},,{netboot.next_server}".rstrip(","))
    if netboot.vendor_class:
        words.append(f"--dhcp-option-force=60,{netboot.vendor_class}")
    if netboot.offer_delay_seconds:
        words.append(f"--dhcp-reply-delay={netboot.offer_delay_seconds}")
    return words


@contextmanager
def capture(on: Lan, file: Path, *, only: str = "", bridge: str = BRIDGE) -> Iterator[None]:
    """Everything on the LAN, as a pcap file that is complete when the block is left.

    `bridge` is another one of the room `lan`. `only` is a filter (pcap-filter(7)).
    Each packet is in the file as soon as it went by.
    """
    words = ["tcpdump", "-i", bridge, "-n", "-U", "--immediate-mode", "-Z", "root", "-w", str(file)]
    words += [only] if only else []
    log_file = file.with_name(f"{file.name}.log")
    log_file.write_bytes(b"")
    with running(words, prefix=on.exec_prefix("lan"), output=log_file) as tcpdump:
        _wait_for_text(tcpdump.poll, log_file, "listening on")
        yield


def _wait_for_text(poll: Callable[[], int | None], log_file: Path, text: str) -> None:
    def seen() -> str:
        return log_file.read_text(errors="replace")[-2000:]

    def said() -> bool | None:
        if text in seen():
            return True
        if poll() is not None:
            raise Problem(f"a program ended with status {poll()} before it said {text!r}", hint=seen())
        return None

    wait_until(said, seconds=START_SECONDS, what=f"{text!r} in {log_file}", last_seen=seen)


def wait_for_port(on: Lan, room: str, port: int, *, seconds: float, udp: bool = False) -> None:
    """Wait until something in a room listens on a TCP (or UDP) port."""
    words = ["ss", "--no-header", "--numeric", "--udp" if udp else "--tcp", "--listening"]

    def sockets() -> str:
        return run(words, prefix=on.exec_prefix(room)).stdout

    def listens() -> bool | None:
        return port in listening_ports(sockets()) or None

    kind = "UDP" if udp else "TCP"
    wait_until(listens, seconds=seconds, what=f"{kind} port {port} is open in {room}", last_seen=sockets)


def listening_ports(sockets: str) -> frozenset[int]:
    """The local ports in what `ss --no-header --numeric --listening` prints for one protocol."""
    fields = (line.split() for line in sockets.splitlines())
    ports = (words[3].rpartition(":")[2] for words in fields if len(words) > 3)
    return frozenset(int(port) for port in ports if port.isdigit())
