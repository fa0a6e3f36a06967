"""What the machine tells its server of itself, in the form and the size that the server takes; pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

MOST_BYTES = 60 * 1024
"""The server refuses more than 64 KiB."""
LONGEST = 300
MOST_DRIFT, MOST_LOCAL, MOST_QUESTIONS, MOST_SERVICES = 500, 200, 100, 50
MOST_FACTS = 50
Row = Mapping[str, object]


class Phase(Enum):
    CURRENT = "current"
    """The machine has its release whole."""
    WAITING = "waiting"
    """It has one whole, and is not to begin with the next."""
    UPDATING = "updating"
    """An update is under way."""
    FAILED = "failed"
    """The update to `target` failed; the machine goes on trying, or went back."""


class Health(Enum):
    NONE = ""
    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True)
class Drift:
    """Something that differs from the release."""

    kind: str
    """`file`, `package` or `mount`"""
    name: str
    said: str


@dataclass(frozen=True)
class Changed:
    """A configuration file that is not as its package ships it, which is no drift."""

    path: str
    said: str


@dataclass(frozen=True)
class Open:
    """A configuration file that waits for an answer."""

    path: str
    here: bool
    """It is answered on the machine: it is a secret, or nothing that could be shown."""


@dataclass(frozen=True)
class Report:
    release: str
    """The one that the machine has whole."""
    phase: Phase
    target: str = ""
    """The one it is updating to, or tried to."""
    said: str = ""
    inventory: str = ""
    """SHA-256 of what is installed."""
    packages: int = 0
    drift: Sequence[Drift] = ()
    unread: int = 0
    """Files that may differ and were not read yet."""
    local: Sequence[Changed] = ()
    reboot: str = ""
    """Why it has to start anew; empty: it has not."""
    services: Sequence[str] = ()
    """What runs with files that were replaced since."""
    kernel: str = ""
    questions: Sequence[Open] = ()
    health: Health = Health.NONE
    facts: tuple[tuple[str, str], ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()
    """Step -> how long it took."""
    size_bytes: int = 0
    """What came over the wire."""


def package_drift(differ: Iterable[str], foreign: Iterable[str], missing: Iterable[str]) -> tuple[Drift, ...]:
    """Of three lists of category/PF."""
    kinds = ((differ, "another package than the release's"), (foreign, "the release has none"))
    found = [Drift("package", name, said) for names, said in (*kinds, (missing, "missing")) for name in names]
    return tuple(sorted(found, key=lambda one: one.name))


def message(report: Report, *, held: str = "") -> Row:
    """As Talk.report() takes it. Of lists that are too long the first lines go, and how many there are.

    `held`: the digest of the lists that the server has; when they are still the same they stay here.
    """
    made: dict[str, object] = {
        "release": report.release,
        "phase": report.phase.value,
        "target": report.target,
        "said": report.said[:LONGEST],
        "inventory": report.inventory,
        "packages": report.packages,
        "drifts": len(report.drift),
        "locals": len(report.local),
        "unread": report.unread,
        "reboot": bool(report.reboot),
        "reboot_for": report.reboot[:LONGEST],
        "stale": len(report.services),
        "kernel": report.kernel[:LONGEST],
        "merges": len(report.questions),
        "health": report.health.value,
        "facts": {name[:40]: value[:LONGEST] for name, value in report.facts[:MOST_FACTS]},
        "steps": _steps(report),
    }
    lists = _lists(report, MOST_BYTES - len(json.dumps(made)) - 100)
    made["lists"] = hashlib.sha256(json.dumps(lists, sort_keys=True).encode()).hexdigest()
    return made if made["lists"] == held else made | lists


def _lists(report: Report, most_bytes: int) -> dict[str, list[Row] | list[str]]:
    """The longest of them loses half of itself until all together are short enough; in JSON all is ASCII."""
    drift: list[Row] = [
        {"kind": one.kind, "name": one.name[:LONGEST], "said": one.said[:LONGEST]}
        for one in report.drift[:MOST_DRIFT]
    ]
    local: list[Row] = [
        {"path": one.path[:LONGEST], "said": one.said[:LONGEST]} for one in report.local[:MOST_LOCAL]
    ]
    questions: list[Row] = [
        {"path": one.path[:LONGEST], "here": one.here} for one in report.questions[:MOST_QUESTIONS]
    ]
    services = [one[:LONGEST] for one in report.services[:MOST_SERVICES]]
    lists: dict[str, list[Row] | list[str]] = {
        "drift": drift,
        "local": local,
        "questions": questions,
        "services": services,
    }
    while len(json.dumps(lists)) > most_bytes:
        longest = max(lists, key=lambda name: len(json.dumps(lists[name])))
        del lists[longest][len(lists[longest]) // 2 :]
    return lists


def _steps(report: Report) -> list[dict[str, object]]:
    steps: list[dict[str, object]] = [
        {"name": name[:40], "seconds": round(max(seconds, 0.0), 3), "bytes": 0}
        for name, seconds in report.seconds[:49]
    ]
    return [*steps, {"name": "received", "seconds": 0.0, "bytes": max(report.size_bytes, 0)}]
