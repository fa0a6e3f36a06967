"""Compile hosts: what one may be, what it reports, and how long a bad one is kept out. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from appliance.errors import Problem

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
HASH = re.compile(r"[0-9a-f]{64}")
ARCH = re.compile(r"[A-Za-z0-9_]{1,30}")
SILENT_SECONDS = 60.0
"""A host that says nothing for so long is gone."""
FIRST_QUARANTINE_SECONDS = 600.0
LONGEST_QUARANTINE_SECONDS = 7 * 86400.0
KEYS = ("host", "token", "arch", "cpus", "memory", "load", "serial", "problem")


class HostState(Enum):
    UNKNOWN = "unknown"
    """It said hello, and nobody said that it may be used."""
    GONE = "gone"
    """It may be used, and nothing was heard of it for a minute, or ever."""
    READY = "ready"
    """It answers; each toolchain on it is probed before it is used."""
    QUARANTINED = "quarantined"
    """It failed or made other objects than the profile's own compiler; not used for a time."""


TRANSITIONS: Mapping[HostState, frozenset[HostState]] = {
    HostState.UNKNOWN: frozenset({HostState.UNKNOWN, HostState.GONE, HostState.READY}),
    HostState.GONE: frozenset({HostState.GONE, HostState.READY, HostState.QUARANTINED}),
    HostState.READY: frozenset({HostState.READY, HostState.GONE, HostState.QUARANTINED}),
    HostState.QUARANTINED: frozenset({HostState.QUARANTINED, HostState.READY, HostState.GONE}),
}


@dataclass(frozen=True)
class HostReport:
    """What a host says of itself; it is not trusted."""

    name: str
    arch: str
    cpus: int
    memory_bytes: int = 0
    load: float = 0.0
    serial: int = 0
    """Of the orders it follows."""
    runs: Mapping[str, int] = field(default_factory=dict)
    """Toolchain -> the port where its distccd answers."""
    problem: str = ""
    token: str = ""


@dataclass(frozen=True)
class CompileHost:
    name: str
    address: str
    state: HostState
    origin: str = "hand"
    """site, hand, machine (booted from the network) or hello (it only said so itself)."""
    arch: str = ""
    """Empty: what it reports."""
    slots: int = 0
    """Jobs at a time; 0: one for each of its processors."""
    reason: str = ""
    """Why it is quarantined."""
    seen_at: float = 0.0
    until: float = 0.0
    """When the quarantine ends."""
    strikes: int = 0
    report: HostReport | None = None

    @property
    def jobs(self) -> int:
        return self.slots or (self.report.cpus if self.report else 1)

    @property
    def machine(self) -> str:
        """What `uname -m` says there."""
        return self.arch or (self.report.arch if self.report else "")

    def moved(self, state: HostState) -> "CompileHost":
        """Raises Problem when a host may not become that."""
        if state not in TRANSITIONS[self.state]:
            raise Problem(f"compile host {self.name} is {self.state.value} and cannot become {state.value}")
        return replace(self, state=state)


def heard(host: CompileHost, report: HostReport, *, now: float) -> CompileHost:
    """The host after it said hello."""
    return settle(replace(host, report=report, seen_at=now), now=now)


def settle(host: CompileHost, *, now: float) -> CompileHost:
    """The state that follows from what was heard and from the time."""
    if host.state is HostState.UNKNOWN or (host.state is HostState.QUARANTINED and now < host.until):
        return host
    silent = now - host.seen_at > SILENT_SECONDS
    free = replace(host, reason="") if host.state is HostState.QUARANTINED else host
    return free.moved(HostState.GONE if silent else HostState.READY)


def accept(host: CompileHost, *, now: float) -> CompileHost:
    """A person lets it be used: an unknown host becomes known, a quarantine ends."""
    free = replace(host, reason="", until=0.0, strikes=0)
    return settle(free.moved(HostState.GONE), now=now)


def punish(host: CompileHost, reason: str, *, now: float) -> CompileHost:
    """Quarantined, each time four times as long as before."""
    known = host if host.state is not HostState.UNKNOWN else replace(host, state=HostState.GONE)
    longer = FIRST_QUARANTINE_SECONDS * 4.0 ** min(host.strikes, 20)
    until = now + min(longer, LONGEST_QUARANTINE_SECONDS)
    kept_out = replace(known, reason=reason[:500], until=until, strikes=host.strikes + 1)
    return kept_out.moved(HostState.QUARANTINED)


def parse_report(text: str) -> HostReport:
    """Read what a host posts; raises Problem that names the line."""
    fields: dict[str, str] = {}
    runs: dict[str, int] = {}
    for number, line in enumerate(text.splitlines()[:200], 1):
        key, _, value = line.partition(" ")
        if key == "runs":
            digest, _, port = value.partition(" ")
            if not HASH.fullmatch(digest) or not port.isdecimal() or not 0 < int(port) < 65536:
                raise Problem(f"line {number} is {line[:100]!r}, expected `runs HASH PORT`")
            runs[digest] = int(port)
        elif key in KEYS:
            fields[key] = value.strip()
        else:
            raise Problem(f"line {number} starts with {key[:40]!r}, expected {', '.join(KEYS)} or runs")
    name, arch = fields.get("host", ""), fields.get("arch", "")
    if not NAME.fullmatch(name):
        raise Problem(f"host is {name[:80]!r}, expected a name of lower-case letters, digits, - and .")
    if not ARCH.fullmatch(arch):
        raise Problem(f"arch is {arch[:80]!r}, expected what `uname -m` says")
    return HostReport(
        name=name,
        arch=arch,
        cpus=int(_number(fields, "cpus", 1, 65536)),
        memory_bytes=int(_number(fields, "memory", 0, 2**53)),
        load=_number(fields, "load", 0, 1e6),
        serial=int(_number(fields, "serial", 0, 2**53)),
        runs=runs,
        problem=fields.get("problem", "")[:500],
        token=fields.get("token", ""),
    )


def _number(fields: Mapping[str, str], key: str, least: float, most: float) -> float:
    text = fields.get(key, str(least))
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise Problem(f"{key} is {text[:40]!r}, expected a number from {least:g} to {most:g}")
    return value
