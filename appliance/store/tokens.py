"""Tokens: one-time permissions, kept as hashes."""

import hashlib
import secrets

from appliance.store.database import Database

TOKEN_BYTES = 16


class Tokens:
    def __init__(self, database: Database) -> None:
        self.database = database

    def issue(self, mac: str, purpose: str, *, now: float, lifetime_seconds: float) -> str:
        """A new token; every earlier one of this machine and purpose is void."""
        token = secrets.token_hex(TOKEN_BYTES)
        with self.database.change():
            self.revoke(mac, purpose)
            self.database.execute(
                "INSERT INTO token (hash, mac, purpose, issued_at, expires_at) VALUES (?,?,?,?,?)",
                (hash_of(token), mac, purpose, now, now + lifetime_seconds),
            )
        return token

    def revoke(self, mac: str, purpose: str) -> None:
        self.database.execute("DELETE FROM token WHERE mac = ? AND purpose = ?", (mac, purpose))

    def revoke_all(self, mac: str) -> None:
        """Those of every purpose."""
        self.database.execute("DELETE FROM token WHERE mac = ?", (mac,))

    def owner(self, token: str, purpose: str, *, now: float) -> str | None:
        """The machine it was issued to, if it is still good; it stays good."""
        row = self.database.row(
            "SELECT mac FROM token WHERE hash = ? AND purpose = ? AND used_at IS NULL AND expires_at > ?",
            (hash_of(token), purpose, now),
        )
        return str(row["mac"]) if row else None

    def use(self, token: str, purpose: str, *, now: float) -> str | None:
        """Like owner(), and burns it: of two who come with the same token one gets None."""
        with self.database.change():
            mac = self.owner(token, purpose, now=now)
            if mac:
                self.database.execute("UPDATE token SET used_at = ? WHERE hash = ?", (now, hash_of(token)))
            return mac

    def was_used(self, token: str, purpose: str) -> str | None:
        """The machine of a token that was burned already: somebody comes a second time."""
        row = self.database.row(
            "SELECT mac FROM token WHERE hash = ? AND purpose = ? AND used_at IS NOT NULL",
            (hash_of(token), purpose),
        )
        return str(row["mac"]) if row else None


def hash_of(token: str) -> str:
    """All that is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
