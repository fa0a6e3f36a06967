"""Jobs: what the farm is doing and did."""

import os
import sqlite3
from pathlib import Path

from appliance.model import Job
from appliance.store.database import Database


class Jobs:
    def __init__(self, database: Database) -> None:
        self.database = database

    def start(self, kind: str, profile: str, *, now: float, inputs: str = "") -> int:
        row = self.database.execute(
            "INSERT INTO job (kind, profile, state, started_at, inputs, owner)"
            " VALUES (?, ?, 'running', ?, ?, ?)",
            (kind, profile, now, inputs, _process(os.getpid())),
        )
        return int(row.lastrowid or 0)

    def end(self, job: int, state: str, *, now: float, message: str = "", log: str = "") -> None:
        self.database.execute(
            "UPDATE job SET state = ?, ended_at = ?, message = ?, log = ? WHERE id = ?",
            (state, now, message, log, job),
        )

    def interrupt_dead(self, *, now: float) -> list[Job]:
        """Jobs whose process is gone become `interrupted`; they are returned."""
        dead = [
            _job(row)
            for row in self.database.rows("SELECT * FROM job WHERE state = 'running' ORDER BY id")
            if _process(int(row["owner"].partition("@")[0])) != row["owner"]
        ]
        for job in dead:
            self.end(job.id, "interrupted", now=now, message="the process that ran it is gone")
        return dead

    def all(self, limit: int = 50) -> list[Job]:
        """Newest first."""
        return [
            _job(row) for row in self.database.rows("SELECT * FROM job ORDER BY id DESC LIMIT ?", (limit,))
        ]

    def last(self, kind: str, profile: str) -> Job | None:
        row = self.database.row(
            "SELECT * FROM job WHERE kind = ? AND profile = ? ORDER BY id DESC LIMIT 1", (kind, profile)
        )
        return _job(row) if row else None


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=row["kind"],
        profile=row["profile"],
        state=row["state"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        message=row["message"],
        log=row["log"],
        inputs=row["inputs"],
    )


def _process(pid: int) -> str:
    """`PID@START` of a living process, else empty: a number alone may belong to another one by now."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return f"{pid}@{stat.rpartition(')')[2].split()[19]}"
