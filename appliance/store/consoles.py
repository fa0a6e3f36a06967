"""Consoles that are watched: until when, how it stands with each, and the last bytes of it."""

import sqlite3
from dataclasses import dataclass
from enum import Enum

from appliance.store.database import Database

TAIL_BYTES = 64 * 1024
"""Kept of what a console said; what came before is gone."""
WATCHED = "mac, until, who, state, said, size_bytes"


class WatchState(Enum):
    WANTED = "wanted"
    """The farm has not begun, or begins again."""
    READING = "reading"
    BUSY = "busy"
    """A person is on the line."""
    FAILED = "failed"
    """It could not be opened, or ended; it is tried again."""


@dataclass(frozen=True)
class Watch:
    """`until` in seconds since the epoch."""

    mac: str
    until: float
    who: str
    state: WatchState
    said: str
    size_bytes: int
    """All that ever came while it was watched."""


class Consoles:
    def __init__(self, database: Database) -> None:
        self.database = database

    def watch(self, mac: str, *, until: float, who: str) -> None:
        """Read a console until a time; in the past: no longer."""
        self.database.execute(
            "INSERT INTO console_watch (mac, until, who, state) VALUES (?,?,?,'wanted') ON CONFLICT (mac)"
            " DO UPDATE SET until = excluded.until, who = excluded.who",
            (mac, until, who),
        )

    def get(self, mac: str) -> Watch | None:
        row = self.database.row(f"SELECT {WATCHED} FROM console_watch WHERE mac = ?", (mac,))
        return _watch(row) if row else None

    def due(self, now: float) -> list[Watch]:
        """Those to be read now."""
        rows = self.database.rows(f"SELECT {WATCHED} FROM console_watch WHERE until > ? ORDER BY mac", (now,))
        return [_watch(row) for row in rows]

    def note(self, mac: str, state: WatchState, said: str = "") -> None:
        self.database.execute(
            "UPDATE console_watch SET state = ?, said = ? WHERE mac = ?", (state.value, said, mac)
        )

    def add(self, mac: str, data: bytes) -> None:
        """What came; only the last TAIL_BYTES of all are kept."""
        with self.database.change():
            tail = (self.tail(mac) + data)[-TAIL_BYTES:]
            self.database.execute(
                "UPDATE console_watch SET tail = ?, size_bytes = size_bytes + ? WHERE mac = ?",
                (tail, len(data), mac),
            )

    def tail(self, mac: str) -> bytes:
        row = self.database.row("SELECT tail FROM console_watch WHERE mac = ?", (mac,))
        return bytes(row["tail"]) if row else b""

    def forget(self, mac: str) -> None:
        self.database.execute("DELETE FROM console_watch WHERE mac = ?", (mac,))


def _watch(row: sqlite3.Row) -> Watch:
    return Watch(**dict(row) | {"state": WatchState(row["state"])})
