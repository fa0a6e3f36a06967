"""Examinations of the LAN: wanted by a person, made by the farm one at a time, the last ones kept."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

from appliance.findings import Examined, Finding, Level
from appliance.process import own_name, process_id
from appliance.store.database import Database

KEPT = 20
OPEN = "state IN ('wanted', 'running')"


class ExaminationState(Enum):
    WANTED = "wanted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Examination:
    """Times in seconds since the epoch."""

    id: int
    state: ExaminationState
    who: str
    wanted_at: float
    begun_at: float | None
    ended_at: float | None
    tries: int
    said: str
    """What is being done, or why it failed."""
    passed_seconds: float
    all_seconds: float
    """Of what it will take about; 0: not known yet."""
    found: tuple[Examined, ...]


class Examinations:
    def __init__(self, database: Database) -> None:
        self.database = database

    def want(self, who: str, *, now: float) -> bool:
        """False when one waits or runs already."""
        wanted = self.database.execute(
            "INSERT INTO examination (state, who, wanted_at) SELECT 'wanted', ?, ?"
            f" WHERE NOT EXISTS (SELECT 1 FROM examination WHERE {OPEN})",
            (who, now),
        )
        return wanted.rowcount == 1

    def under_way(self) -> Examination | None:
        """The one that waits or runs."""
        return self._newest(OPEN)

    def newest(self, state: ExaminationState) -> Examination | None:
        return self._newest("state = ?", state.value)

    def begin(self, *, now: float) -> Examination | None:
        """Make the one that waits this process's own."""
        rows = self.database.rows(
            "UPDATE examination SET state = 'running', begun_at = ?, owner = ?, tries = tries + 1,"
            " said = '', passed_seconds = 0 WHERE state = 'wanted' RETURNING *",
            (now, own_name()),
        )
        return _examination(rows[0]) if rows else None

    def note(self, number: int, said: str, passed_seconds: float, all_seconds: float) -> None:
        self.database.execute(
            "UPDATE examination SET said = ?, passed_seconds = ?, all_seconds = ?"
            " WHERE id = ? AND state = 'running'",
            (said, passed_seconds, all_seconds, number),
        )

    def end(self, number: int, found: Sequence[Examined], *, now: float) -> None:
        text = json.dumps([asdict(one) for one in found])
        with self.database.change():
            self.database.execute(
                "UPDATE examination SET state = 'done', said = '', owner = '', ended_at = ?, found = ?"
                " WHERE id = ? AND state = 'running'",
                (now, text, number),
            )
            self.database.execute(
                f"DELETE FROM examination WHERE NOT {OPEN}"
                " AND id NOT IN (SELECT id FROM examination WHERE state = 'done' ORDER BY id DESC LIMIT ?)",
                (KEPT,),
            )

    def fail(self, number: int, said: str, *, now: float) -> None:
        self.database.execute(
            "UPDATE examination SET state = 'failed', said = ?, owner = '', ended_at = ? WHERE id = ?",
            (said, now, number),
        )

    def interrupt(self, *, now: float, most_tries: int) -> None:
        """What a process that is gone had begun waits again, or has failed when it ended so too often.

        So does what this process began and could not end: it makes one at a time.
        """
        for row in self.database.rows("SELECT * FROM examination WHERE state = 'running'"):
            if row["owner"] != own_name() and process_id(row["owner"]) is not None:
                continue
            if row["tries"] >= most_tries:
                said = f"the process that examined ended {row['tries']} times without a word"
                self.fail(row["id"], said, now=now)
                continue
            self.database.execute(
                "UPDATE examination SET state = 'wanted', said = '', owner = '' WHERE id = ?"
                " AND state = 'running' AND owner = ?",
                (row["id"], row["owner"]),
            )

    def _newest(self, where: str, *values: str) -> Examination | None:
        row = self.database.row(f"SELECT * FROM examination WHERE {where} ORDER BY id DESC LIMIT 1", values)
        return _examination(row) if row else None


def _examination(row: sqlite3.Row) -> Examination:
    names = (
        "id", "who", "wanted_at", "begun_at", "ended_at", "tries", "said", "passed_seconds", "all_seconds",
    )  # fmt: skip
    found = tuple(
        Examined(
            one["interface"],
            one["answers"],
            tuple(Finding(**{**finding, "level": Level(finding["level"])}) for finding in one["findings"]),
        )
        for one in json.loads(row["found"])
    )
    fields = {name: row[name] for name in names}
    return Examination(**fields, state=ExaminationState(row["state"]), found=found)
