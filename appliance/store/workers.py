"""Workers on other hosts: which there are, and when each was last heard of."""

from appliance.store.database import Database

ALIVE_SECONDS = 60.0
FORGET_SECONDS = 7 * 24 * 3600.0


class Workers:
    def __init__(self, database: Database) -> None:
        self.database = database

    def seen(self, name: str, *, now: float) -> None:
        with self.database.change():
            self.database.execute(
                "INSERT INTO worker (name, seen_at) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at",
                (name, now),
            )
            self.database.execute("DELETE FROM worker WHERE seen_at < ?", (now - FORGET_SECONDS,))

    def alive(self, *, now: float) -> list[str]:
        """Names of those heard of lately; a clock that went back makes nobody old."""
        rows = self.database.rows(
            "SELECT name FROM worker WHERE seen_at > ? ORDER BY name", (now - ALIVE_SECONDS,)
        )
        return [str(row["name"]) for row in rows]
