"""What each build did with each package: when it began, how it ended, and the file that came of it."""

import sqlite3

from appliance.farm_model import JobPackage
from appliance.store.database import Database

KEPT_JOBS = 300
"""Jobs whose packages are remembered; the newest ones."""


class JobPackages:
    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, job: int, cpv: str, *, reused: bool, sha256: str = "", now: float) -> None:
        """Emerge began with a package; it may have tried the same one before."""
        with self.database.change():
            self.database.execute("DELETE FROM job_package WHERE job <= ?", (job - KEPT_JOBS,))
            self.database.execute(
                "INSERT OR REPLACE INTO job_package (job, cpv, reused, state, begun_at, sha256)"
                " VALUES (?,?,?,'running',?,?)",
                (job, cpv, reused, now, sha256),
            )

    def end(self, job: int, cpv: str, state: str, *, seconds: float | None, said: str, now: float) -> None:
        """It is done or failed; one that emerge never began with is noted now."""
        self.database.execute(
            "INSERT INTO job_package (job, cpv, reused, state, begun_at, seconds, said)"
            " VALUES (?,?,0,?,?,?,?) ON CONFLICT (job, cpv) DO UPDATE SET state = excluded.state,"
            " seconds = excluded.seconds, said = excluded.said",
            (job, cpv, state, now, seconds, said),
        )

    def made(self, job: int, cpv: str, sha256: str) -> None:
        """The package that came of it is in the pool."""
        self.database.execute(
            "UPDATE job_package SET sha256 = ? WHERE job = ? AND cpv = ?", (sha256, job, cpv)
        )

    def page(self, job: int, *, limit: int, offset: int = 0) -> list[JobPackage]:
        """Those that failed, those that are being built, then the others as they came."""
        rows = self.database.rows(
            "SELECT * FROM job_package WHERE job = ?"
            " ORDER BY CASE state WHEN 'failed' THEN 0 WHEN 'running' THEN 1 ELSE 2 END, begun_at, cpv"
            " LIMIT ? OFFSET ?",
            (job, limit, offset),
        )
        return [_package(row) for row in rows]

    def get(self, job: int, cpv: str) -> JobPackage | None:
        row = self.database.row("SELECT * FROM job_package WHERE job = ? AND cpv = ?", (job, cpv))
        return _package(row) if row else None

    def count(self, job: int) -> dict[str, int]:
        """State -> how many; `reused` counts those of them that were not compiled."""
        rows = self.database.rows(
            "SELECT state, count(*) AS count, sum(reused) AS reused FROM job_package WHERE job = ?"
            " GROUP BY state",
            (job,),
        )
        return {row["state"]: row["count"] for row in rows} | {"reused": sum(row["reused"] for row in rows)}


def _package(row: sqlite3.Row) -> JobPackage:
    names = "job", "cpv", "state", "begun_at", "seconds", "sha256", "said"
    return JobPackage(**{name: row[name] for name in names}, reused=bool(row["reused"]))
