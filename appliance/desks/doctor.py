"""Examines a LAN and this host: what would keep machines from booting, and what to do about it."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from appliance.errors import Problem
from appliance.findings import Finding, Level
from appliance.host_checks import (
    Port,
    judge_capabilities,
    judge_firewall,
    judge_front,
    judge_mtu,
    judge_path,
    judge_ports,
    ports,
)
from appliance.listeners import Listener, parse
from appliance.model import Silence
from appliance.run import CommandFailed, run
from appliance.services import Services
from appliance.site_model import Site
from pxe.dhcp import NOBODY, SERVER_PORT, Option
from pxe.diagnosis import Seen, Us, judge
from pxe.echo import answers
from pxe.full import find_subnet
from pxe.full_server import SUBJECT
from pxe.interfaces import read_interfaces
from pxe.links import Link, find_links
from pxe.probe import collect

ALARM_SECONDS = 24 * 3600.0
SOCKETS = ("ss", "--no-header", "--numeric", "--listening", "--udp", "--tcp", "--processes")
MOST_HOSTS = 4
"""Whose way is measured."""
Progress = Callable[[str, float, int], None]
"""An interface, the seconds passed, the offers so far."""


@dataclass(frozen=True)
class Examination:
    """What was seen on one interface."""

    interface: str
    offers: tuple[Seen, ...]
    findings: tuple[Finding, ...]


class DoctorDesk:
    """`services` is None where there is no site yet: then the usual ports are looked at."""

    def __init__(self, services: Services | None) -> None:
        self._services = services
        self._site: Site | None = services.live.now() if services else None

    def interfaces(self) -> tuple[str, ...]:
        """Those of the site, else all with an address."""
        if self._site and self._site.net.interfaces:
            return self._site.net.interfaces
        there = [one.name for one in read_interfaces() if one.up and one.addresses and one.name != "lo"]
        if not there:
            raise Problem("no network interface has an IPv4 address", hint="`ip -brief address` shows them")
        return tuple(sorted(there))

    def examine(self, interface: str, *, seconds: float, progress: Progress) -> Examination:
        """Everything about one interface; takes `seconds` and a few more."""
        preferred = IPv4Address(self._site.address) if self._site and self._site.address else None
        # Of several interfaces only the one that has it is told the site's address.
        named = self._site.net.interfaces if self._site else ()
        link = find_links([*dict.fromkeys((interface, *named))], read_interfaces(), preferred)[interface]
        if isinstance(link, str):
            fix = "`ip -brief address` shows those there are"
            return Examination(interface, (), (Finding(Level.RED, interface, link, fix),))
        offers: list[Seen] = []
        findings: list[Finding] = []
        processes = boot_processes()
        listeners = parse(run(SOCKETS).stdout)
        others = [one for one in listeners if one.pid not in processes and one.takes(link.address, link.name)]
        deaf = any((one.protocol, one.port) == ("udp", SERVER_PORT) for one in others)
        try:
            offers = collect(
                interface, seconds=seconds, progress=lambda passed, count: progress(interface, passed, count)
            )
            findings += judge(offers, self._us(link, running=bool(processes), deaf=deaf))
            findings += self._path(link, offers)
        except Problem as problem:
            findings.append(Finding(Level.RED, f"asking on {interface}", problem.message, problem.hint))
        findings += self._relays(link)
        findings += self._alarms()
        findings += self._host(link, processes, listeners)
        return Examination(interface, tuple(offers), tuple(findings))

    def _us(self, link: Link, *, running: bool, deaf: bool) -> Us:
        full = bool(self._site and find_subnet(self._site.dhcp, link.address))
        silent = ""
        if self._services and not full:
            target = self._services.desk.boot_target(link.mac, None)
            silent = target.reason if isinstance(target, Silence) else ""
        return Us(link.address, link.network, running=running, full=full, deaf=deaf, silent=silent)

    def _path(self, link: Link, offers: Sequence[Seen]) -> list[Finding]:
        """The way to every server and router that was named."""
        hosts = {one.server for one in offers if one.packet.yiaddr != NOBODY}
        hosts |= {
            IPv4Address(value[:4])
            for one in offers
            if len(value := one.packet.option(Option.ROUTER) or b"") >= 4
        }
        near = sorted(host for host in hosts - {link.address} if host in link.network)
        findings = []
        for host in near[:MOST_HOSTS]:
            echoes = partial(answers, host, interface=link.name)
            findings += judge_path(str(host), link.mtu, echoes)
        return findings

    def _relays(self, link: Link) -> list[Finding]:
        """Subnets of [dhcp] that only a relay leads to."""
        if self._site is None or self._services is None:
            return []
        here = {address.network for one in read_interfaces() for address in one.addresses}
        findings = []
        for subnet in self._site.dhcp.subnets:
            if any(network.overlaps(subnet.network) for network in here):
                continue
            leased = any(lease.address in subnet.network for lease in self._services.store.leases.all())
            name = f"subnet {subnet.network}"
            if leased:
                findings.append(Finding(Level.GREEN, name, "its relay brings machines here"))
                continue
            said = "is on no interface of this host, and no machine of it ever got an address"
            fix = f"let its router forward DHCP (`ip helper-address {link.address}`) and route 69, 4011, HTTP"
            findings.append(Finding(Level.YELLOW, name, said, fix))
        return findings

    def _alarms(self) -> list[Finding]:
        if self._services is None:
            return []
        since = time.time() - ALARM_SECONDS
        said = {
            event.message
            for _, event in self._services.store.events.after(SUBJECT)
            if event.at >= since and event.stage == "foreign"
        }
        return [Finding(Level.YELLOW, "within a day", one, "see whether it is gone") for one in sorted(said)]

    def _host(self, link: Link, processes: dict[int, int], listeners: Sequence[Listener]) -> list[Finding]:
        site = self._site
        wanted = _ports(site, site.http_port if site else 80)
        place = (link.name, link.address)
        findings = judge_ports(wanted, listeners, place, processes)
        if site and site.http_front:
            findings += judge_front(site.http_front, listeners, place)
        findings += self._firewall(link)
        findings += judge_mtu(link.name, link.mtu, beneath(link.name))
        names = {f"boot process {pid}": has for pid, has in processes.items()}
        return findings + judge_capabilities(capabilities("self", "CapBnd"), names)

    def _firewall(self, link: Link) -> list[Finding]:
        site = self._site
        wanted = _ports(site, (site.http_front or site.http_port) if site else 80)
        legacy = Path("/proc/net/ip_tables_names")
        findings = []
        if legacy.exists() and legacy.read_text().strip():
            said = "has rules of iptables-legacy, which are not judged here"
            findings.append(Finding(Level.YELLOW, "firewall", said, "look at `iptables-legacy-save`"))
        if not shutil.which("nft"):
            said = "is not looked at: there is no program nft"
            return [*findings, Finding(Level.GREEN, "firewall", said, "apt-get install nftables")]
        try:
            listed = json.loads(run(["nft", "-j", "list", "ruleset"]).stdout)
        except (CommandFailed, ValueError) as failed:
            said = f"cannot be read: {str(failed).splitlines()[0]}"
            return [*findings, Finding(Level.YELLOW, "firewall", said, "run it as root")]
        return findings + judge_firewall(listed, wanted, link.name, link.network, link.address)


def _ports(site: Site | None, http: int) -> tuple[Port, ...]:
    """Those that machines ask."""
    return ports(http, dns=bool(site and site.dns.zone), clients=site.clients.port if site else 0)


def boot_processes() -> dict[int, int]:
    """The boot processes of this network namespace, and the capabilities each has."""
    found = {}
    own = Path("/proc/self/ns/net").stat().st_ino
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            boots = b"appliance.cli" in words and words[words.index(b"process") + 1] == b"boot"
            if boots and (place / "ns/net").stat().st_ino == own:
                found[int(place.name)] = capabilities(place.name, "CapEff")
        except (OSError, ValueError, IndexError):
            # It ended meanwhile, or it is another's.
            continue
    return found


def capabilities(process: str, which: str) -> int:
    """One of the sets in /proc/PID/status, as bits."""
    for line in Path("/proc", process, "status").read_text().splitlines():
        if line.startswith(f"{which}:"):
            return int(line.split()[1], 16)
    return 0


def beneath(interface: str) -> dict[str, int]:
    """The interfaces that frames go through below this one, each with its MTU."""
    place = Path("/sys/class/net", interface)
    ports_of = [one.name for one in (place / "brif").glob("*")]
    lower = [one.name.removeprefix("lower_") for one in place.glob("lower_*")]
    sizes = {}
    for name in {*ports_of, *lower}:
        file = Path("/sys/class/net", name, "mtu")
        if file.exists():
            sizes[name] = int(file.read_text())
    return sizes
