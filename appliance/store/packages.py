"""Packages of the pool: which build key made which file."""

import sqlite3
from collections.abc import Collection

from appliance.model import Package
from appliance.store.database import Database


class Packages:
    def __init__(self, database: Database) -> None:
        self.database = database

    def known(self, keys: Collection[str]) -> list[Package]:
        """Every package that was made under one of these build keys, the newest first."""
        found = [
            _package(row)
            for key in set(keys)
            for row in self.database.rows("SELECT * FROM package WHERE build_key = ?", (key,))
        ]
        return sorted(found, key=lambda one: (-one.built_at, one.sha256))

    def remember(self, package: Package) -> None:
        self.database.execute(
            "INSERT INTO package (sha256, cpv, build_id, size_bytes, build_key, built_at, index_entry)"
            " VALUES (?,?,?,?,?,?,?) ON CONFLICT (sha256) DO UPDATE SET build_key = excluded.build_key,"
            " index_entry = excluded.index_entry",
            (
                package.sha256,
                package.cpv,
                package.build_id,
                package.size_bytes,
                package.build_key,
                package.built_at,
                package.index_entry,
            ),
        )


def _package(row: sqlite3.Row) -> Package:
    return Package(
        sha256=row["sha256"],
        cpv=row["cpv"],
        build_id=row["build_id"],
        size_bytes=row["size_bytes"],
        build_key=row["build_key"],
        built_at=row["built_at"],
        index_entry=row["index_entry"],
    )
