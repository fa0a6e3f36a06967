"""The table [net] of the site: the interfaces that machines are on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.schema import Keys, Kind

NET = Keys({"interfaces": Kind.WORDS})
# IFNAMSIZ is 16 with the NUL; the kernel refuses slashes and white space (dev_valid_name).
NAME = re.compile(r"(?!\.{1,2}$)[^/\s:]{1,15}")


@dataclass(frozen=True)
class NetSettings:
    interfaces: tuple[str, ...] = ()
    """Network interfaces that are served when the command line names none."""


def read_net(table: Mapping[str, Any], file: Path, complaints: list[str]) -> NetSettings:
    """The settings, each checked beyond its kind."""
    interfaces = tuple(table.get("interfaces", ()))
    for name in interfaces:
        if not NAME.fullmatch(name):
            complaints.append(f"{file}: net.interfaces: expected names such as eth0 or eth0.5, got {name!r}")
    twice = sorted({name for name in interfaces if interfaces.count(name) > 1})
    complaints += [f"{file}: net.interfaces: {name} is there twice" for name in twice]
    return NetSettings(interfaces)
