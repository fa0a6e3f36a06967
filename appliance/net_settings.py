"""The table [net] of the site: the interfaces machines are on, and how they are told what to boot."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from appliance.schema import ANY, Keys, Kind
from appliance.strategies import Strategy

NET = Keys(
    {
        "interfaces": Kind.WORDS,
        "beside_dhcp": Kind.BOOLEAN,
        "rarp": Keys({ANY: Kind.TEXT}),
        "strategy": Keys({ANY: Kind.TEXT}),
        "vendor_classes": Kind.WORDS,
        "raspberry_pi": Kind.TEXT,
        "admission": Kind.INTEGER,
    }
)
# IFNAMSIZ is 16 with the NUL; the kernel refuses slashes and white space (dev_valid_name).
NAME = re.compile(r"(?!\.{1,2}$)[^/\s:]{1,15}")
VENDOR_CLASSES = ("HW-Client",)
"""Beside PXEClient and HTTPClient; Huawei's firmware uses this one (dnsmasq --dhcp-pxe-vendor)."""
_ADDRESS = re.compile(r"(?:[0-9a-f]{2}:){2}[0-9a-f]{2}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


@dataclass(frozen=True)
class NetSettings:
    interfaces: tuple[str, ...] = ()
    """Network interfaces that are served when the command line names none."""
    strategies: Mapping[str, Strategy] = field(default_factory=dict)
    """By MAC or by its first three bytes, lower case with colons."""
    vendor_classes: tuple[str, ...] = VENDOR_CLASSES
    """Prefixes of option 60 that are answered like PXEClient, with the prefix echoed."""
    raspberry_pi: Path | None = None
    """The directory of a Raspberry Pi's boot files."""
    admission: int = 0
    """How many machines fetch kernel and installer at a time; 0: what the network can serve."""
    beside_dhcp: bool = False
    """Port 67 is left to a DHCP server on this host, whichever of the two starts first."""
    rarp: Mapping[str, IPv4Address] = field(default_factory=dict)
    """By MAC, lower case with colons: what a machine is told that asks by RARP."""

    def strategy_of(self, mac: str) -> Strategy | None:
        """What the site says of a machine; its MAC counts more than its manufacturer's bytes."""
        return self.strategies.get(mac) or self.strategies.get(mac[:8])


def read_net(table: Mapping[str, Any], file: Path, complaints: list[str]) -> NetSettings:
    """The settings, each checked beyond its kind; paths are relative to the site."""
    interfaces = tuple(table.get("interfaces", ()))
    for name in interfaces:
        if not NAME.fullmatch(name):
            complaints.append(f"{file}: net.interfaces: expected names such as eth0 or eth0.5, got {name!r}")
    twice = sorted({name for name in interfaces if interfaces.count(name) > 1})
    complaints += [f"{file}: net.interfaces: {name} is there twice" for name in twice]
    strategies = _read_strategies(table.get("strategy", {}), file, complaints)
    classes = tuple(table.get("vendor_classes", ()))
    complaints += [
        f"{file}: net.vendor_classes: expected 3 to 64 characters of printable ASCII, got {name!r}"
        for name in classes
        if not (3 <= len(name) <= 64 and name.isascii() and name.isprintable())
    ]
    if table.get("admission", 0) < 0:
        complaints.append(f"{file}: net.admission: expected 0 or more machines, got {table['admission']}")
    pi = (file.parent / table["raspberry_pi"]).resolve() if "raspberry_pi" in table else None
    if pi and not pi.is_dir():
        complaints.append(f"{file}: net.raspberry_pi: {pi} is no directory")
    return NetSettings(
        interfaces=interfaces,
        strategies=strategies,
        vendor_classes=tuple(dict.fromkeys((*VENDOR_CLASSES, *classes))),
        raspberry_pi=pi,
        admission=table.get("admission", 0),
        beside_dhcp=table.get("beside_dhcp", False),
        rarp=_read_rarp(table.get("rarp", {}), file, complaints),
    )


def _read_rarp(table: Mapping[str, str], file: Path, complaints: list[str]) -> Mapping[str, IPv4Address]:
    found: dict[str, IPv4Address] = {}
    for mac, said in table.items():
        known = mac.lower().replace("-", ":")
        if not _ADDRESS.fullmatch(known) or len(known) != 17:
            complaints.append(f"{file}: net.rarp: expected a MAC with colons, got {mac!r}")
            continue
        try:
            address = IPv4Address(said)
        except ValueError:
            complaints.append(f"{file}: net.rarp: {mac}: expected an IPv4 address, got {said!r}")
            continue
        if address in found.values():
            complaints.append(f"{file}: net.rarp: {mac}: {address} is there twice")
        found[known] = address
    return found


def _read_strategies(table: Mapping[str, str], file: Path, complaints: list[str]) -> Mapping[str, Strategy]:
    strategies = {}
    for address, name in table.items():
        known = address.lower().replace("-", ":")
        if not _ADDRESS.fullmatch(known):
            complaints.append(
                f"{file}: net.strategy: expected a MAC or its first three bytes with colons, got {address!r}"
            )
            continue
        try:
            strategies[known] = Strategy(name)
        except ValueError:
            names = [one.value for one in Strategy]
            near = difflib.get_close_matches(name, names, n=1)
            mean = f"did you mean {near[0]}?" if near else f"expected {', '.join(names)}"
            complaints.append(f"{file}: net.strategy: {address}: {name!r} is none, {mean}")
    return strategies
