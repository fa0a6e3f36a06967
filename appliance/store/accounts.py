"""Accounts and their API tokens. Of passwords and tokens only hashes are kept."""

import sqlite3

from appliance.account_model import Account, ApiToken, Role
from appliance.store.database import Database


class Accounts:
    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self) -> list[Account]:
        return [_account(row) for row in self.database.rows("SELECT * FROM account ORDER BY name")]

    def get(self, name: str) -> Account | None:
        row = self.database.row("SELECT * FROM account WHERE name = ?", (name,))
        return _account(row) if row else None

    def password(self, name: str) -> str:
        """Its argon2 hash; empty when the account has none, may not sign in, or does not exist."""
        row = self.database.row("SELECT password FROM account WHERE name = ? AND NOT disabled", (name,))
        return str(row["password"]) if row else ""

    def add(self, name: str, role: Role, *, now: float) -> bool:
        """False when there is one with this name."""
        row = self.database.execute(
            "INSERT OR IGNORE INTO account (name, role, created_at) VALUES (?,?,?)", (name, role.value, now)
        )
        return row.rowcount == 1

    def set_role(self, name: str, role: Role) -> None:
        self.database.execute("UPDATE account SET role = ? WHERE name = ?", (role.value, name))

    def set_disabled(self, name: str, disabled: bool) -> None:
        self.database.execute("UPDATE account SET disabled = ? WHERE name = ?", (int(disabled), name))

    def set_password(self, name: str, hashed: str) -> None:
        self.database.execute("UPDATE account SET password = ? WHERE name = ?", (hashed, name))

    def add_token(
        self, hashed: str, account: str, label: str, scope: Role, *, now: float, ends: float
    ) -> int:
        """Its number."""
        row = self.database.execute(
            "INSERT INTO api_token (hash, account, label, scope, created_at, expires_at)"
            " VALUES (?,?,?,?,?,?)",
            (hashed, account, label, scope.value, now, ends),
        )
        return int(row.lastrowid or 0)

    def token(self, hashed: str) -> ApiToken | None:
        row = self.database.row("SELECT * FROM api_token WHERE hash = ?", (hashed,))
        return _token(row) if row else None

    def tokens(self, account: str) -> list[ApiToken]:
        rows = self.database.rows("SELECT * FROM api_token WHERE account = ? ORDER BY id", (account,))
        return [_token(row) for row in rows]

    def touch_token(self, number: int, *, now: float) -> None:
        self.database.execute("UPDATE api_token SET used_at = ? WHERE id = ?", (now, number))

    def end_token(self, account: str, number: int) -> bool:
        """False when the account has no such token."""
        row = self.database.execute("DELETE FROM api_token WHERE account = ? AND id = ?", (account, number))
        return row.rowcount == 1


def _account(row: sqlite3.Row) -> Account:
    return Account(
        row["name"], Role(row["role"]), bool(row["disabled"]), bool(row["password"]), row["created_at"]
    )


def _token(row: sqlite3.Row) -> ApiToken:
    return ApiToken(
        row["id"],
        row["account"],
        row["label"],
        Role(row["scope"]),
        row["created_at"],
        row["expires_at"],
        row["used_at"],
    )
