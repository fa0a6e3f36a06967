"""Judges what a host says of itself: ports, firewall, frame sizes and capabilities; pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from appliance.findings import Finding, Level
from appliance.firewall import Fate, Parcel, Verdict, verdict
from appliance.listeners import Listener

ETHERNET_MTU = 1500
CAPABILITIES = {"CAP_NET_BIND_SERVICE": 10, "CAP_NET_RAW": 13}
"""By their bits in /proc/PID/status (<linux/capability.h>)."""
_NOBODY, _EVERYBODY = IPv4Address(0), IPv4Address("255.255.255.255")


@dataclass(frozen=True)
class Port:
    """A port machines ask."""

    protocol: str
    number: int
    what: str
    shared: bool = False
    """Where somebody else has it, packets are taken from the wire instead."""
    vital: bool = True
    """The server does not start without it."""


def ports(http_port: int, *, dns: bool, clients: int = 0) -> tuple[Port, ...]:
    """The ports this server answers on; `clients`: that of installed machines, 0 for none."""
    usual = (
        Port("udp", 67, "DHCP", shared=True),
        Port("udp", 4011, "the PXE boot server"),
        Port("udp", 69, "TFTP"),
        Port("tcp", http_port, "HTTP"),
    )
    names = (Port("udp", 53, "DNS"), Port("tcp", 53, "DNS")) if dns else ()
    door = (Port("tcp", clients, "the door of installed machines", vital=False),) if clients else ()
    return (*usual, *names, *door)


def judge_ports(
    wanted: Sequence[Port],
    listeners: Sequence[Listener],
    place: tuple[str, IPv4Address],
    ours: Collection[int],
) -> list[Finding]:
    """Who has each port on an interface (name, address); `ours`: the processes of this server."""
    interface, address = place
    findings = []
    for port in wanted:
        name = f"{port.what}, {port.protocol.upper()} port {port.number}"
        here = [
            one
            for one in listeners
            if (one.protocol, one.port) == (port.protocol, port.number) and one.takes(address, interface)
        ]
        strangers = [one for one in here if one.pid not in ours]
        if not strangers:
            said = "this server has it" if here else "free"
            findings.append(Finding(Level.GREEN, name, said))
            continue
        who = ", ".join(sorted({f"{one.program or 'a program'} (process {one.pid})" for one in strangers}))
        fix = f"stop it, or keep it off {interface} ({address})"
        if port.shared:
            said = f"{who} has it: packets are taken from the wire beside it"
            findings.append(
                Finding(Level.YELLOW, name, said, f"{fix}, unless it is the DHCP server of the LAN")
            )
        else:
            then = "this server cannot start" if port.vital else "machines that are installed cannot come"
            findings.append(Finding(Level.RED, name, f"{who} has it: {then}", fix))
    return findings


def judge_front(number: int, listeners: Sequence[Listener], place: tuple[str, IPv4Address]) -> list[Finding]:
    """Whether a web server listens on the port that machines are told instead of ours ([http] front)."""
    name = f"the web server in front, TCP port {number}"
    interface, address = place
    for one in listeners:
        if (one.protocol, one.port) == ("tcp", number) and one.takes(address, interface):
            return [Finding(Level.GREEN, name, f"{one.program or 'a program'} has it")]
    fix = "start it (examples/nginx.conf), or take `front` out of [http]"
    return [Finding(Level.RED, name, "nobody listens there, and machines are told to fetch from it", fix)]


def judge_firewall(
    listed: Mapping[str, Any],
    wanted: Sequence[Port],
    interface: str,
    network: IPv4Network,
    address: IPv4Address,
) -> list[Finding]:
    """Which packets of a machine on the LAN the rules of nftables let in."""
    machine = next((host for host in network.hosts() if host != address), address)
    parcels = [
        (port, Parcel(interface, port.protocol, port.number, *_ends(port, machine, address)))
        for port in wanted
    ]
    findings = []
    for port, parcel in parcels:
        name = f"firewall, {port.protocol.upper()} port {port.number}"
        findings += _judge(name, verdict(listed, parcel), f"{port.what} gets", _accept(interface, port))
    # A transfer goes on at a port of its own; its packets are answers to ours.
    transfer = Parcel(interface, "udp", 40000, machine, 2070, address, state="established")
    rule = "nft insert rule inet filter input ct state established,related accept"
    findings += _judge("firewall, TFTP transfers", verdict(listed, transfer), "acknowledgements get", rule)
    return findings or [Finding(Level.GREEN, "firewall", "lets in what machines send")]


def _ends(port: Port, machine: IPv4Address, address: IPv4Address) -> tuple[IPv4Address, int, IPv4Address]:
    if port.number == 67:
        return _NOBODY, 68, _EVERYBODY
    return machine, 2070 if port.number != 4011 else 4011, address


def _accept(interface: str, port: Port) -> str:
    return (
        f'nft insert rule inet filter input iifname "{interface}" {port.protocol} dport {port.number} accept'
    )


def _judge(name: str, found: Verdict, what: str, rule: str) -> list[Finding]:
    if found.fate is Fate.PASSES:
        return []
    fix = f"`{rule}` (with the names of your own table and chain; `nft -a list ruleset` shows them)"
    if found.fate is Fate.DROPPED:
        return [Finding(Level.RED, name, f"{what} no packet: {found.rule}", fix)]
    return [Finding(Level.YELLOW, name, f"{what} a packet or not, as {found.rule} decides", fix)]


def judge_mtu(interface: str, mtu: int, beneath: Mapping[str, int]) -> list[Finding]:
    """Frame sizes; `beneath`: those of the ports of a bridge or bond, or of the interface under a VLAN."""
    name = f"{interface}, MTU {mtu}"
    findings = []
    if mtu < ETHERNET_MTU:
        findings.append(
            Finding(
                Level.YELLOW,
                name,
                f"is less than the {ETHERNET_MTU} firmware counts on: its large packets do not arrive",
                f"ip link set {interface} mtu {ETHERNET_MTU}",
            )
        )
    if mtu > ETHERNET_MTU:
        findings.append(
            Finding(
                Level.YELLOW,
                name,
                f"is more than the {ETHERNET_MTU} firmware takes: larger packets of this host are lost",
                f"ip link set {interface} mtu {ETHERNET_MTU}, unless every machine and switch takes {mtu}",
            )
        )
    findings += [
        Finding(
            Level.YELLOW,
            name,
            f"{port} beneath it takes {size} bytes only: larger packets are lost without a word",
            f"ip link set {port} mtu {mtu}",
        )
        for port, size in sorted(beneath.items())
        if size < mtu
    ]
    return findings or [Finding(Level.GREEN, name, "as firmware expects it")]


def judge_path(host: str, mtu: int, answers: Callable[[int], bool]) -> list[Finding]:
    """Whether packets of full size reach a host that answers small ones; `answers` takes bytes of IP."""
    if not answers(84):
        return []
    if answers(mtu) or answers(mtu):
        return [Finding(Level.GREEN, f"the way to {host}", f"packets of {mtu} bytes come through")]
    return [
        Finding(
            Level.YELLOW,
            f"the way to {host}",
            f"small packets come through and those of {mtu} bytes do not",
            "look for a tunnel, VLAN or switch on the way with a smaller MTU, or lower this interface's",
        )
    ]


def judge_capabilities(bounding: int, process: Mapping[str, int]) -> list[Finding]:
    """`bounding`: what a program can have here at all; `process`: what our boot processes have, by name."""
    findings = [
        Finding(
            Level.RED,
            name,
            "is taken away from every program here",
            f"give it to this container (--cap-add={name.removeprefix('CAP_')}; CapabilityBoundingSet=)",
        )
        for name, bit in CAPABILITIES.items()
        if not bounding >> bit & 1
    ]
    for who, has in sorted(process.items()):
        lacks = [name for name, bit in CAPABILITIES.items() if not has >> bit & 1]
        if lacks:
            findings.append(
                Finding(
                    Level.RED, who, f"runs without {', '.join(lacks)}", "start it by `distserver up` as root"
                )
            )
        else:
            more = bin(has & ~sum(1 << bit for bit in CAPABILITIES.values())).count("1")
            said = "has what it needs" + (
                f", and {more} capabilities more" if more else " and no capability more"
            )
            findings.append(Finding(Level.GREEN, who, said))
    return findings or [Finding(Level.GREEN, "capabilities", "all that are needed can be had")]
