"""Builds that a person wants now, whether or not anything changed."""

from appliance.farm_model import BuildRequest
from appliance.store.database import Database


class BuildRequests:
    """One for each profile, until a build of it begins."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, request: BuildRequest) -> None:
        """The newest one of a profile stands; its number is higher than all before."""
        self.database.execute(
            "INSERT OR REPLACE INTO build_request (profile, at, who, why) VALUES (?,?,?,?)",
            (request.profile, request.at, request.who, request.why),
        )

    def get(self, profile: str) -> BuildRequest | None:
        row = self.database.row(
            "SELECT profile, at, who, why FROM build_request WHERE profile = ?", (profile,)
        )
        return BuildRequest(**dict(row)) if row else None

    def newest(self) -> int:
        """Number of the last one that waits; 0 when none does."""
        row = self.database.row("SELECT max(id) AS id FROM build_request")
        return int(row["id"] or 0) if row else 0

    def remove(self, profile: str) -> None:
        self.database.execute("DELETE FROM build_request WHERE profile = ?", (profile,))
