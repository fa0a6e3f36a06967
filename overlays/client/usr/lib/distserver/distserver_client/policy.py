"""What the profile allows the agent: when, how fast, and what it does by itself; pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1000, "MB": 10**6, "GB": 10**9}
AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)")
WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
REBOOTS = ("never", "window", "now")


@dataclass(frozen=True)
class Policy:
    """`[client]` of a profile."""

    window: tuple[int, int] | None = None
    """First and last minute of the day, local time; the second may be the smaller: over midnight."""
    spread_seconds: float = 3600.0
    """Over so long the starts of a fleet's machines are spread."""
    bandwidth: float = 0.0
    """Bytes a second; 0 is as fast as it goes."""
    reboot: str = "never"
    depclean: bool = True
    health: str = ""
    """A command that has to succeed after an update; empty: none."""
    raw: Mapping[str, object] = field(default_factory=dict)
    """As it came, for who knows more of it."""


def parse(said: Mapping[str, object]) -> Policy:
    """From an order or client.toml; raises ValueError naming what is wrong."""
    reboot, health, depclean = said.get("reboot", "never"), said.get("health", ""), said.get("depclean", True)
    if reboot not in REBOOTS:
        raise ValueError(f"reboot is {reboot!r}, expected one of {', '.join(REBOOTS)}")
    if not isinstance(health, str) or not isinstance(depclean, bool):
        raise ValueError("health is a command and depclean true or false")
    return Policy(
        window=window(said.get("window") or ""),
        spread_seconds=amount(said.get("spread", 3600), SECONDS, "spread"),
        bandwidth=amount(said.get("bandwidth", 0), BYTES, "bandwidth"),
        reboot=str(reboot),
        depclean=depclean,
        health=health,
        raw=dict(said),
    )


def window(said: object) -> tuple[int, int] | None:
    """`02:00-05:00` -> minutes of the day; None for an empty one."""
    if not said:
        return None
    found = WINDOW.fullmatch(str(said))
    if not found:
        raise ValueError(f"window is {said!r}, expected HH:MM-HH:MM")
    first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    return first, last


def amount(said: object, units: Mapping[str, int], name: str) -> float:
    """A number, or a number and its unit: `4 MiB/s`, `1 h`."""
    if isinstance(said, int | float) and not isinstance(said, bool) and said >= 0:
        return float(said)
    found = AMOUNT.fullmatch(str(said).removesuffix("/s"))
    if not found or found[2] not in units:
        raise ValueError(f"{name} is {said!r}, expected a number and one of {', '.join(units)}")
    return float(found[1]) * units[found[2]]


def toml(said: Mapping[str, object]) -> str:
    """The policy as client.toml keeps it; values other than text, numbers and yes or no are left out."""
    lines = ["# Written by the agent from what the server says; what is changed here is overwritten."]
    lines += [f"{key} = {_value(value)}" for key, value in sorted(said.items()) if _value(value)]
    for key, rows in sorted(said.items()):
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, Mapping):
                values = [f"{name} = {_value(value)}" for name, value in sorted(row.items()) if _value(value)]
                lines += ["", f"[[{key}]]", *values]
    return "\n".join([*lines, ""])


def _value(value: object) -> str:
    """A scalar as TOML writes it; empty for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in quoted) + '"'
    return ""
