"""Failures: which packages did not build, why and how often; and which stay at an older version."""

import sqlite3
from collections.abc import Iterable, Mapping

from appliance.farm_model import FailureKind, FailureRecord, Held
from appliance.store.database import Database


class Failures:
    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, failure: FailureRecord) -> None:
        """Note a failure; one more under the same key counts up and keeps the time of the first."""
        self.database.execute(
            "INSERT INTO failure"
            " (profile, cpv, build_key, kind, evidence, log, tail, count, first_at, last_at)"
            " VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (profile, cpv, build_key) DO UPDATE SET"
            " kind = excluded.kind, evidence = excluded.evidence, log = excluded.log, tail = excluded.tail,"
            " count = count + 1, last_at = excluded.last_at",
            (
                failure.profile,
                failure.cpv,
                failure.build_key,
                failure.kind.value,
                failure.evidence,
                failure.log,
                failure.tail,
                failure.count,
                failure.first_at,
                failure.last_at,
            ),
        )

    def all(self, profile: str | None = None) -> list[FailureRecord]:
        """The last that failed first."""
        rows = self.database.rows(
            "SELECT * FROM failure WHERE ? IS NULL OR profile = ? ORDER BY last_at DESC, profile, cpv",
            (profile, profile),
        )
        return [_failure(row) for row in rows]

    def newest(self, limit: int) -> tuple[list[FailureRecord], int]:
        """The last ones that failed, and how many there are."""
        rows = self.database.rows(
            "SELECT * FROM failure ORDER BY last_at DESC, profile, cpv LIMIT ?", (limit,)
        )
        count = self.database.row("SELECT count(*) AS count FROM failure")
        return [_failure(row) for row in rows], int(count["count"]) if count else 0

    def under(self, profile: str, keys: Mapping[str, str]) -> list[FailureRecord]:
        """What failed in this profile under just these keys (cpv -> build key)."""
        return [one for one in self.all(profile) if keys.get(one.cpv) == one.build_key]

    def forget(self, profile: str, cpvs: Iterable[str]) -> int:
        """Forget what is known of these packages, under any key; how many entries there were."""
        with self.database.change():
            return sum(
                self.database.execute(
                    "DELETE FROM failure WHERE profile = ? AND cpv = ?", (profile, cpv)
                ).rowcount
                for cpv in cpvs
            )

    def keep(self, profile: str, keys: Mapping[str, str]) -> None:
        """Forget all failures of a profile but those under these keys: nobody will ask for the others."""
        for one in self.all(profile):
            if keys.get(one.cpv) != one.build_key:
                self.database.execute(
                    "DELETE FROM failure WHERE profile = ? AND cpv = ? AND build_key = ?",
                    (profile, one.cpv, one.build_key),
                )

    def hold(self, profile: str, held: Iterable[Held], *, now: float) -> None:
        """What a profile holds from now on; a hold that goes on keeps the time it began."""
        with self.database.change():
            before = {(row["cpv"], row["at"]): row["since"] for row in self._held(profile)}
            self.database.execute("DELETE FROM hold WHERE profile = ?", (profile,))
            for one in held:
                self.database.execute(
                    "INSERT INTO hold (profile, cpv, at, since) VALUES (?,?,?,?)",
                    (profile, one.cpv, one.at, before.get((one.cpv, one.at), now)),
                )

    def held(self, profile: str) -> list[tuple[Held, float]]:
        """What a profile's release holds, and since when."""
        return [(Held(row["cpv"], row["at"]), row["since"]) for row in self._held(profile)]

    def _held(self, profile: str) -> list[sqlite3.Row]:
        return self.database.rows("SELECT * FROM hold WHERE profile = ? ORDER BY cpv", (profile,))


def _failure(row: sqlite3.Row) -> FailureRecord:
    return FailureRecord(
        profile=row["profile"],
        cpv=row["cpv"],
        build_key=row["build_key"],
        kind=FailureKind(row["kind"]),
        evidence=row["evidence"],
        log=row["log"],
        tail=row["tail"],
        count=row["count"],
        first_at=row["first_at"],
        last_at=row["last_at"],
    )
