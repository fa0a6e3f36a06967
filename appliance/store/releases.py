"""Releases and channels: what was sealed, and what a profile's machines get."""

import sqlite3

from appliance.model import Release
from appliance.store.database import Database


class Releases:
    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, release: str) -> Release | None:
        row = self.database.row("SELECT * FROM release WHERE id = ?", (release,))
        return _release(row) if row else None

    def all(self, profile: str | None = None) -> list[Release]:
        """Newest first."""
        rows = self.database.rows(
            "SELECT * FROM release WHERE ? IS NULL OR profile = ? ORDER BY created_at DESC, id",
            (profile, profile),
        )
        return [_release(row) for row in rows]

    def publish(self, release: Release, channel: str, *, now: float) -> None:
        """Remember a sealed release and move the channel to it, in one step."""
        with self.database.change():
            self.database.execute(
                "INSERT INTO release (id, profile, created_at, snapshot, packages, size_bytes)"
                " VALUES (?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
                (
                    release.id,
                    release.profile,
                    release.created_at,
                    release.snapshot,
                    release.packages,
                    release.size_bytes,
                ),
            )
            self.database.execute(
                "INSERT INTO channel (profile, name, release, moved_at) VALUES (?,?,?,?)"
                " ON CONFLICT (profile, name) DO UPDATE SET release = excluded.release,"
                " moved_at = excluded.moved_at",
                (release.profile, channel, release.id, now),
            )

    def channel(self, profile: str, name: str) -> str | None:
        """The id of the release the channel points at."""
        row = self.database.row("SELECT release FROM channel WHERE profile = ? AND name = ?", (profile, name))
        return str(row["release"]) if row else None

    def channels(self) -> dict[str, list[tuple[str, str]]]:
        """Release id -> the (profile, channel) pairs that point at it."""
        found: dict[str, list[tuple[str, str]]] = {}
        for row in self.database.rows("SELECT profile, name, release FROM channel ORDER BY profile, name"):
            found.setdefault(row["release"], []).append((row["profile"], row["name"]))
        return found


def _release(row: sqlite3.Row) -> Release:
    return Release(
        id=row["id"],
        profile=row["profile"],
        created_at=row["created_at"],
        snapshot=row["snapshot"],
        packages=row["packages"],
        size_bytes=row["size_bytes"],
    )
