"""Claims: who builds which package now, so that nobody else does at the same time."""

from collections.abc import Collection

from appliance.process import process_id
from appliance.store.database import Database


class Claims:
    """A claim ends with its process, or for a worker on another host when its lease is not renewed."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take(
        self, keys: Collection[str], owner: str, *, now: float, until: float | None = None
    ) -> dict[str, str]:
        """Claim all of these build keys or none; returns who has the others: build key -> owner.

        `until` is a lease; without one the owner is a process here. All or none: two builds never wait for
        each other.
        """
        with self.database.change():
            self._forget_dead(now)
            held = {
                key: str(row["owner"])
                for key in sorted(keys)
                for row in self.database.rows("SELECT owner FROM claim WHERE build_key = ?", (key,))
            }
            others = {key: one for key, one in held.items() if one != owner}
            if not others:
                for key in keys:
                    self.database.execute(
                        "INSERT INTO claim (build_key, owner, until) VALUES (?, ?, ?)"
                        " ON CONFLICT (build_key) DO UPDATE SET until = excluded.until",
                        (key, owner, until),
                    )
            return others

    def renew(self, owner: str, *, until: float) -> None:
        self.database.execute("UPDATE claim SET until = ? WHERE owner = ?", (until, owner))

    def release(self, owner: str) -> None:
        self.database.execute("DELETE FROM claim WHERE owner = ?", (owner,))

    def _forget_dead(self, now: float) -> None:
        self.database.execute("DELETE FROM claim WHERE until < ?", (now,))
        for row in self.database.rows("SELECT DISTINCT owner FROM claim WHERE until IS NULL"):
            if process_id(row["owner"]) is None:
                self.release(row["owner"])
