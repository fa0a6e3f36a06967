"""Masks: versions of packages that a person keeps out of a profile."""

import sqlite3

from appliance.farm_model import Mask, MaskKind
from appliance.store.database import Database


class Masks:
    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, mask: Mask) -> None:
        """One for each subject of a profile: a new one takes the place of that before."""
        self.database.execute(
            "INSERT OR REPLACE INTO mask (profile, subject, kind, atoms, stays, at, who, why)"
            " VALUES (?,?,?,?,?,?,?,?)",
            (
                mask.profile,
                mask.subject,
                mask.kind.value,
                " ".join(mask.atoms),
                mask.stays,
                mask.at,
                mask.who,
                mask.why,
            ),
        )

    def get(self, profile: str, subject: str) -> Mask | None:
        row = self.database.row("SELECT * FROM mask WHERE profile = ? AND subject = ?", (profile, subject))
        return _mask(row) if row else None

    def all(self, profile: str = "") -> list[Mask]:
        """By profile and subject; of all profiles when none is named."""
        rows = self.database.rows(
            "SELECT * FROM mask WHERE ? = '' OR profile = ? ORDER BY profile, subject", (profile, profile)
        )
        return [_mask(row) for row in rows]

    def remove(self, profile: str, subject: str) -> None:
        self.database.execute("DELETE FROM mask WHERE profile = ? AND subject = ?", (profile, subject))


def _mask(row: sqlite3.Row) -> Mask:
    known = {name: row[name] for name in ("profile", "subject", "stays", "at", "who", "why")}
    return Mask(**known, kind=MaskKind(row["kind"]), atoms=tuple(row["atoms"].split()))
