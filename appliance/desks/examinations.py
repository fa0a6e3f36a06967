"""Examinations of the LAN that the web page offers: asked for there, made by the farm, which may listen."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.desks.audit import AuditDesk
from appliance.desks.mishaps import sentence_of
from appliance.errors import Problem
from appliance.findings import Examined
from appliance.store.examinations import Examination, ExaminationState

MOST_TRIES = 3
"""An examination whose process ended so often without a word is not begun again."""
NOTE_SECONDS = 0.5
"""Progress is noted no more often: each note is a transaction."""
Progress = Callable[[str, float, int], None]
"""An interface, the seconds passed on it, the answers so far."""
Examine = Callable[[str, Progress], Examined]


@dataclass(frozen=True)
class Looked:
    """What the web page shows."""

    now: float
    under_way: Examination | None
    last: Examination | None
    """The last that found something out."""
    failed: Examination | None
    """The last one, when it could not be made."""


class ExaminationDesk:
    def __init__(self, audit: AuditDesk, clock: Callable[[], float]) -> None:
        self.audit = audit
        self.store = audit.store
        self.clock = clock

    # the web page's side

    def look(self) -> Looked:
        rows = self.store.examinations
        last, failed = rows.newest(ExaminationState.DONE), rows.newest(ExaminationState.FAILED)
        newer = failed if failed and (last is None or failed.id > last.id) else None
        return Looked(self.clock(), rows.under_way(), last, newer)

    def want(self, *, who: str) -> bool:
        """Let the farm examine; False when it is about to anyway."""
        with self.store.database.change():
            wanted = self.store.examinations.want(who, now=self.clock())
            if wanted:
                self.audit.note(who, "doctor", "network")
        return wanted

    # the farm's side

    def make_next(self, interfaces: Sequence[str], examine: Examine, *, seconds: float) -> bool:
        """Make the one that waits, in this process; False when none does.

        `seconds`: how long each interface takes about. What keeps it from being made is said by its row.
        """
        rows = self.store.examinations
        rows.interrupt(now=self.clock(), most_tries=MOST_TRIES)
        begun = rows.begin(now=self.clock())
        if begun is None:
            return False
        try:
            if not interfaces:
                hint = "give `up` --interface, or set [net] interfaces in appliance.toml"
                raise Problem("no network interface is served, so there is nothing to examine", hint=hint)
            progress = self._noting(begun.id, interfaces, seconds)
            rows.end(begun.id, [examine(name, progress) for name in interfaces], now=self.clock())
        except Exception as failed:
            rows.fail(begun.id, sentence_of(failed, "examining the network"), now=self.clock())
        return True

    def _noting(self, number: int, interfaces: Sequence[str], seconds: float) -> Progress:
        noted_at = 0.0

        def note(interface: str, passed: float, answers: int) -> None:
            nonlocal noted_at
            if time.monotonic() - noted_at >= NOTE_SECONDS:
                noted_at = time.monotonic()
                before = interfaces.index(interface) * seconds
                said = f"asking on {interface}, {answers} answer{'' if answers == 1 else 's'}"
                self.store.examinations.note(number, said, before + passed, seconds * len(interfaces))

        return note
