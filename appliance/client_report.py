"""What an installed machine reports of itself: read, bounded, and never trusted. Pure.

JSON, one object. The machine leaves out what it does not know:

    release    the id of the release it has, whole
    target     the one it is updating to, or tried to
    phase      current, waiting, updating or failed
    said       a sentence: why it waits, or what failed
    inventory  SHA-256 of what is installed, as the agent computes it of the release, too
    packages   how many are installed
    drift      [{"kind": "file", "package" or "mount", "name", "said"}], what differs from the release
    drifts     how many there are, when not all are in `drift`
    unread     files that may differ and were not read yet
    local      [{"path", "said"}], configuration files that are not as packages ship them: no drift
    locals     how many there are, when not all are in `local`
    reboot     true when it has to start anew
    reboot_for why
    services   [name], what runs with files that were replaced since
    stale      how many there are, when not all are in `services`
    kernel     what `uname -r` says
    merges     configuration files that wait for an answer
    questions  [{"path", "here": true when only the machine can answer}], the first of them
    lists      SHA-256 of drift, local, questions and services; with nothing but it they are as the last time
    health     ok or failed, by the command of its profile; empty without one
    facts      {name: text}
    steps      [{"name": ..., "seconds": ..., "bytes": ...}], of its last update
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from appliance.errors import Problem
from appliance.statement import RELEASE_ID

MOST_BYTES = 64 * 1024
MOST_DRIFT = 500
MOST_LOCAL = 200
MOST_QUESTIONS = 100
MOST_SERVICES = 50
MOST_STEPS = 50
MOST_FACTS = 50
MOST_NUMBER = 2**53
LONGEST = 300
DIGEST = re.compile(r"[0-9a-f]{64}")
NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Orders to terminals, turned writing, and what UTF-8 cannot say."""


class Phase(Enum):
    CURRENT = "current"
    WAITING = "waiting"
    UPDATING = "updating"
    FAILED = "failed"


class Health(Enum):
    NONE = ""
    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True)
class Drift:
    """Something that is not as the release has it."""

    kind: str
    """`file`, `package` or `mount`."""
    name: str
    said: str


@dataclass(frozen=True)
class Local:
    """A configuration file that is not as its package ships it, which is no drift."""

    path: str
    said: str


@dataclass(frozen=True)
class Question:
    """A configuration file that waits for an answer."""

    path: str
    here: bool
    """Only the machine can answer."""


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float
    size_bytes: int


@dataclass(frozen=True)
class Report:
    release: str
    phase: Phase
    target: str = ""
    said: str = ""
    inventory: str = ""
    packages: int = 0
    drift: tuple[Drift, ...] = ()
    drifts: int = 0
    """All there are; `drift` has the first of them."""
    unread: int = 0
    local: tuple[Local, ...] = ()
    locals: int = 0
    reboot: bool = False
    reboot_for: str = ""
    services: tuple[str, ...] = ()
    stale: int = 0
    kernel: str = ""
    merges: int = 0
    questions: tuple[Question, ...] = ()
    lists: str = ""
    """Of what the machine sent as drift, local, questions and services."""
    health: Health = Health.NONE
    facts: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def failed(self) -> bool:
        return self.phase is Phase.FAILED or self.health is Health.FAILED


def read_report(body: bytes, most: int = MOST_BYTES) -> Report:
    """A report as a machine sent it; what is unknown in it is ignored. Raises Problem."""
    said = read_object(body, most)
    drift = tuple(_drift(one) for one in _objects(said, "drift", MOST_DRIFT))
    local = tuple(_local(one) for one in _objects(said, "local", MOST_LOCAL))
    questions = tuple(_question(one) for one in _objects(said, "questions", MOST_QUESTIONS))
    services = _names(said, "services", MOST_SERVICES)
    return Report(
        release=_release(said, "release"),
        phase=Phase(_choice(said, "phase", [one.value for one in Phase])),
        target=_release(said, "target"),
        said=text_of(said, "said"),
        inventory=_matching(said, "inventory", DIGEST),
        packages=number_of(said, "packages"),
        drift=drift,
        drifts=max(number_of(said, "drifts"), len(drift)),
        unread=number_of(said, "unread"),
        local=local,
        locals=max(number_of(said, "locals"), len(local)),
        reboot=said.get("reboot") is True,
        reboot_for=text_of(said, "reboot_for"),
        services=services,
        stale=max(number_of(said, "stale"), len(services)),
        kernel=text_of(said, "kernel"),
        merges=max(number_of(said, "merges"), len(questions)),
        questions=questions,
        lists=_matching(said, "lists", DIGEST),
        health=Health(_choice(said, "health", [one.value for one in Health], "")),
        facts=_facts(said),
        steps=tuple(_step(one) for one in _objects(said, "steps", MOST_STEPS)),
    )


def write_report(report: Report) -> str:
    """As the store keeps it; read_report() reads it again."""
    said: dict[str, Any] = {
        name: getattr(report, name)
        for name in (
            "release", "target", "said", "inventory", "packages", "drifts", "unread", "locals", "reboot",
            "reboot_for", "stale", "kernel", "lists",
        )
    }  # fmt: skip
    said |= {"phase": report.phase.value, "health": report.health.value, "merges": report.merges}
    said["drift"] = [{"kind": one.kind, "name": one.name, "said": one.said} for one in report.drift]
    said["local"] = [{"path": one.path, "said": one.said} for one in report.local]
    said["questions"] = [{"path": one.path, "here": one.here} for one in report.questions]
    said["services"] = list(report.services)
    said["facts"] = dict(report.facts)
    said["steps"] = [
        {"name": one.name, "seconds": one.seconds, "bytes": one.size_bytes} for one in report.steps
    ]
    return json.dumps(said, sort_keys=True)


def with_lists(report: Report, last: Report | None) -> Report | None:
    """A report that came without its lists, with those of the last one; None when that had others."""
    if not report.lists or report.drift or report.local or report.questions or report.services:
        return report
    if last is not None and last.lists == report.lists:
        return replace(
            report,
            drift=last.drift,
            local=last.local,
            questions=last.questions,
            services=last.services,
        )
    whole = not (report.drifts or report.locals or report.merges or report.stale)
    return report if whole else None


def read_object(body: bytes, most: int) -> Mapping[str, Any]:
    """A JSON object; raises Problem for everything else."""
    if len(body) > most:
        raise Problem(f"the body has {len(body)} bytes, expected at most {most}")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as wrong:
        raise Problem("the body is no JSON") from wrong
    if not isinstance(said, dict):
        raise Problem(f"the body is {type(said).__name__} in JSON, expected an object")
    return said


def text_of(said: Mapping[str, Any], key: str, longest: int = LONGEST) -> str:
    """A text without what orders a terminal or turns the writing, cut."""
    came = said.get(key, "")
    if not isinstance(came, str):
        raise Problem(f"{key} is {_show(came)}, expected a text")
    return NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", came)[:longest]


def number_of(said: Mapping[str, Any], key: str) -> int:
    came = said.get(key, 0)
    if not isinstance(came, int) or isinstance(came, bool) or not 0 <= came < MOST_NUMBER:
        raise Problem(f"{key} is {_show(came)}, expected a whole number")
    return came


def seconds_of(said: Mapping[str, Any], key: str) -> float:
    came = said.get(key, 0.0)
    if not isinstance(came, int | float) or isinstance(came, bool) or not _is_near(came):
        raise Problem(f"{key} is {_show(came)}, expected seconds")
    return float(came)


def _is_near(number: float) -> bool:
    return 0 <= number < MOST_NUMBER and math.isfinite(number)


def _choice(said: Mapping[str, Any], key: str, known: Sequence[str], default: str | None = None) -> str:
    came = said.get(key, default)
    if not isinstance(came, str) or came not in known:
        raise Problem(f"{key} is {_show(came)}, expected {', '.join(filter(None, known))}")
    return came


def _matching(said: Mapping[str, Any], key: str, form: re.Pattern[str]) -> str:
    came = said.get(key, "")
    if not isinstance(came, str) or (came and not form.fullmatch(came)):
        raise Problem(f"{key} is {_show(came)}, which is none")
    return came


def _release(said: Mapping[str, Any], key: str) -> str:
    return _matching(said, key, RELEASE_ID)


def _objects(said: Mapping[str, Any], key: str, most: int) -> list[Mapping[str, Any]]:
    came = said.get(key, [])
    if not isinstance(came, list) or not all(isinstance(one, dict) for one in came[:most]):
        raise Problem(f"{key} is {_show(came)}, expected a list of objects")
    return came[:most]


def _drift(said: Mapping[str, Any]) -> Drift:
    kind = _choice(said, "kind", ("file", "package", "mount"))
    return Drift(kind, text_of(said, "name"), text_of(said, "said"))


def _local(said: Mapping[str, Any]) -> Local:
    return Local(text_of(said, "path"), text_of(said, "said"))


def _question(said: Mapping[str, Any]) -> Question:
    return Question(text_of(said, "path"), said.get("here") is True)


def _names(said: Mapping[str, Any], key: str, most: int) -> tuple[str, ...]:
    came = said.get(key, [])
    if not isinstance(came, list):
        raise Problem(f"{key} is {_show(came)}, expected a list of names")
    return tuple(text_of({key: one}, key) for one in came[:most])


def _step(said: Mapping[str, Any]) -> Step:
    return Step(text_of(said, "name", 40), seconds_of(said, "seconds"), number_of(said, "bytes"))


def _facts(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    came = said.get("facts", {})
    if not isinstance(came, dict):
        raise Problem(f"facts is {_show(came)}, expected an object")
    names = sorted(came)[:MOST_FACTS]
    return tuple((text_of({"name": name}, "name", 40), text_of(came, name)) for name in names)


def _show(came: object) -> str:
    text = ascii(came)
    return text if len(text) <= 60 else f"{text[:57]}..."
