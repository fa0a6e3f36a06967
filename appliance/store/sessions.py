"""Browsers that are signed in, by the hash of their secret."""

import sqlite3

from appliance.account_model import IDLE_SECONDS, SESSION_SECONDS, Session
from appliance.store.database import Database


class Sessions:
    def __init__(self, database: Database) -> None:
        self.database = database

    def begin(self, one: Session) -> None:
        with self.database.change():
            self.database.execute(
                "DELETE FROM web_session WHERE seen_at < ? OR started_at < ?",
                (one.started_at - IDLE_SECONDS, one.started_at - SESSION_SECONDS),
            )
            self.database.execute(
                "INSERT INTO web_session (hash, account, started_at, seen_at, address, browser)"
                " VALUES (?,?,?,?,?,?)",
                (one.hash, one.account, one.started_at, one.seen_at, one.address, one.browser),
            )

    def get(self, hashed: str) -> Session | None:
        row = self.database.row("SELECT * FROM web_session WHERE hash = ?", (hashed,))
        return _session(row) if row else None

    def of(self, account: str) -> list[Session]:
        """The newest first."""
        rows = self.database.rows(
            "SELECT * FROM web_session WHERE account = ? ORDER BY started_at DESC", (account,)
        )
        return [_session(row) for row in rows]

    def touch(self, hashed: str, *, now: float) -> None:
        self.database.execute("UPDATE web_session SET seen_at = ? WHERE hash = ?", (now, hashed))

    def end(self, account: str, hashed: str) -> bool:
        """False when the account has no such session."""
        row = self.database.execute(
            "DELETE FROM web_session WHERE account = ? AND hash = ?", (account, hashed)
        )
        return row.rowcount == 1

    def end_all(self, account: str) -> int:
        return self.database.execute("DELETE FROM web_session WHERE account = ?", (account,)).rowcount


def _session(row: sqlite3.Row) -> Session:
    return Session(
        row["hash"], row["account"], row["started_at"], row["seen_at"], row["address"], row["browser"]
    )
