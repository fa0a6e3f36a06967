"""Plans that persons asked for: of each profile the last one, whole."""

import json
import zlib
from dataclasses import dataclass
from typing import Any

from appliance.store.database import Database


@dataclass(frozen=True)
class PlanRecord:
    profile: str
    inputs: str
    """What it was made from; the profile's inputs are others by now when it is out of date."""
    at: float
    who: str
    seconds: float
    """What the build will probably take from its beginning to its end."""
    document: Any
    """Plain JSON, as PlanView.document() makes it."""


class PlanViews:
    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, record: PlanRecord) -> None:
        document = zlib.compress(json.dumps(record.document).encode())
        self.database.execute(
            "INSERT OR REPLACE INTO plan_view (profile, inputs, at, who, seconds, document)"
            " VALUES (?,?,?,?,?,?)",
            (record.profile, record.inputs, record.at, record.who, record.seconds, document),
        )

    def get(self, profile: str) -> PlanRecord | None:
        row = self.database.row("SELECT * FROM plan_view WHERE profile = ?", (profile,))
        if row is None:
            return None
        known = {name: row[name] for name in ("profile", "inputs", "at", "who", "seconds")}
        return PlanRecord(**known, document=json.loads(zlib.decompress(row["document"])))
