"""Questions: what only a person can decide, since when, and whether it still has to be."""

import sqlite3
from collections.abc import Iterable

from appliance.farm_model import OpenQuestion
from appliance.store.database import Database


class Questions:
    def __init__(self, database: Database) -> None:
        self.database = database

    def update(self, profile: str, asked: Iterable[tuple[str, str, str, str]], *, now: float) -> None:
        """What a profile's newest plan asks: (kind, subject, text, suggestion) each.

        One that is open already keeps the time it was first asked; one that is asked no more is closed.
        """
        with self.database.change():
            settled = {(one.kind, one.subject) for one in self.open(profile)}
            for kind, subject, text, suggestion in asked:
                settled.discard((kind, subject))
                self.database.execute(
                    "INSERT INTO question (profile, kind, subject, text, suggestion, first_at, last_at)"
                    " VALUES (?,?,?,?,?,?,?)"
                    " ON CONFLICT (profile, kind, subject) WHERE closed_at IS NULL DO UPDATE SET"
                    " text = excluded.text, suggestion = excluded.suggestion, last_at = excluded.last_at",
                    (profile, kind, subject, text, suggestion, now, now),
                )
            for kind, subject in sorted(settled):
                self.database.execute(
                    "UPDATE question SET closed_at = ?"
                    " WHERE profile = ? AND kind = ? AND subject = ? AND closed_at IS NULL",
                    (now, profile, kind, subject),
                )

    def open(self, profile: str | None = None) -> list[OpenQuestion]:
        """The oldest first."""
        rows = self.database.rows(
            "SELECT * FROM question WHERE closed_at IS NULL AND (? IS NULL OR profile = ?)"
            " ORDER BY first_at, id",
            (profile, profile),
        )
        return [_question(row) for row in rows]

    def closed(self, profile: str | None = None, limit: int = 50) -> list[OpenQuestion]:
        """What was asked once; the last that was settled first."""
        rows = self.database.rows(
            "SELECT * FROM question WHERE closed_at IS NOT NULL AND (? IS NULL OR profile = ?)"
            " ORDER BY closed_at DESC, id LIMIT ?",
            (profile, profile, limit),
        )
        return [_question(row) for row in rows]


def _question(row: sqlite3.Row) -> OpenQuestion:
    return OpenQuestion(
        profile=row["profile"],
        kind=row["kind"],
        subject=row["subject"],
        text=row["text"],
        suggestion=row["suggestion"],
        first_at=row["first_at"],
        last_at=row["last_at"],
        closed_at=row["closed_at"],
    )
