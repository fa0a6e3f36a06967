"""Jobs: what waits to be done, what the farm is doing and what it did."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.backlog import Task
from appliance.farm_model import Job
from appliance.process import own_name, process_id
from appliance.store.database import Database

ENDED = ("done", "failed", "replaced", "interrupted")


@dataclass(frozen=True)
class Wanted(Task):
    """A task as it enters the backlog."""

    successor: bool = False
    """It stands in the place of a build that was stopped for newer inputs."""


class Jobs:
    def __init__(self, database: Database) -> None:
        self.database = database

    def start(self, kind: str, profile: str, *, now: float, inputs: str = "") -> int:
        """Note a job of this process that did not wait."""
        return self._insert(kind, profile, "running", now=now, inputs=inputs, owner=own_name())

    def wait(self, kind: str, wanted: Wanted, *, now: float) -> int:
        """Put a job into the backlog. One that waits already for other inputs is replaced.

        The profile has waited as long as the replaced one had.
        """
        with self.database.change():
            for old in self.waiting(kind, wanted.profile):
                if old.inputs == wanted.inputs:
                    self._expect(old.id, replace(wanted, since=old.wanted_at, successor=old.successor))
                    return old.id
                since = min(wanted.since, old.wanted_at)
                wanted = replace(wanted, since=since, successor=wanted.successor or old.successor)
                self.end(old.id, "replaced", now=now, message="newer inputs came before it started")
            job = self._insert(kind, wanted.profile, "waiting", now=now, inputs=wanted.inputs)
            self._expect(job, wanted)
            return job

    def _expect(self, job: int, wanted: Wanted) -> None:
        self.database.execute(
            "UPDATE job SET wanted_at = ?, security = ?, expected_seconds = ?, expected_bytes = ?, work = ?,"
            " not_before = ?, max_jobs = ?, successor = ? WHERE id = ?",
            (
                wanted.since,
                wanted.security,
                wanted.expected.seconds,
                wanted.expected.memory_bytes,
                " ".join(sorted(wanted.work)),
                wanted.not_before,
                wanted.jobs,
                wanted.successor,
                job,
            ),
        )

    def claim(self, job: int, *, now: float, owner: str = "") -> bool:
        """Make a waiting job one's own.

        False: somebody else has it, nobody wants it any more, or another one of this profile runs.
        """
        taken = self.database.execute(
            "UPDATE job SET state = 'running', started_at = ?, owner = ? WHERE id = ? AND state = 'waiting'"
            " AND NOT EXISTS (SELECT 1 FROM job AS other WHERE other.state = 'running'"
            " AND other.kind = job.kind AND other.profile = job.profile)",
            (now, owner or own_name(), job),
        )
        return taken.rowcount == 1

    def note(self, job: int, message: str) -> None:
        """Say how far a running job is."""
        self.database.execute("UPDATE job SET message = ? WHERE id = ? AND state = 'running'", (message, job))

    def measure(self, job: int, peak_bytes: int) -> None:
        """Note how much memory a job took at most."""
        self.database.execute("UPDATE job SET peak_bytes = ? WHERE id = ?", (peak_bytes, job))

    def supersede(self, job: int, *, now: float) -> None:
        """Newer inputs than a running job's were seen; only the first time counts."""
        self.database.execute(
            "UPDATE job SET superseded_at = ? WHERE id = ? AND superseded_at IS NULL", (now, job)
        )

    def succeed(self, job: int) -> None:
        """Mark a waiting job as the successor of one that was stopped."""
        self.database.execute("UPDATE job SET successor = 1 WHERE id = ?", (job,))

    def end(
        self,
        job: int,
        state: str,
        *,
        now: float,
        message: str = "",
        log: str = "",
        failure: str = "",
        reasons: Sequence[str] = (),
    ) -> None:
        """A job that ended already stays as it is: whoever stopped it has said why."""
        places = ", ".join("?" * len(ENDED))
        self.database.execute(
            "UPDATE job SET state = ?, ended_at = ?, message = ?, log = ?, failure = ?, reasons = ?"
            f" WHERE id = ? AND state NOT IN ({places})",
            (state, now, message, log, failure, json.dumps(reasons), job, *ENDED),
        )

    def lease(self, job: int, owner: str, *, until: float) -> bool:
        """A worker on another host says that it still runs a job; False: the job is not its own any more."""
        found = self.database.execute(
            "UPDATE job SET lease_until = ? WHERE id = ? AND owner = ? AND state = 'running'",
            (until, job, owner),
        )
        return found.rowcount == 1

    def interrupt_dead(self, *, now: float) -> list[Job]:
        """Jobs whose process is gone, or whose lease is over, become `interrupted`; they are returned."""
        over = {
            row["id"]
            for row in self.database.rows(
                "SELECT id FROM job WHERE state = 'running' AND lease_until < ?", (now,)
            )
        }
        dead = [
            job
            for job in self.running()
            if job.id in over or (_is_local(job.owner) and process_id(job.owner) is None)
        ]
        for job in dead:
            self.end(job.id, "interrupted", now=now, message=f"{who(job.owner)} that ran it is gone")
            self.database.execute("DELETE FROM claim WHERE owner = ?", (job.owner,))
        return dead

    def get(self, job: int) -> Job | None:
        row = self.database.row("SELECT * FROM job WHERE id = ?", (job,))
        return _job(row) if row else None

    def running(self) -> list[Job]:
        return self._select("WHERE state = 'running' ORDER BY id")

    def waiting(self, kind: str, profile: str | None = None) -> list[Job]:
        return self._select(
            "WHERE state = 'waiting' AND kind = ? AND (? IS NULL OR profile = ?) ORDER BY id",
            (kind, profile, profile),
        )

    def all(self, limit: int = 50) -> list[Job]:
        """Newest first."""
        return self._select("ORDER BY id DESC LIMIT ?", (limit,))

    def before(self, job: int | None, *, limit: int) -> list[Job]:
        """The newest first; with the number of a job those older than it."""
        return self._select("WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?", (job, job, limit))

    def page(self, profile: str = "", state: str = "", *, limit: int, offset: int = 0) -> list[Job]:
        """A part of all of them, newest first; empty words are any."""
        where, values = _like(profile, state)
        return self._select(f"{where} ORDER BY id DESC LIMIT ? OFFSET ?", (*values, limit, offset))

    def count(self, profile: str = "", state: str = "") -> int:
        where, values = _like(profile, state)
        row = self.database.row(f"SELECT count(*) AS count FROM job {where}", values)
        return int(row["count"]) if row else 0

    def recent(self, kind: str, profile: str, limit: int = 20) -> list[Job]:
        """Those of a profile that started, newest first."""
        started = "state NOT IN ('waiting', 'replaced')"
        return self._select(
            f"WHERE kind = ? AND profile = ? AND {started} ORDER BY id DESC LIMIT ?", (kind, profile, limit)
        )

    def has_done(self, kind: str, label: str) -> bool:
        """Whether a job with this label of work was done."""
        return (
            self.database.row(
                "SELECT 1 FROM job WHERE kind = ? AND state = 'done' AND ' ' || work || ' ' LIKE ? LIMIT 1",
                (kind, f"% {label} %"),
            )
            is not None
        )

    def last(self, kind: str, profile: str) -> Job | None:
        """The newest one that started and was not stopped for newer inputs."""
        found = self.recent(kind, profile, 1)
        return found[0] if found else None

    def _insert(
        self, kind: str, profile: str, state: str, *, now: float, inputs: str, owner: str = ""
    ) -> int:
        row = self.database.execute(
            "INSERT INTO job (kind, profile, state, started_at, inputs, owner, wanted_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (kind, profile, state, now, inputs, owner, now),
        )
        return int(row.lastrowid or 0)

    def _select(self, rest: str, values: tuple[object, ...] = ()) -> list[Job]:
        return [_job(row) for row in self.database.rows(f"SELECT * FROM job {rest}", values)]


def _like(profile: str, state: str) -> tuple[str, tuple[str, ...]]:
    named = {name: value for name, value in (("profile", profile), ("state", state)) if value}
    where = " AND ".join(f"{name} = ?" for name in named)
    return (f"WHERE {where}" if where else "", tuple(named.values()))


def who(owner: str) -> str:
    return "the process" if _is_local(owner) else f"the worker {owner.partition('@')[0]}"


def place_of(owner: str) -> str:
    """The name of the worker on another host that runs a job; empty: it runs here."""
    return "" if _is_local(owner) else owner.partition("@")[0]


def _is_local(owner: str) -> bool:
    """A worker on another host has a lease instead; see claims.py."""
    return owner.partition("@")[0].isdigit() or not owner


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
        owner=row["owner"],
        wanted_at=row["wanted_at"],
        security=bool(row["security"]),
        expected_seconds=row["expected_seconds"],
        expected_bytes=row["expected_bytes"],
        work=tuple(row["work"].split()),
        failure=row["failure"],
        superseded_at=row["superseded_at"],
        successor=bool(row["successor"]),
        not_before=row["not_before"],
        max_jobs=row["max_jobs"],
        peak_bytes=row["peak_bytes"],
        reasons=tuple(json.loads(row["reasons"])),
    )
