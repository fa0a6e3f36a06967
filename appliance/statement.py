"""The text of a channel: which release a profile's machines get. Pure; what is signed is exactly this."""

import re
from dataclasses import dataclass

from appliance.errors import Problem

FIRST_LINE = "distserver-channel 1"
KEYS = ("profile", "channel", "release", "serial", "at")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
RELEASE_ID = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


@dataclass(frozen=True)
class Statement:
    """`profile`'s machines on `channel` get `release`."""

    profile: str
    channel: str
    release: str
    serial: int
    """Grows with every move, also back: who has seen a statement refuses one with a smaller serial."""
    at: str
    """ISO 8601, UTC; for people, a clock may go backwards."""


def write(statement: Statement) -> str:
    lines = [f"{key} {getattr(statement, key)}" for key in KEYS]
    return "\n".join([FIRST_LINE, *lines, ""])


def parse(text: str) -> Statement:
    """Read what write() wrote; raises Problem naming what is wrong."""
    first, *lines = text.splitlines() or [""]
    if first != FIRST_LINE:
        raise Problem(f"the channel starts with {first[:80]!r}, expected {FIRST_LINE!r}")
    keys = tuple(line.partition(" ")[0] for line in lines)
    if keys != KEYS:
        raise Problem(f"the channel has the lines {', '.join(keys)[:80]}, expected {', '.join(KEYS)}")
    values = dict(zip(KEYS, (line.partition(" ")[2] for line in lines), strict=True))
    forms = {"profile": NAME, "channel": NAME, "release": RELEASE_ID, "serial": re.compile("[0-9]{1,15}")}
    for key, form in {**forms, "at": AT}.items():
        if not form.fullmatch(values[key]):
            raise Problem(f"the channel's {key} is {values[key][:80]!r}")
    return Statement(
        values["profile"], values["channel"], values["release"], int(values["serial"]), values["at"]
    )
