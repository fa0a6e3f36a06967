"""What a site says of installed machines: their door, how they update, in which order; frozen. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from appliance.schema import Keys, Kind, parse_clock, parse_size, parse_span
from appliance.web_settings import is_name

PORT = 8443
SILENT_SECONDS = 3 * 86400.0
LEAST_SILENT_SECONDS = 3600.0
CLIENTS = Keys({"port": Kind.INTEGER, "names": Kind.WORDS, "silent_after": Kind.SPAN})
CLIENT = Keys(
    {
        "window": Kind.TEXT,
        "spread": Kind.SPAN,
        "bandwidth": Kind.TEXT,
        "reboot": Kind.TEXT,
        "compile": Kind.BOOLEAN,
        "depclean": Kind.BOOLEAN,
        "health": Kind.TEXT,
        "config": Keys(
            {"path": Kind.TEXT, "policy": Kind.TEXT, "secret": Kind.BOOLEAN, "restart": Kind.TEXT},
            many=True,
            required=frozenset({"path"}),
        ),
    }
)
WINDOW = re.compile(r"\s*([0-9:]{4,5})\s*-\s*([0-9:]{4,5})\s*")
SHARE = re.compile(r"\s*([0-9]{1,3})\s*%\s*")
COUNT = re.compile(r"\s*([0-9]{1,5})\s*")
SERVICE = re.compile(r"[A-Za-z0-9@._:-]{1,100}")
MOST_RULES = 100
LONGEST_COMMAND = 500
LONGEST_SPREAD_SECONDS = 7 * 86400.0
LEAST_BANDWIDTH = 4096
"""Octets a second: with less a release would not come in a day."""


class Reboot(Enum):
    NEVER = "never"
    WINDOW = "window"
    NOW = "now"


class Keep(Enum):
    """Whose lines of a configuration file count."""

    OURS = "ours"
    THEIRS = "theirs"
    ASK = "ask"
    NEVER = "never"


@dataclass(frozen=True)
class ConfigRule:
    """What is done with configuration files whose path fits a glob pattern."""

    path: str
    policy: Keep | None = None
    """None: merged, and asked when that is not clean."""
    secret: bool | None = None
    """Whether its content stays on the machine; None: when its name says that it is a secret."""
    restart: str = ""
    """The service that is restarted when the file became another one."""


@dataclass(frozen=True)
class Window:
    """Minutes after local midnight; it may go over midnight."""

    start: int
    end: int

    def holds(self, minute: int) -> bool:
        if self.start <= self.end:
            return self.start <= minute < self.end
        return minute >= self.start or minute < self.end

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)}"


@dataclass(frozen=True)
class ClientPolicy:
    """How the machines of a profile update themselves."""

    window: Window | None = None
    """None: at any time."""
    spread_seconds: float = 3600.0
    """Over so long the machines begin, each at its own time."""
    bandwidth_bytes: int = 0
    """A second, of one machine; 0: as fast as it goes."""
    reboot: Reboot = Reboot.NEVER
    compile: bool = False
    """Whether a person may compile there what the release lacks."""
    depclean: bool = True
    health: str = ""
    """Command that says after an update whether the machine does its work; empty: none."""
    config: tuple[ConfigRule, ...] = ()


@dataclass(frozen=True)
class Canaries:
    """Which machines get a release first, when none follow the channel canary."""

    count: int = 0
    percent: int = 0
    report_seconds: float = 30 * 3600.0
    """So long they have to say that they are well."""

    def of(self, machines: int) -> int:
        """How many of so many machines; a share is at least one of them."""
        share = -(-machines * self.percent // 100)
        return min(max(self.count, share), machines)


@dataclass(frozen=True)
class ClientsSettings:
    """The door that installed machines come to."""

    port: int = PORT
    """0: there is none."""
    names: tuple[str, ...] = ()
    """Further names and addresses of this server, for its certificate."""
    silent_seconds: float = SILENT_SECONDS
    """A machine that reported nothing for longer is pointed out."""


@dataclass(frozen=True)
class Following:
    """The part of a profile that concerns machines which are installed."""

    policy: ClientPolicy = field(default_factory=ClientPolicy)
    canaries: Canaries = field(default_factory=Canaries)


def read_clients(table: Mapping[str, Any], file: Path, complaints: list[str]) -> ClientsSettings:
    """[clients] of appliance.toml, each checked beyond its kind."""
    port = table.get("port", PORT)
    if not 0 <= port < 65536:
        complaints.append(f"{file}: clients.port: expected a port from 1 to 65535, or 0 for none, got {port}")
    bad = [name for name in table.get("names", ()) if not is_name(name)]
    complaints += [f"{file}: clients.names: expected a host name or an address, got {name!r}" for name in bad]
    silent = parse_span(table["silent_after"]) if "silent_after" in table else SILENT_SECONDS
    if silent is None or silent < LEAST_SILENT_SECONDS:
        complaints.append(
            f"{file}: clients.silent_after: expected at least an hour, got {table['silent_after']!r}"
        )
    return ClientsSettings(port, tuple(table.get("names", ())), silent or SILENT_SECONDS)


def read_client(table: Mapping[str, Any], file: Path, complaints: list[str]) -> ClientPolicy:
    """[client] of a profile."""
    reboot = table.get("reboot", Reboot.NEVER.value)
    known = [one.value for one in Reboot]
    if reboot not in known:
        complaints.append(f"{file}: client.reboot: expected {', '.join(known)}, got {reboot!r}")
        reboot = Reboot.NEVER.value
    health = table.get("health", "")
    if len(health) > LONGEST_COMMAND or not health.isprintable():
        complaints.append(f"{file}: client.health: expected one line of at most {LONGEST_COMMAND} characters")
    rules = table.get("config", ())
    if len(rules) > MOST_RULES:
        complaints.append(f"{file}: client.config: expected at most {MOST_RULES} of them, got {len(rules)}")
    spread = parse_span(table.get("spread", "1 h"))
    if spread is not None and spread > LONGEST_SPREAD_SECONDS:
        complaints.append(f"{file}: client.spread: expected at most a week, got {table['spread']!r}")
    return ClientPolicy(
        window=_window(table, file, complaints),
        spread_seconds=3600.0 if spread is None else spread,
        bandwidth_bytes=_bandwidth(table, file, complaints),
        reboot=Reboot(reboot),
        compile=table.get("compile", False),
        depclean=table.get("depclean", True),
        health=health,
        config=tuple(
            _rule(one, f"{file}: client.config[{number}]", complaints) for number, one in enumerate(rules, 1)
        ),
    )


def read_canaries(table: Mapping[str, Any], file: Path, complaints: list[str]) -> Canaries:
    """The keys `canary` and `report_within` of a profile's [release]."""
    text = str(table.get("canary", "0"))
    count, share = COUNT.fullmatch(text), SHARE.fullmatch(text)
    percent = int(share[1]) if share else 0
    if not count and not 0 < percent <= 100:
        complaints.append(
            f"{file}: release.canary: expected how many machines such as 2, or a share such as"
            f' "10 %", got {table["canary"]!r}'
        )
    within = parse_span(table["report_within"]) if "report_within" in table else Canaries.report_seconds
    if not within:
        complaints.append(f"{file}: release.report_within: expected a time longer than none")
    return Canaries(int(count[1]) if count else 0, percent, within or Canaries.report_seconds)


def policy_to_json(policy: ClientPolicy) -> dict[str, Any]:
    """As a machine gets it with its order; times in seconds, sizes in octets."""
    return {
        "window": str(policy.window) if policy.window else "",
        "spread": policy.spread_seconds,
        "bandwidth": policy.bandwidth_bytes,
        "reboot": policy.reboot.value,
        "compile": policy.compile,
        "depclean": policy.depclean,
        "health": policy.health,
        "config": [_rule_to_json(one) for one in policy.config],
    }


def _rule_to_json(rule: ConfigRule) -> dict[str, Any]:
    said: dict[str, Any] = {"path": rule.path}
    said |= {"policy": rule.policy.value} if rule.policy else {}
    said |= {} if rule.secret is None else {"secret": rule.secret}
    return said | ({"restart": rule.restart} if rule.restart else {})


def _rule(table: Mapping[str, Any], where: str, complaints: list[str]) -> ConfigRule:
    path, restart = table.get("path", ""), table.get("restart", "")
    if not path.startswith("/") or not path.isprintable() or len(path) > 200:
        complaints.append(f'{where}.path: expected a glob pattern such as "/etc/ssh/*", got {path!r}')
    if restart and not SERVICE.fullmatch(restart):
        complaints.append(f"{where}.restart: expected the name of a service, got {restart!r}")
    known: Sequence[str] = [one.value for one in Keep]
    policy = table.get("policy")
    if policy is not None and policy not in known:
        complaints.append(f"{where}.policy: expected {', '.join(known)}, got {policy!r}")
        policy = None
    return ConfigRule(path, Keep(policy) if policy else None, table.get("secret"), restart)


def _window(table: Mapping[str, Any], file: Path, complaints: list[str]) -> Window | None:
    if "window" not in table:
        return None
    found = WINDOW.fullmatch(table["window"])
    start, end = (parse_clock(found[1]), parse_clock(found[2])) if found else (None, None)
    if start is None or end is None or start == end:
        complaints.append(
            f'{file}: client.window: expected two times of day such as "02:00-05:00", got {table["window"]!r}'
        )
        return None
    return Window(start, end)


def _bandwidth(table: Mapping[str, Any], file: Path, complaints: list[str]) -> int:
    if "bandwidth" not in table:
        return 0
    text = table["bandwidth"].strip()
    size = parse_size(text.removesuffix("/s")) if text.endswith("/s") else None
    if size is None or 0 < size < LEAST_BANDWIDTH:
        complaints.append(
            f'{file}: client.bandwidth: expected a size a second such as "4 MiB/s",'
            f" got {table['bandwidth']!r}"
        )
    return size or 0


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
