"""Contents of configuration files by their hash: what machines sent for questions, and results."""

from appliance.store.database import Database
from appliance.store.merges import NAMED


class Contents:
    """In the store itself: boot and web may write nothing else, and a question and its contents go together.

    Files of a few KiB are read from SQLite faster than from a directory (sqlite.org/fasterthanfs.html).
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, sha256: str) -> bytes | None:
        row = self.database.row("SELECT content FROM merge_blob WHERE sha256 = ?", (sha256,))
        return bytes(row["content"]) if row else None

    def has(self, sha256: str) -> bool:
        return self.database.row("SELECT 1 FROM merge_blob WHERE sha256 = ?", (sha256,)) is not None

    def put(self, sha256: str, content: bytes, *, machine: str, now: float) -> None:
        self.database.execute(
            "INSERT INTO merge_blob (sha256, content, machine, at) VALUES (?,?,?,?)"
            " ON CONFLICT (sha256) DO NOTHING",
            (sha256, content, machine, now),
        )

    def bytes_of(self, machine: str | None = None) -> int:
        """Of all there are, or of those that one machine sent."""
        row = self.database.row(
            "SELECT coalesce(sum(length(content)), 0) FROM merge_blob WHERE ? IS NULL OR machine = ?",
            (machine, machine),
        )
        return int(row[0]) if row else 0

    def unnamed(self) -> list[tuple[str, int]]:
        """(hash, bytes) of those that no question or decision names."""
        rows = self.database.rows(
            "SELECT sha256, length(content) AS size FROM merge_blob"
            f" WHERE sha256 NOT IN ({NAMED}) ORDER BY sha256"
        )
        return [(str(row["sha256"]), int(row["size"])) for row in rows]

    def sweep(self) -> int:
        """Remove those."""
        return self.database.execute(f"DELETE FROM merge_blob WHERE sha256 NOT IN ({NAMED})").rowcount

    def forget(self, sha256: str) -> None:
        """Remove one, unless it is named meanwhile."""
        self.database.execute(
            f"DELETE FROM merge_blob WHERE sha256 = ? AND sha256 NOT IN ({NAMED})", (sha256,)
        )

    def named(self) -> set[str]:
        """Every hash that a question or decision names; their pristine files stay in the pool."""
        return {str(row[0]) for row in self.database.rows(NAMED)}
