"""The audit log: who changed what, when. Lines are added, and SQLite refuses everything else."""

import sqlite3

from appliance.account_model import Note
from appliance.store.database import Database

LONGEST_DETAIL = 2000


class Audit:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.who = "server"
        """Who acts by this store when nobody else is named: `cli ann`, `web ann`, `farm`, `boot`."""

    def add(self, at: float, who: str | None, action: str, subject: str, detail: str = "") -> None:
        self.database.execute(
            "INSERT INTO audit (at, who, action, subject, detail) VALUES (?,?,?,?,?)",
            (at, who or self.who, action, subject, detail[:LONGEST_DETAIL]),
        )

    def page(
        self,
        *,
        who: str = "",
        action: str = "",
        subject: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> list[Note]:
        """The newest lines first; each filter that is not empty must be met. `before`: only older lines."""
        wanted = [(name, value) for name, value in (("who", who), ("action", action), ("subject", subject))]
        terms = [f"{name} = ?" for name, value in wanted if value]
        values: list[str | int] = [value for _, value in wanted if value]
        if before is not None:
            terms.append("id < ?")
            values.append(before)
        where = f"WHERE {' AND '.join(terms)}" if terms else ""
        rows = self.database.rows(f"SELECT * FROM audit {where} ORDER BY id DESC LIMIT ?", (*values, limit))
        return [_note(row) for row in rows]

    def actions(self) -> list[str]:
        """Every kind of action there is in the log."""
        return [
            str(row["action"]) for row in self.database.rows("SELECT DISTINCT action FROM audit ORDER BY 1")
        ]


def _note(row: sqlite3.Row) -> Note:
    return Note(row["id"], row["at"], row["who"], row["action"], row["subject"], row["detail"])
