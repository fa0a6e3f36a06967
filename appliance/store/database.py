"""One SQLite file: opened safely, migrated step by step, changed in transactions."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import Problem
from appliance.store.migrations import MIGRATIONS

BUSY_SECONDS = 30.0


class Database:
    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # Rows are only used by the thread that asked; the boot server calls from one event loop.
        self.connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute("PRAGMA foreign_keys = ON")
        self._migrate()

    def _migrate(self) -> None:
        with self.change():
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            if version > len(MIGRATIONS):
                self.connection.execute("ROLLBACK")
                raise Problem(
                    f"{self.path} has schema {version}, this DistServer knows up to {len(MIGRATIONS)}",
                    hint="start the newer DistServer that wrote it",
                )
            for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                for statement in statements:
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version = {number}")

    @property
    def changing(self) -> bool:
        """Whether a change is under way on this connection."""
        return self.connection.in_transaction

    @contextmanager
    def change(self) -> Iterator[None]:
        """All statements of the block happen, or none. Inside another change it is part of that one."""
        if self.changing:
            yield
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def copy(self, path: Path) -> None:
        """Write all that is committed into a new file; readers and writers go on meanwhile."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self.connection.backup(target)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        return self.connection.execute(statement, values).fetchall()

    def row(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.connection.execute(statement, values).fetchone()
        return found

    def stamp(self) -> tuple[int, int]:
        """Another value after anything was changed, by this connection or another; costs microseconds."""
        (others,) = self.connection.execute("PRAGMA data_version").fetchone()
        return int(others), self.connection.total_changes

    def close(self) -> None:
        self.connection.close()
