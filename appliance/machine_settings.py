"""The tables [[machine]] of the site: what is said of one machine, and how it is switched on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from appliance.dialogues import DIALOGUES
from appliance.schema import Keys, Kind

BMC = Keys(
    {
        "kind": Kind.TEXT,
        "address": Kind.TEXT,
        "port": Kind.INTEGER,
        "user": Kind.TEXT,
        "password_file": Kind.TEXT,
        "ca": Kind.TEXT,
        "system": Kind.TEXT,
        "cipher_suite": Kind.INTEGER,
    },
    required=frozenset({"kind", "address", "user", "password_file"}),
)
CONSOLE = Keys(
    {
        "path": Kind.TEXT,
        "command": Kind.WORDS,
        "break_keys": Kind.TEXT,
        "firmware": Kind.TEXT,
    }
)
MACHINE = Keys(
    {"mac": Kind.TEXT, "wake_password_file": Kind.TEXT, "bmc": BMC, "console": CONSOLE},
    many=True,
    required=frozenset({"mac"}),
)
MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


class BmcKind(Enum):
    IPMI = "ipmi"
    REDFISH = "redfish"


PORTS = {BmcKind.IPMI: 623, BmcKind.REDFISH: 443}


@dataclass(frozen=True)
class Bmc:
    """A management controller, which switches its machine on and off."""

    kind: BmcKind
    address: str
    """IPv4 address or host name."""
    port: int
    user: str
    password_file: Path
    ca: Path | None = None
    """Redfish: whom to believe that it is this controller; None: the authorities of this host."""
    system: str = ""
    """Redfish: which one, when it manages several."""
    cipher_suite: int | None = None
    """IPMI: None leaves it to ipmitool."""


class ConsoleKind(Enum):
    LOCAL = "local"
    COMMAND = "command"
    IPMI = "ipmi"


@dataclass(frozen=True)
class ConsoleSettings:
    """A serial line."""

    kind: ConsoleKind
    path: Path = Path()
    """LOCAL: a Unix socket (QEMU's) or a terminal device."""
    command: tuple[str, ...] = ()
    """COMMAND: a program whose terminal is the machine's console, such as ssh to a console server."""
    break_keys: str = ""
    """COMMAND: what makes it send a break."""
    firmware: str = ""
    """The name of the dialogue that lets it boot from the network."""


@dataclass(frozen=True)
class MachineSettings:
    mac: str
    bmc: Bmc | None = None
    console: ConsoleSettings | None = None
    """None: serial over LAN, when there is a controller of kind IPMI."""
    wake_password_file: Path | None = None
    """SecureOn: a password that network cards may want in a magic packet."""


def read_machines(
    tables: tuple[Mapping[str, Any], ...], file: Path, complaints: list[str]
) -> dict[str, MachineSettings]:
    """The machines by MAC; every mistake is a complaint. Paths are relative to the site."""
    found: dict[str, MachineSettings] = {}
    for number, table in enumerate(tables, 1):
        where, mac = f"{file}: machine[{number}]", table["mac"].lower()
        if not MAC.fullmatch(mac):
            complaints.append(f"{where}.mac: expected one such as 52:54:00:12:34:56, got {table['mac']!r}")
        if mac in found:
            complaints.append(f"{where}.mac: {mac} is there twice")
        found[mac] = MachineSettings(
            mac,
            bmc=_bmc(table["bmc"], f"{where}.bmc", file.parent, complaints) if "bmc" in table else None,
            console=_console(table, where, file.parent, complaints) if "console" in table else None,
            wake_password_file=_path(table, "wake_password_file", file.parent),
        )
    return found


def _bmc(table: Mapping[str, Any], where: str, site: Path, complaints: list[str]) -> Bmc | None:
    kinds = {kind.value: kind for kind in BmcKind}
    kind = kinds.get(table["kind"])
    if kind is None:
        complaints.append(f"{where}.kind: expected {' or '.join(kinds)}, got {table['kind']!r}")
        return None
    port = table.get("port", PORTS[kind])
    if not 0 < port < 65536:
        complaints.append(f"{where}.port: expected a port, got {port}")
    if not HOST.fullmatch(table["address"]):
        complaints.append(f"{where}.address: expected an IPv4 address or host name, got {table['address']!r}")
    if not table["user"] or table["user"].startswith("-") or not table["user"].isprintable():
        complaints.append(f"{where}.user: expected a user's name, got {table['user']!r}")
    others = {BmcKind.IPMI: ("ca", "system"), BmcKind.REDFISH: ("cipher_suite",)}[kind]
    complaints += [f"{where}.{key}: {kind.value} knows no such key" for key in others if key in table]
    return Bmc(
        kind,
        table["address"],
        port,
        table["user"],
        (site / table["password_file"]).resolve(),
        ca=_path(table, "ca", site),
        system=table.get("system", ""),
        cipher_suite=table.get("cipher_suite"),
    )


def _console(
    table: Mapping[str, Any], where: str, site: Path, complaints: list[str]
) -> ConsoleSettings | None:
    console = table["console"]
    firmware, command = console.get("firmware", ""), tuple(console.get("command", ()))
    if firmware and firmware not in DIALOGUES:
        near = ", ".join(DIALOGUES)
        complaints.append(f"{where}.console.firmware: expected one of {near}, got {firmware!r}")
    if "path" in console and command:
        complaints.append(f"{where}.console: expected `path` or `command`, got both")
    if "path" in console:
        return ConsoleSettings(ConsoleKind.LOCAL, path=site / console["path"], firmware=firmware)
    if command:
        keys = console.get("break_keys", "")
        return ConsoleSettings(ConsoleKind.COMMAND, command=command, break_keys=keys, firmware=firmware)
    if table.get("bmc", {}).get("kind") != BmcKind.IPMI.value:
        complaints.append(f"{where}.console: expected `path` or `command`, or a bmc of kind ipmi")
    return ConsoleSettings(ConsoleKind.IPMI, firmware=firmware)


def _path(table: Mapping[str, Any], key: str, site: Path) -> Path | None:
    return (site / table[key]).resolve() if key in table else None
