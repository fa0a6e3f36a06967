"""Changes of profiles' files: asked for by a person, made by the farm one at a time, the last ones kept."""

import sqlite3
from dataclasses import dataclass
from enum import Enum

from appliance.edit_model import Change
from appliance.process import own_name, process_id
from appliance.store.database import Database

KEPT = 200
"""Changes that are remembered; what was written is in the site, what was not is kept with its text."""


class EditState(Enum):
    WANTED = "wanted"
    DOING = "doing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Edit:
    """Times in seconds since the epoch. The contents of one that was made are in the site, not here."""

    id: int
    change: Change
    who: str
    why: str
    state: EditState
    wanted_at: float
    ended_at: float | None
    tries: int
    said: str
    """What came of it, in a sentence."""

    @property
    def is_open(self) -> bool:
        return self.state in (EditState.WANTED, EditState.DOING)


class Edits:
    def __init__(self, database: Database) -> None:
        self.database = database

    def want(self, change: Change, *, who: str, why: str, now: float) -> int:
        with self.database.change():
            made = self.database.execute(
                "INSERT INTO site_edit (profile, name, base, content, who, why, state, wanted_at)"
                " VALUES (?,?,?,?,?,?,'wanted',?)",
                (change.profile, change.name, change.base, change.content, who, why, now),
            )
            number = int(made.lastrowid or 0)
            self.database.execute(
                "DELETE FROM site_edit WHERE id <= ? AND state IN ('done', 'failed')", (number - KEPT,)
            )
            return number

    def begin(self) -> Edit | None:
        """Make the first one that waits this process's own; None while another one is made."""
        rows = self.database.rows(
            "UPDATE site_edit SET state = 'doing', owner = ?, tries = tries + 1"
            " WHERE id = (SELECT min(id) FROM site_edit WHERE state = 'wanted')"
            " AND NOT EXISTS (SELECT 1 FROM site_edit WHERE state = 'doing') RETURNING *",
            (own_name(),),
        )
        return _edit(rows[0]) if rows else None

    def end(self, number: int, state: EditState, said: str, *, now: float) -> None:
        texts = ", base = NULL, content = NULL" if state is EditState.DONE else ""
        self.database.execute(
            f"UPDATE site_edit SET state = ?, said = ?, ended_at = ?, owner = ''{texts}"
            " WHERE id = ? AND state = 'doing'",
            (state.value, said, now, number),
        )

    def interrupt(self, *, now: float, most_tries: int) -> None:
        """What a process that is gone was making waits again: making it twice changes nothing more.

        So does what this process began and could not end: it makes one at a time.
        """
        for row in self.database.rows("SELECT id, owner, tries FROM site_edit WHERE state = 'doing'"):
            if row["owner"] != own_name() and process_id(row["owner"]) is not None:
                continue
            if row["tries"] >= most_tries:
                said = (
                    f"the process that wrote it ended {row['tries']} times without a word; look at the file"
                )
                self.end(row["id"], EditState.FAILED, said, now=now)
                continue
            self.database.execute(
                "UPDATE site_edit SET state = 'wanted', owner = '' WHERE id = ? AND state = 'doing'",
                (row["id"],),
            )

    def get(self, number: int) -> Edit | None:
        row = self.database.row("SELECT * FROM site_edit WHERE id = ?", (number,))
        return _edit(row) if row else None

    def last(self, profile: str, *, limit: int) -> list[Edit]:
        """The newest ones of a profile first."""
        rows = self.database.rows(
            "SELECT * FROM site_edit WHERE profile = ? ORDER BY id DESC LIMIT ?", (profile, limit)
        )
        return [_edit(row) for row in rows]


def _edit(row: sqlite3.Row) -> Edit:
    change = Change(row["profile"], row["name"], row["base"], row["content"])
    names = ("id", "who", "why", "wanted_at", "ended_at", "tries", "said")
    return Edit(change=change, state=EditState(row["state"]), **{name: row[name] for name in names})
