"""What a site says of compiling: its compile hosts, and flags that mean another thing on each. Pure."""

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from appliance.compile_host import NAME
from appliance.site_model import SiteHost

NATIVE = re.compile(r"-m(?:arch|tune|cpu)=native\b")
FLAG_FILES = frozenset({"make.conf", "env", "bashrc", "profile"})
"""What of /etc/portage sets flags; a patch may well speak of them."""


def read_cluster(
    file: object, table: Mapping[str, Any], complaints: list[str]
) -> tuple[tuple[SiteHost, ...], tuple[str, ...]]:
    """The compile hosts and the further builders of `[cluster]`; every mistake is a complaint."""
    hosts = tuple(SiteHost(**entry) for entry in table.get("host", ()))
    for number, host in enumerate(hosts, 1):
        where = f"{file}: cluster.host[{number}]"
        if not NAME.fullmatch(host.name):
            complaints.append(
                f"{where}.name: expected lower-case letters, digits, - and ., got {host.name!r}"
            )
        if not is_address(host.address):
            complaints.append(f"{where}.address: expected an IPv4 address, got {host.address!r}")
        if not 0 <= host.slots <= 4096:
            complaints.append(f"{where}.slots: expected a number from 0 to 4096, got {host.slots}")
    names = [host.name for host in hosts]
    complaints += [
        f"{file}: cluster.host: {name} is there twice"
        for name in sorted({one for one in names if names.count(one) > 1})
    ]
    builders = tuple(table.get("builders", ()))
    complaints += [
        f"{file}: cluster.builders: expected IPv4 addresses, got {one!r}"
        for one in builders
        if not is_address(one)
    ]
    return hosts, builders


def is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def native_flags(file: object, text: str) -> list[str]:
    """A complaint for each line that leaves the processor to whoever compiles."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := NATIVE.search(line.partition("#")[0]):
            found.append(
                f"{file}:{number}: {match[0]} is the processor of whoever compiles, not of the machines; "
                f"expected resolved flags (`distserver cluster native`, run on such a machine, prints them)"
            )
    return found
