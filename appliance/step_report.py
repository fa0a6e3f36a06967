"""What an installer posts of one step, read and checked. Pure."""

import re
from dataclasses import dataclass

from appliance.errors import Problem

STATUSES = ("begin", "done", "failed", "note")
STAGE = re.compile(r"[a-z][a-z0-9-]{0,30}")


@dataclass(frozen=True)
class StepReport:
    """One event as an installer posts it."""

    secret: str
    stage: str
    status: str
    seconds: float | None
    size_bytes: int | None
    message: str


def parse_report(body: str) -> StepReport:
    """Read what an installer posts; raises Problem that says which line is wrong."""
    head, _, message = body.partition("\n\n")
    fields: dict[str, str] = {}
    for number, line in enumerate(head.splitlines(), 1):
        key, _, value = line.partition(" ")
        if key not in ("report", "stage", "status", "seconds", "bytes"):
            raise Problem(
                f"line {number} starts with {key[:40]!r}, expected report, stage, status, seconds or bytes"
            )
        fields[key] = value.strip()
    for key in ("report", "stage", "status"):
        if not fields.get(key):
            raise Problem(f"the report has no line `{key}`")
    if not STAGE.fullmatch(fields["stage"]):
        raise Problem(f"stage is {fields['stage'][:40]!r}, expected a short lower-case word")
    if fields["status"] not in STATUSES:
        raise Problem(f"status is {fields['status'][:40]!r}, expected {', '.join(STATUSES)}")
    try:
        seconds = float(fields["seconds"]) if "seconds" in fields else None
        size = int(fields["bytes"]) if "bytes" in fields else None
    except ValueError as bad:
        raise Problem(f"seconds and bytes are numbers, got {bad}") from bad
    if (seconds is not None and not 0 <= seconds < 1e7) or (size is not None and not 0 <= size < 2**53):
        raise Problem("seconds or bytes is out of range")
    return StepReport(fields["report"], fields["stage"], fields["status"], seconds, size, message)
