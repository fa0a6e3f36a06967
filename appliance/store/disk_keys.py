"""Keys of encrypted containers, as the store has them: sealed."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.store.database import Database


@dataclass(frozen=True)
class DiskKey:
    """One container's; times in seconds since the epoch, 0: never."""

    uuid: str
    mac: str
    name: str
    enrolled: str
    """SHA-256 of the machine's public key when it handed this over."""
    ask: str
    """SHA-256 of the secret that asks for it."""
    sealed: str
    recovery: str
    """Sealed; empty once it was shown."""
    made_at: float
    released_at: float = 0.0
    releases: int = 0
    shown_at: float = 0.0
    revoked: bool = False


class DiskKeys:
    def __init__(self, database: Database) -> None:
        self.database = database

    def replace(self, mac: str, keys: Sequence[DiskKey]) -> None:
        """Remember these of a machine, and no others."""
        with self.database.change():
            self.database.execute("DELETE FROM disk_key WHERE mac = ?", (mac,))
            for one in keys:
                self.database.execute(
                    "INSERT INTO disk_key (uuid, mac, name, enrolled, ask, sealed, recovery, made_at)"
                    " VALUES (?,?,?,?,?,?,?,?)",
                    (one.uuid, mac, one.name, one.enrolled, one.ask, one.sealed, one.recovery, one.made_at),
                )

    def get(self, uuid: str) -> DiskKey | None:
        row = self.database.row("SELECT * FROM disk_key WHERE uuid = ?", (uuid,))
        return DiskKey(**{**dict(row), "revoked": bool(row["revoked"])}) if row else None

    def of(self, mac: str) -> list[DiskKey]:
        rows = self.database.rows("SELECT uuid FROM disk_key WHERE mac = ? ORDER BY name", (mac,))
        return [found for row in rows if (found := self.get(row["uuid"]))]

    def released(self, uuid: str, *, now: float) -> None:
        self.database.execute(
            "UPDATE disk_key SET released_at = ?, releases = releases + 1 WHERE uuid = ?", (now, uuid)
        )

    def shown(self, mac: str, *, now: float) -> None:
        """From now on nobody is shown the recovery passphrases again."""
        self.database.execute("UPDATE disk_key SET recovery = '', shown_at = ? WHERE mac = ?", (now, mac))

    def revoke(self, mac: str, wanted: bool) -> None:
        self.database.execute("UPDATE disk_key SET revoked = ? WHERE mac = ?", (int(wanted), mac))
