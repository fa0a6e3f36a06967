"""Rollouts: how far the release of each channel is on its way to the machines."""

import json
import sqlite3

from appliance.client_order import Rollout, RolloutState
from appliance.store.database import Database

NAMES = (
    "profile", "channel", "release", "serial", "state", "began_at", "spread_at", "canaries", "why", "who",
)  # fmt: skip


class Rollouts:
    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, profile: str, channel: str) -> Rollout | None:
        row = self.database.row("SELECT * FROM rollout WHERE profile = ? AND channel = ?", (profile, channel))
        return _rollout(row) if row else None

    def all(self, profile: str = "") -> list[Rollout]:
        rows = self.database.rows(
            "SELECT * FROM rollout WHERE ? IN ('', profile) ORDER BY profile, channel", (profile,)
        )
        return [_rollout(row) for row in rows]

    def stopped(self) -> list[Rollout]:
        rows = self.database.rows("SELECT * FROM rollout WHERE state = 'stopped' ORDER BY profile, channel")
        return [_rollout(row) for row in rows]

    def put(self, one: Rollout) -> None:
        """In place of the one before of the same channel."""
        values = {name: getattr(one, name) for name in NAMES}
        values |= {"state": one.state.value, "canaries": json.dumps(one.canaries)}
        marks = ",".join("?" for _ in NAMES)
        self.database.execute(
            f"INSERT OR REPLACE INTO rollout ({', '.join(NAMES)}) VALUES ({marks})", tuple(values.values())
        )


def _rollout(row: sqlite3.Row) -> Rollout:
    values = {name: row[name] for name in NAMES}
    values |= {"state": RolloutState(row["state"]), "canaries": tuple(json.loads(row["canaries"]))}
    return Rollout(**values)
