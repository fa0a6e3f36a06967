"""Snapshots: which one of each repository is current, and what became of the last synchronisation."""

import sqlite3

from appliance.farm_model import RepositoryState
from appliance.store.database import Database


class Snapshots:
    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, name: str) -> RepositoryState | None:
        row = self.database.row("SELECT * FROM repository WHERE name = ?", (name,))
        return _state(row) if row else None

    def all(self) -> dict[str, RepositoryState]:
        return {row["name"]: _state(row) for row in self.database.rows("SELECT * FROM repository")}

    def succeeded(
        self, name: str, *, source: str, revision: str, image: str, validator: str, now: float
    ) -> bool:
        """Make a snapshot the current one; True when it is another one than before."""
        with self.database.change():
            before = self.get(name) or RepositoryState(name)
            changed = (before.revision, before.image) != (revision, image)
            self.database.execute(
                "INSERT INTO repository"
                " (name, source, revision, image, validator, tried_at, succeeded_at, changed_at)"
                " VALUES (?,?,?,?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET source = excluded.source,"
                " revision = excluded.revision, image = excluded.image, validator = excluded.validator,"
                " tried_at = excluded.tried_at, succeeded_at = excluded.succeeded_at,"
                " changed_at = excluded.changed_at, problem = ''",
                (name, source, revision, image, validator, now, now, now if changed else before.changed_at),
            )
        return changed

    def failed(self, name: str, *, problem: str, now: float) -> None:
        """Note that nothing changed and why; the current snapshot stays what it is."""
        self.database.execute(
            "INSERT INTO repository (name, tried_at, problem) VALUES (?,?,?)"
            " ON CONFLICT (name) DO UPDATE SET tried_at = excluded.tried_at, problem = excluded.problem",
            (name, now, problem),
        )


def _state(row: sqlite3.Row) -> RepositoryState:
    return RepositoryState(**{key: row[key] for key in row.keys()})  # noqa: SIM118 - a Row iterates values
