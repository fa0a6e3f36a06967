"""Jobs: what the farm is doing and did."""

import os
import sqlite3
from pathlib import Path

from appliance.model import Job
from appliance.store.database import Database


class Jobs:
    def __init__(self, database: Database) -> None:
        self.database = database

    def start(self, kind: str, profile: str, *, now: float) -> int:
        row = self.database.execute(
            "INSERT INTO job (kind, profile, state, started_at, owner) VALUES (?, ?, 'running', ?, ?)",
            (kind, profile, now, os.getpid()),
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
            if not Path(f"/proc/{row['owner']}").exists()
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
    )
