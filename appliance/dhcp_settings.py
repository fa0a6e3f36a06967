"""The table [dhcp] of the site: the subnets on which this server gives out addresses itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from appliance.schema import Keys, Kind, parse_span

_EVERY_SUBNET = {"lease": Kind.SPAN, "dns": Kind.WORDS, "domain": Kind.TEXT, "ntp": Kind.WORDS}
DHCP = Keys(
    {
        **_EVERY_SUBNET,
        "known_only": Kind.BOOLEAN,
        "per_port": Kind.INTEGER,
        "subnet": Keys(
            {**_EVERY_SUBNET, "network": Kind.TEXT, "ranges": Kind.WORDS, "router": Kind.TEXT},
            many=True,
            required=frozenset({"network", "ranges"}),
        ),
        "fixed": Keys(
            {"machine": Kind.TEXT, "address": Kind.TEXT},
            many=True,
            required=frozenset({"machine", "address"}),
        ),
    },
    required=frozenset({"subnet"}),
)
LEASE_SECONDS = 12 * 3600
LEAST_LEASE_SECONDS, LONGEST_LEASE_SECONDS = 60, 365 * 86400
PER_PORT = 8
MOST_ADDRESSES = 16384
"""Of all ranges together: each may become a row of the store and an entry in memory."""
SELF = "self"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")


@dataclass(frozen=True)
class Subnet:
    """One subnet: which of its addresses are given out, and what a machine on it is told."""

    network: IPv4Network
    ranges: tuple[tuple[IPv4Address, IPv4Address], ...]
    """First and last address of each, both included."""
    lease_seconds: int = LEASE_SECONDS
    router: IPv4Address | None = None
    dns: tuple[IPv4Address | None, ...] = ()
    """None stands for this server's own address on the link."""
    domain: str = ""
    ntp: tuple[IPv4Address, ...] = ()

    @property
    def size(self) -> int:
        return sum(int(last) - int(first) + 1 for first, last in self.ranges)

    def covers(self, address: IPv4Address) -> bool:
        """Is it an address of one of the ranges?"""
        return any(first <= address <= last for first, last in self.ranges)


@dataclass(frozen=True)
class DhcpSettings:
    """Full DHCP, as the site wants it; without a subnet this server is a proxy only."""

    subnets: tuple[Subnet, ...] = ()
    fixed: Mapping[str, IPv4Address] = field(default_factory=dict)
    """By MAC or by the name of a machine."""
    known_only: bool = True
    """Only machines of the store, or with a fixed address, get one."""
    per_port: int = PER_PORT
    """Addresses that machines nobody knows may hold behind one port of a relay (option 82)."""


def read_dhcp(table: Mapping[str, Any], file: Path, complaints: list[str]) -> DhcpSettings:
    """The settings, each checked beyond its kind."""
    if not table:
        return DhcpSettings()
    reader = _Reader(f"{file}: dhcp", complaints)
    subnets = tuple(
        one
        for number, entry in enumerate(table["subnet"], 1)
        if (one := reader.subnet(f"subnet[{number}]", {**_shared(table), **entry}))
    )
    reader.check_apart(subnets)
    total = sum(one.size for one in subnets)
    if total > MOST_ADDRESSES:
        reader.complain("subnet", f"all ranges have {total} addresses, expected at most {MOST_ADDRESSES}")
    per_port = table.get("per_port", PER_PORT)
    if per_port < 1:
        reader.complain("per_port", f"expected at least 1, got {per_port}")
    return DhcpSettings(
        subnets=subnets,
        fixed=reader.fixed(table.get("fixed", ()), subnets),
        known_only=table.get("known_only", True),
        per_port=per_port,
    )


def _shared(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: table[key] for key in _EVERY_SUBNET if key in table}


class _Reader:
    """Reads addresses, and notes what is wrong with them."""

    def __init__(self, where: str, complaints: list[str]) -> None:
        self._where = where
        self._complaints = complaints

    def complain(self, key: str, text: str) -> None:
        self._complaints.append(f"{self._where}.{key}: {text}")

    def address(self, key: str, text: str) -> IPv4Address | None:
        try:
            return IPv4Address(text)
        except ValueError:
            self.complain(key, f"expected an IPv4 address, got {text!r}")
            return None

    def subnet(self, key: str, entry: Mapping[str, Any]) -> Subnet | None:
        try:
            network = IPv4Network(entry["network"])
        except ValueError as bad:
            self.complain(f"{key}.network", f"expected a network such as 10.0.0.0/24: {bad}")
            return None
        ranges = self._ranges(f"{key}.ranges", entry["ranges"], network)
        router = self.address(f"{key}.router", entry["router"]) if "router" in entry else None
        if router and router not in network:
            self.complain(f"{key}.router", f"{router} is not in {network}")
        seconds = parse_span(entry["lease"]) if "lease" in entry else LEASE_SECONDS
        if seconds is None or not LEAST_LEASE_SECONDS <= seconds <= LONGEST_LEASE_SECONDS:
            self.complain(f"{key}.lease", f"expected between a minute and a year, got {entry['lease']!r}")
        domain = entry.get("domain", "")
        if domain and not (len(domain) <= 253 and _DOMAIN.fullmatch(domain)):
            self.complain(f"{key}.domain", f"expected a domain such as lan.example, got {domain!r}")
        return Subnet(
            network=network,
            ranges=ranges,
            lease_seconds=int(seconds or LEASE_SECONDS),
            router=router,
            dns=self._servers(f"{key}.dns", entry.get("dns", ())),
            domain=domain,
            ntp=tuple(one for one in self._servers(f"{key}.ntp", entry.get("ntp", ())) if one),
        )

    def _servers(self, key: str, words: Sequence[str]) -> tuple[IPv4Address | None, ...]:
        if len(words) > 4:
            self.complain(key, f"expected at most 4, got {len(words)}")
        own = key.endswith(".dns")
        return tuple(None if own and word == SELF else self.address(key, word) for word in words)

    def _ranges(
        self, key: str, words: Sequence[str], network: IPv4Network
    ) -> tuple[tuple[IPv4Address, IPv4Address], ...]:
        found: list[tuple[IPv4Address, IPv4Address]] = []
        for word in words:
            left, dash, right = (part.strip() for part in word.partition("-"))
            first = self.address(key, left)
            last = self.address(key, right) if dash else first
            if first is None or last is None:
                continue
            usable = network.network_address < first <= last < network.broadcast_address
            if not usable:
                self.complain(key, f"expected FIRST-LAST of machines in {network}, got {word!r}")
            elif any(first <= other_last and other <= last for other, other_last in found):
                self.complain(key, f"{word} overlaps another range")
            else:
                found.append((first, last))
        return tuple(sorted(found))

    def check_apart(self, subnets: Sequence[Subnet]) -> None:
        for number, one in enumerate(subnets):
            for other in subnets[:number]:
                if one.network.overlaps(other.network):
                    self.complain("subnet", f"{one.network} and {other.network} overlap")

    def fixed(
        self, entries: Sequence[Mapping[str, str]], subnets: Sequence[Subnet]
    ) -> dict[str, IPv4Address]:
        found: dict[str, IPv4Address] = {}
        for number, entry in enumerate(entries, 1):
            key, machine = f"fixed[{number}]", entry["machine"].lower()
            address = self.address(f"{key}.address", entry["address"])
            if address is None:
                continue
            if ":" in machine and not _MAC.fullmatch(machine):
                self.complain(f"{key}.machine", f"expected a MAC or a machine's name, got {machine!r}")
            if not any(address in one.network for one in subnets):
                self.complain(f"{key}.address", f"{address} is in no subnet of [dhcp]")
            if machine in found:
                self.complain(f"{key}.machine", f"{machine} is there twice")
            if address in found.values():
                self.complain(f"{key}.address", f"{address} is there twice")
            found[machine] = address
        return found
