"""What a machine that was installed from a medium tells its server when it first reaches it. Pure.

The installer leaves a directory on the machine, /var/lib/distserver/report (mode 0700), with four files:

    credential   one line, 64 hexadecimal digits: the medium's distserver/credential
    head         one a line: `medium ID`, `nonce HEX32`, `release ID`, `profile NAME`, `hostname NAME`,
                 `fingerprint HEX64`, and of an image for one machine `token HEX`
    events       one step a line, in their order: `TIME STAGE STATUS SECONDS BYTES [MESSAGE]`; TIME is the
                 machine's clock when the step ended (`date +%s`), STATUS is done, failed or note; a dash
                 stands for unknown SECONDS or BYTES
    facts        the facts text, as it is posted to /hello

The reporter (overlays/client) posts this to /installed until the answer is `taken` or `known`, then removes
the directory:

    hmac HEX64                 HMAC-SHA256 of all that follows, the key being the text in `credential`
    distserver-installed 1
    ...                        the lines of head
    event ...                  the lines of events
    sent TIME                  the machine's clock now
                               an empty line
    ...                        the facts
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace

from appliance.errors import Problem
from appliance.facts import parse_facts
from appliance.install import HOSTNAME
from appliance.model import Facts
from appliance.statement import RELEASE_ID

FIRST_LINE = "distserver-installed 1"
MOST_EVENTS = 200
MOST_MESSAGE = 500
STATUSES = ("done", "failed", "note")
STAGE = re.compile(r"[a-z][a-z0-9-]{0,30}")
NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?")
FORMS = (NUMBER, re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?|-"), re.compile(r"[0-9]{1,15}|-"))
"""Of TIME, SECONDS and BYTES; no longer than a step that is posted (step_report.py)."""
SINGLE = {
    "medium": re.compile(r"[0-9a-f]{16}"),
    "nonce": re.compile(r"[0-9a-f]{32}"),
    "release": RELEASE_ID,
    "profile": re.compile(r"[a-z0-9][a-z0-9_-]{0,30}"),
    "hostname": HOSTNAME,
    "fingerprint": re.compile(r"[0-9a-f]{64}"),
    "token": re.compile(r"[0-9a-f]{32,64}"),
    "sent": NUMBER,
}
OPTIONAL = frozenset({"token"})
EVENT_WORDS = 5


@dataclass(frozen=True)
class ToldEvent:
    """A step of the installation; `at` is the machine's clock when it ended."""

    at: float
    stage: str
    status: str
    seconds: float | None
    size_bytes: int | None
    message: str = ""


@dataclass(frozen=True)
class FirstReport:
    medium: str
    nonce: str
    release: str
    profile: str
    hostname: str
    fingerprint: str
    """Of the plan that was carried out (install.fingerprint)."""
    token: str
    """Of an image for one machine, else empty."""
    sent: float
    """The machine's clock."""
    events: tuple[ToldEvent, ...]
    facts: Facts


def credential(secret: bytes, medium: str) -> str:
    """What stands on a medium and proves that its reports come from it."""
    return hmac.new(secret, medium.encode(), hashlib.sha256).hexdigest()


def proof(key: str, text: str) -> str:
    """The HMAC of a report; `key` is a credential."""
    return hmac.new(key.encode(), text.encode(errors="replace"), hashlib.sha256).hexdigest()


def proven(told: str, key: str, text: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(told.encode(errors="replace"), proof(key, text).encode())


def split(body: str) -> tuple[str, str]:
    """What should prove the report, and all of it that is proven; raises Problem."""
    first, _, text = body.partition("\n")
    word, _, told = first.partition(" ")
    if word != "hmac":
        raise Problem(f"line 1 is {first[:80]!r}, expected `hmac <64 hexadecimal digits>`")
    return told, text


def parse(text: str) -> FirstReport:
    """Read what was proven; raises Problem with the line that is wrong, counted from after the proof."""
    head, _, facts = text.partition("\n\n")
    lines = head.splitlines()
    if not lines or lines[0] != FIRST_LINE:
        raise Problem(f"the report starts with {lines[0][:80] if lines else ''!r}, expected {FIRST_LINE!r}")
    single: dict[str, str] = {}
    events: list[ToldEvent] = []
    for number, line in enumerate(lines[1:], 2):
        key, _, value = line.partition(" ")
        if key == "event" and len(events) < MOST_EVENTS:
            events.append(_event(value, number))
        elif key in SINGLE and key not in single and SINGLE[key].fullmatch(value):
            single[key] = value
        else:
            raise Problem(f"line {number} of the report is not understood: {line[:80]!r}")
    missing = sorted(SINGLE.keys() - OPTIONAL - single.keys())
    if missing:
        raise Problem(f"the report does not say: {', '.join(missing)}")
    sent = float(single.pop("sent"))
    token = single.pop("token", "")
    return FirstReport(**single, token=token, sent=sent, events=tuple(events), facts=parse_facts(facts))


def placed(report: FirstReport, *, now: float, since: float) -> list[ToldEvent]:
    """The steps by the server's clock.

    What counts is how long each was ago when the machine sent its report. When that cannot be (before
    `since`, or in the time to come: the machine's clock was set in between) the last step ends now. A step
    that is too long ago even then was timed before the installer set the clock: it ends when the next begins.
    """
    if not report.events:
        return []
    first = min(one.at - (one.seconds or 0.0) for one in report.events)
    last = max(one.at for one in report.events)
    shift = now - report.sent
    if last + shift > now or first + shift < since:
        shift = now - last
    steps: list[ToldEvent] = []
    next_begins = now
    for one in reversed(report.events):
        at = one.at + shift
        steps.append(replace(one, at=at if at >= since else next_begins))
        next_begins = steps[-1].at - (one.seconds or 0.0)
    return steps[::-1]


def _event(value: str, number: int) -> ToldEvent:
    words = value.split(None, EVENT_WORDS)
    wanted = "`event TIME STAGE STATUS SECONDS BYTES [MESSAGE]`"
    if len(words) < EVENT_WORDS:
        raise Problem(f"line {number} of the report has {len(words)} words after event, expected {wanted}")
    at, stage, status, seconds, size = words[:EVENT_WORDS]
    if not all(form.fullmatch(word) for form, word in zip(FORMS, (at, seconds, size), strict=True)):
        raise Problem(f"line {number} of the report has no numbers where {wanted} has some")
    if not STAGE.fullmatch(stage) or status not in STATUSES:
        raise Problem(f"line {number} of the report is not {wanted}, status {' or '.join(STATUSES)}")
    return ToldEvent(
        at=float(at),
        stage=stage,
        status=status,
        seconds=None if seconds == "-" else float(seconds),
        size_bytes=None if size == "-" else int(size),
        message=words[EVENT_WORDS][:MOST_MESSAGE] if len(words) > EVENT_WORDS else "",
    )
