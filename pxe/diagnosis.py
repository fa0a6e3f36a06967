"""Judges the OFFERs of a LAN: which keep machines from booting what this server says, and what to change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from appliance.findings import Finding, Level
from pxe.client import ARCHITECTURES
from pxe.dhcp import NOBODY, Option, Packet
from pxe.malformed import printable

_OVERLOAD = 52
MANY = 3
"""More architectures than that are not listed one by one."""


@dataclass(frozen=True)
class Seen:
    """An OFFER and how it came."""

    packet: Packet
    sender: IPv4Address
    """Source of its IP packet; a relay's address, when one forwarded it."""
    mac: str
    arch: int
    """The architecture that was asked for."""
    seconds: float
    """From the question to the answer."""

    @property
    def server(self) -> IPv4Address:
        """Who calls itself its server (option 54), else who sent it."""
        return self.packet.server or self.sender


@dataclass(frozen=True)
class Us:
    """This server, as far as the judgement needs it."""

    address: IPv4Address
    network: IPv4Network
    running: bool = False
    full: bool = False
    """It gives out the addresses of this network itself."""
    deaf: bool = False
    """It takes packets from the wire, and so does not hear what this host asks."""
    silent: str = ""
    """Why it would not answer the probe, when it would not."""


def judge(offers: Sequence[Seen], us: Us) -> list[Finding]:
    """What is to be said of everything that answered; never empty."""
    ours = [one for one in offers if _is_own(one, us)]
    others: dict[tuple[IPv4Address, str], list[Seen]] = {}
    for one in offers:
        if not _is_own(one, us):
            others.setdefault((one.server, one.mac), []).append(one)
    findings = [_own(ours, us)]
    servers = []
    for (server, mac), seen in sorted(others.items(), key=lambda item: (item[0][0], item[0][1])):
        giving = [one for one in seen if one.packet.yiaddr != NOBODY]
        if giving:
            servers.append(str(server))
            findings += _judge_server(f"DHCP server {server} ({mac})", giving, us)
        if len(giving) < len(seen):
            rest = [one for one in seen if one not in giving]
            findings.append(_judge_proxy(f"PXE proxy {server} ({mac})", rest))
    return findings + _number(servers, us)


def _is_own(one: Seen, us: Us) -> bool:
    """A proxy gives out no address: such an OFFER from here is that of a DHCP server on the same host."""
    return one.server == us.address and (us.full or one.packet.yiaddr == NOBODY)


def _own(ours: Sequence[Seen], us: Us) -> Finding:
    who = f"this server {us.address}"
    if ours:
        return Finding(Level.GREEN, who, f"answers {_archs(ours)}")
    if not us.running:
        return Finding(Level.GREEN, who, "is not running: only the others were judged")
    if us.deaf:
        return Finding(
            Level.GREEN,
            who,
            "takes packets from the wire beside a DHCP server of this host, where questions of this host "
            "do not come by: ask from another one",
        )
    if us.silent:
        return Finding(
            Level.YELLOW,
            who,
            f"runs, and machines nobody assigned get no answer: {us.silent}",
            "`distserver release list` shows the releases, `distserver build PROFILE` makes one",
        )
    return Finding(
        Level.RED,
        who,
        "runs, and its OFFER did not come",
        "look into its log, and at the firewall below",
    )


def _number(servers: Sequence[str], us: Us) -> list[Finding]:
    if us.full:
        return [
            Finding(
                Level.RED,
                "the LAN",
                f"{one} gives out addresses besides this server: two machines can get the same one",
                "switch it off, or take [dhcp] out of appliance.toml",
            )
            for one in servers
        ]
    if not servers:
        return [
            Finding(
                Level.YELLOW,
                "the LAN",
                "no DHCP server answers a machine it does not know: nobody gets an address",
                "on a LAN without one the table [dhcp] in appliance.toml makes this server its DHCP server",
            )
        ]
    if len(servers) > 1:
        return [
            Finding(
                Level.YELLOW,
                "the LAN",
                f"{len(servers)} DHCP servers answer ({', '.join(servers)}): machines take one or the other",
                "switch one off, unless they are a pair that shares leases and says the same of network boot",
            )
        ]
    return []


def _judge_proxy(name: str, seen: Sequence[Seen]) -> Finding:
    files = {_file(one.packet) for one in seen} - {""}
    says = f", and offers {', '.join(sorted(files))}" if files else ""
    return Finding(
        Level.RED,
        name,
        f"also tells machines what to boot ({_archs(seen)}){says}: which of two is followed is chance",
        "switch it off there (dnsmasq: the lines dhcp-range=...,proxy and pxe-service=; pixiecore, WDS, FOG, "
        "Cobbler: their service)",
    )


def _judge_server(name: str, seen: Sequence[Seen], us: Us) -> list[Finding]:
    rules = (_class, _server_identifier, _boot_file, _next_server, _name_servers, _overload, _elsewhere)
    found = [finding for rule in rules for finding in rule(name, seen, us)]
    if found:
        return found
    return [Finding(Level.GREEN, name, "gives out addresses and says nothing of network boot, as it should")]


def _class(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    """edk2 (PxeBcDhcp4.c) takes an address with class PXEClient for all it needs and asks no proxy."""
    for kind in ("PXEClient", "HTTPClient"):
        saying = [
            one for one in seen if (one.packet.option(Option.VENDOR_CLASS) or b"").startswith(kind.encode())
        ]
        if not saying:
            continue
        then = (
            "asks its port 4011 and nobody else's" if kind == "PXEClient" else "fetches from the URL it names"
        )
        yield Finding(
            Level.RED,
            name,
            f"calls itself {kind} (option 60) to {_archs(saying)}: UEFI firmware {then}, "
            "this server is not heard",
            "take option 60 out there: dnsmasq `dhcp-option=60,...` or `dhcp-option-force=60,...`; ISC dhcpd "
            '`option vendor-class-identifier "..."`; Kea option-data "vendor-class-identifier"; '
            "Windows: option 060",
        )


def _server_identifier(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    nameless = [one for one in seen if one.packet.server is None]
    if nameless:
        yield Finding(
            Level.RED,
            name,
            "sends no server identifier (option 54): UEFI firmware drops its OFFER",
            "let it send option 54, its own address",
        )


def _boot_file(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    naming = [one for one in seen if _file(one.packet) and one.packet.siaddr != us.address]
    if naming:
        files = ", ".join(sorted({_file(one.packet) for one in naming}))
        yield Finding(
            Level.YELLOW,
            name,
            f"names a boot file to {_archs(naming)} ({files}): the iPXE of network cards and shim follow it",
            "take it out there: dnsmasq `dhcp-boot=`; ISC dhcpd `filename`; Kea `boot-file-name`; "
            "Windows: option 067",
        )


def _next_server(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    own = (NOBODY, us.address)
    by_header = [one for one in seen if one.packet.siaddr not in own]
    by_option = [one for one in seen if _tftp_server(one.packet) not in ("", str(us.address))]
    hosts = {str(one.packet.siaddr) for one in by_header} | {_tftp_server(one.packet) for one in by_option}
    if hosts:
        asked = [one for one in seen if one in by_header or one in by_option]
        where = " and ".join(
            word for word, found in (("siaddr", by_header), ("option 66", by_option)) if found
        )
        yield Finding(
            Level.YELLOW,
            name,
            f"sends {_archs(asked)} to {', '.join(sorted(hosts))} for files ({where}): U-Boot and "
            "a distribution's GRUB ask it",
            f"let it name {us.address}: dnsmasq `dhcp-boot=,,{us.address}` (else it names itself), and no "
            f"`dhcp-option=66,...`; ISC dhcpd `next-server {us.address};`; Kea `next-server`; "
            "Windows: option 066",
        )


def _name_servers(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    if all(one.packet.option(Option.DNS) is None for one in seen):
        yield Finding(
            Level.YELLOW,
            name,
            "names no DNS server (option 6): names in URLs do not work (this server's URLs have addresses)",
            "dnsmasq `dhcp-option=6,ADDRESS`; ISC dhcpd `option domain-name-servers`; Kea option-data "
            f'"domain-name-servers"; {us.address} with the table [dns] in appliance.toml',
        )


def _overload(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    if any(one.packet.option(_OVERLOAD) for one in seen):
        yield Finding(
            Level.YELLOW,
            name,
            "puts options into the header's file and server name (option 52): shim and U-Boot misread those",
            "let it send fewer or shorter options",
        )


def _elsewhere(name: str, seen: Sequence[Seen], us: Us) -> Iterable[Finding]:
    foreign = sorted({str(one.packet.yiaddr) for one in seen if one.packet.yiaddr not in us.network})
    if foreign:
        yield Finding(
            Level.YELLOW,
            name,
            f"offers {', '.join(foreign)}, no address of {us.network}: a router has to lead here",
            "is this the right interface? ports 69, 4011 and that of HTTP have to be routed",
        )
    relays = sorted({str(one.packet.giaddr) for one in seen if one.packet.giaddr != NOBODY})
    if relays:
        yield Finding(
            Level.YELLOW,
            name,
            f"answers through the relay {', '.join(relays)}",
            f"if machines are behind it, give it this server, too: `ip helper-address {us.address}` or "
            f"`dhcrelay ... {us.address}`",
        )


def _vendor_class(packet: Packet) -> str:
    return printable(packet.option(Option.VENDOR_CLASS) or b"")


def _file(packet: Packet) -> str:
    return printable((packet.option(Option.BOOT_FILE) or packet.file).rstrip(b"\0"))


def _tftp_server(packet: Packet) -> str:
    return printable((packet.option(Option.TFTP_SERVER) or b"").rstrip(b"\0"))


def _archs(seen: Iterable[Seen]) -> str:
    archs = sorted({one.arch for one in seen})
    return "every machine" if len(archs) > MANY else ", ".join(ARCHITECTURES[arch].name for arch in archs)
