"""The table [tftp] of the site: the ports of transfers, how many there may be, and odd clients."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from appliance.schema import Keys, Kind

TFTP = Keys(
    {
        "ports": Kind.TEXT,
        "single_port": Kind.BOOLEAN,
        "per_client": Kind.INTEGER,
        "transfers": Kind.INTEGER,
        "rollover_1": Kind.WORDS,
    }
)


@dataclass(frozen=True)
class TftpSettings:
    """How TFTP is served on every link."""

    first_port: int = 0
    last_port: int = 0
    """The ports of transfers; 0: whichever the kernel gives."""
    single_port: bool = False
    """Transfers use port 69, too."""
    per_client: int = 4
    """Transfers of one address at a time."""
    transfers: int = 4096
    """Transfers at a time, of all clients of a link."""
    rollover_1: tuple[IPv4Network, ...] = ()
    """Clients for which block 65535 is followed by block 1."""


def read_tftp(table: Mapping[str, Any], file: Path, complaints: list[str]) -> TftpSettings:
    """The settings, each checked beyond its kind."""
    usual = TftpSettings()
    counts = {name: table.get(name, getattr(usual, name)) for name in ("per_client", "transfers")}
    complaints += [
        f"{file}: tftp.{name}: expected at least 1, got {count}"
        for name, count in counts.items()
        if count < 1
    ]
    first, last = _read_ports(table.get("ports", ""), file, complaints)
    if last and table.get("single_port"):
        complaints.append(
            f"{file}: tftp.ports: expected none beside tftp.single_port, got {table['ports']!r}"
        )
    networks = []
    for text in table.get("rollover_1", ()):
        try:
            networks.append(IPv4Network(text))
        except ValueError:
            complaints.append(
                f'{file}: tftp.rollover_1: expected addresses or networks such as "10.0.0.0/24", got {text!r}'
            )
    return TftpSettings(
        first_port=first,
        last_port=last,
        single_port=table.get("single_port", False),
        rollover_1=tuple(networks),
        **counts,
    )


def _read_ports(text: str, file: Path, complaints: list[str]) -> tuple[int, int]:
    if not text:
        return 0, 0
    ends = text.split("-")
    if len(ends) == 2 and all(end.isascii() and end.isdigit() for end in ends):
        first, last = int(ends[0]), int(ends[1])
        if 1024 <= first <= last <= 65535:
            return first, last
    complaints.append(
        f'{file}: tftp.ports: expected a range from 1024 up such as "20000-20999", got {text!r}'
    )
    return 0, 0
