"""Events: the timeline of a machine or a job, kept in the order they came."""

import json
import sqlite3
from collections.abc import Sequence

from appliance.model import Event
from appliance.store.database import Database

PER_SUBJECT = 5000
"""A machine in a boot loop must not fill the disk: its oldest events go."""

MOST_RECENT = 20_000
"""Three thousand machines that were switched on at once make so many until their installers speak."""
TOGETHER = 64
"""Rows of one statement. Other threads run while SQLite runs it: with one for each row they stop as often."""


class Events:
    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, event: Event) -> int:
        """Keep an event; its number."""
        return self.add_all((event,))

    def add_all(self, events: Sequence[Event]) -> int:
        """Keep some events, in their order, in one transaction; the number of the last, 0 without any."""
        last = 0
        subjects = sorted({event.subject for event in events})
        with self.database.change():
            for at in range(0, len(events), TOGETHER):
                part = events[at : at + TOGETHER]
                row = self.database.execute(
                    "INSERT INTO event (subject, at, stage, status, seconds, size_bytes, message) VALUES "
                    + ",".join(["(?,?,?,?,?,?,?)"] * len(part)),
                    [value for event in part for value in _values(event)],
                )
                last = int(row.lastrowid or 0)
            self.database.execute(
                "DELETE FROM event WHERE id IN (SELECT old.id FROM json_each(?) AS one JOIN event AS old"
                " ON old.subject = one.value AND old.id <= (SELECT id FROM event WHERE subject = one.value"
                " ORDER BY id DESC LIMIT 1 OFFSET ?))",
                (json.dumps(subjects), PER_SUBJECT),
            )
        return last

    def forget(self, subject: str) -> None:
        self.database.execute("DELETE FROM event WHERE subject = ?", (subject,))

    def messages(self, subject: str, stage: str, *, limit: int) -> list[str]:
        """The newest first."""
        rows = self.database.rows(
            "SELECT message FROM event WHERE subject = ? AND stage = ? ORDER BY id DESC LIMIT ?",
            (subject, stage, limit),
        )
        return [row["message"] for row in rows]

    def newest(self) -> int:
        """The number of the newest event of all, 0 when there is none."""
        row = self.database.row("SELECT max(id) AS id FROM event")
        return int(row["id"] or 0) if row else 0

    def after(self, subject: str, last: int = 0) -> list[tuple[int, Event]]:
        """The events of a subject that came after number `last`, with their numbers."""
        rows = self.database.rows(
            "SELECT * FROM event WHERE subject = ? AND id > ? ORDER BY id", (subject, last)
        )
        return [(row["id"], _event(row)) for row in rows]

    def page(self, subject: str, last: int, *, limit: int) -> list[tuple[int, Event]]:
        """Some events that came after number `last`, of a subject or, when it is empty, of all."""
        where, values = ("subject = ? AND", (subject,)) if subject else ("", ())
        rows = self.database.rows(
            f"SELECT * FROM event WHERE {where} id > ? ORDER BY id LIMIT ?", (*values, last, limit)
        )
        return [(row["id"], _event(row)) for row in rows]

    def since(self, at: float) -> list[Event]:
        """What happened from a time on, in its order: of very much only the newest."""
        newest = "SELECT * FROM event ORDER BY id DESC LIMIT ?"
        rows = self.database.rows(f"SELECT * FROM ({newest}) WHERE at >= ? ORDER BY id", (MOST_RECENT, at))
        return [_event(row) for row in rows]


def _event(row: sqlite3.Row) -> Event:
    return Event(
        subject=row["subject"],
        at=row["at"],
        stage=row["stage"],
        status=row["status"],
        seconds=row["seconds"],
        size_bytes=row["size_bytes"],
        message=row["message"],
    )


def _values(event: Event) -> tuple[str | float | int | None, ...]:
    return (
        event.subject,
        event.at,
        event.stage,
        event.status,
        event.seconds,
        event.size_bytes,
        event.message,
    )
