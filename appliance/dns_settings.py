"""The table [dns] of the site, and the names a DNS server answers with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import idna

from appliance.schema import Keys, Kind

DNS = Keys({"zone": Kind.TEXT, "forward": Kind.WORDS, "allow": Kind.WORDS}, required=frozenset({"zone"}))
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
LONGEST_ZONE = 180
"""Bytes; a machine's name has up to 63 more, and a whole name at most 253."""


@dataclass(frozen=True)
class DnsSettings:
    """Without a zone there is no DNS server."""

    zone: str = ""
    """Lower case, IDNA-encoded, without the last dot."""
    forward: tuple[str, ...] = ()
    """IPv4 addresses of servers that are asked for names of others."""
    allow: tuple[str, ...] = ()
    """The names that may be asked of them, each with all below it; "." is every name."""


@dataclass(frozen=True)
class NameBook:
    """The names of the site's machines at one time; another one is another object."""

    settings: DnsSettings
    hosts: Mapping[str, tuple[IPv4Address, ...]] = field(default_factory=dict)
    """A machine's name (one label) -> its addresses."""
    serial: int = 1
    networks: tuple[IPv4Network, ...] = ()
    """Of machines behind relays, besides those of this server's own links."""


def read_dns(table: Mapping[str, Any], file: Path, complaints: list[str]) -> DnsSettings:
    """The settings, each checked beyond its kind."""
    if not table:
        return DnsSettings()
    zone = domain(table["zone"])
    if not zone or len(zone) > LONGEST_ZONE:
        complaints.append(f"{file}: dns.zone: expected a domain such as lab.example, got {table['zone']!r}")
    forward = tuple(table.get("forward", ()))
    complaints += [
        f"{file}: dns.forward: expected IPv4 addresses of DNS servers, got {one!r}"
        for one in forward
        if not _is_server(one)
    ]
    allow = []
    for one in table.get("allow", ()):
        name = "." if one == "." else domain(one)
        if name is None:
            complaints.append(f'{file}: dns.allow: expected domains such as gentoo.org, or ".", got {one!r}')
        else:
            allow.append(name)
    if bool(forward) != bool(allow):
        complaints.append(f"{file}: dns: expected `forward` (whom to ask) and `allow` (what for) together")
    return DnsSettings(zone or "", forward, tuple(allow))


def domain(text: str) -> str | None:
    """A domain as DNS writes it: lower case, IDNA-encoded, no last dot; None when it is none."""
    try:
        encoded = idna.encode(text.rstrip("."), uts46=True).decode("ascii") if not text.isascii() else text
    except idna.IDNAError:
        return None
    name = encoded.lower().removesuffix(".")
    if not name or len(name) > 253 or not all(LABEL.fullmatch(label) for label in name.split(".")):
        return None
    return name


def _is_server(text: str) -> bool:
    try:
        address = IPv4Address(text)
    except AddressValueError:
        return False
    return not (address.is_unspecified or address.is_multicast)
