"""Plans: what the build of a profile from certain inputs was foreseen to take."""

from appliance.backlog import Expected
from appliance.store.database import Database


class Plans:
    """One for each profile: plans of older inputs are of no use."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, profile: str, inputs: str, seconds: float, peak_bytes: int) -> None:
        self.database.execute(
            "INSERT INTO plan (profile, inputs, seconds, peak_bytes) VALUES (?,?,?,?)"
            " ON CONFLICT (profile) DO UPDATE SET inputs = excluded.inputs, seconds = excluded.seconds,"
            " peak_bytes = excluded.peak_bytes",
            (profile, inputs, seconds, peak_bytes),
        )

    def get(self, profile: str, inputs: str) -> Expected | None:
        row = self.database.row("SELECT * FROM plan WHERE profile = ? AND inputs = ?", (profile, inputs))
        return Expected(row["seconds"], row["peak_bytes"]) if row else None
