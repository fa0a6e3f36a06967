"""Packages of the pool: which build key made which file, from what, for whom, and what it cost."""

import json
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, fields

from appliance.farm_model import Figures, Package
from appliance.store.database import Database

COLUMNS = tuple(field.name for field in fields(Package))
AT_ONCE = 400
"""Keys in one statement; SQLite may be built to take no more than 999 values."""


class Packages:
    def __init__(self, database: Database) -> None:
        self.database = database

    def known(self, keys: Collection[str]) -> list[Package]:
        """Every package with one of these as its build key or its neutral key, the newest first."""
        found = {
            row["sha256"]: _package(row)
            for some in _chunks(sorted(set(keys) - {""}))
            for column in ("build_key", "neutral_key")
            for row in self.database.rows(
                f"SELECT {_LIST} FROM package WHERE {column} IN ({_marks(some)})", some
            )
        }
        return sorted(found.values(), key=lambda one: (-one.built_at, one.sha256))

    def remote_share(self, *, since: float) -> float | None:
        """The part of the building time since then that compile hosts took; None when nothing was built."""
        row = self.database.row(
            "SELECT sum(seconds) AS seconds, sum(seconds * remote_share) AS remote FROM package"
            " WHERE built_at >= ?",
            (since,),
        )
        return row["remote"] / row["seconds"] if row and row["seconds"] else None

    def remember(self, package: Package, parts: Mapping[str, str] | None = None) -> None:
        """Note a package and what decided about it; noting it again replaces what was noted."""
        recipe = zlib.compress(json.dumps(parts, sort_keys=True).encode()) if parts else None
        values = asdict(package)
        updates = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "sha256")
        self.database.execute(
            f"INSERT INTO package ({_LIST}, recipe) VALUES ({_marks(COLUMNS)}, ?)"
            f" ON CONFLICT (sha256) DO UPDATE SET {updates}, recipe = coalesce(excluded.recipe, recipe)",
            (*(values[name] for name in COLUMNS), recipe),
        )

    def measured(self, sha256: str, figures: Figures) -> None:
        """Note what its build took, once that is known; what was not measured stays as it was noted."""
        values = {name: value for name, value in asdict(figures).items() if value}
        if values:
            settings = ", ".join(f"{name} = ?" for name in values)
            self.database.execute(
                f"UPDATE package SET {settings} WHERE sha256 = ?", (*values.values(), sha256)
            )

    def forget(self, sha256: str) -> None:
        """Its file is gone or damaged: whoever needs it builds it again."""
        self.database.execute("DELETE FROM package WHERE sha256 = ?", (sha256,))

    def recipe(self, sha256: str) -> dict[str, str]:
        """The parts that decided about a package; empty for one that was noted without them."""
        row = self.database.row("SELECT recipe FROM package WHERE sha256 = ?", (sha256,))
        if row is None or row["recipe"] is None:
            return {}
        parts: dict[str, str] = json.loads(zlib.decompress(row["recipe"]))
        return parts

    def last(self, name: str) -> list[Package]:
        """The packages of one `category/name`, whatever the version, the newest first."""
        rows = self.database.rows(
            f"SELECT {_LIST} FROM package WHERE substr(cpv, 1, ?) = ? ORDER BY built_at DESC, sha256",
            (len(name) + 1, f"{name}-"),
        )
        return [_package(row) for row in rows]

    def newest_of(self, name: str, *, before: float, but: str = "") -> Package | None:
        """The last package of one `category/name` that was built before then; `but`: not this sha256."""
        # A version begins with a digit (PMS 3.2), so this is a range of the index of cpv.
        row = self.database.row(
            f"SELECT {_LIST} FROM package WHERE cpv >= ? AND cpv < ? AND built_at < ? AND sha256 != ?"
            " ORDER BY built_at DESC, sha256 LIMIT 1",
            (f"{name}-0", f"{name}-:", before, but),
        )
        return _package(row) if row else None

    def get(self, sha256: str) -> Package | None:
        row = self.database.row(f"SELECT {_LIST} FROM package WHERE sha256 = ?", (sha256,))
        return _package(row) if row else None

    def find(self, text: str) -> list[Package]:
        """By the beginning of the sha256, `category/name-1`, `category/name` or `name`; the newest first."""
        rows = self.database.rows(
            f"SELECT {_LIST} FROM package WHERE substr(sha256, 1, ?) = ? OR cpv = ?"
            " OR cpv GLOB ? OR cpv GLOB ? OR cpv GLOB ? ORDER BY built_at DESC, sha256",
            (
                len(text),
                text,
                text,
                f"{_plain(text)}-[0-9]*",
                f"*/{_plain(text)}",
                f"*/{_plain(text)}-[0-9]*",
            ),
        )
        return [_package(row) for row in rows]


_LIST = ", ".join(COLUMNS)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), AT_ONCE):
        yield keys[start : start + AT_ONCE]


def _plain(text: str) -> str:
    """Text in which GLOB has no wildcards."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _package(row: sqlite3.Row) -> Package:
    return Package(**{name: row[name] for name in COLUMNS})
