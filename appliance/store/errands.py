"""Errands: what the web page asked the farm to do, what became of it."""

import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from appliance.process import own_name, process_id
from appliance.store.database import Database

KEPT = 500
"""Errands that are remembered; the newest ones."""


class ErrandKind(Enum):
    PROMOTE = "promote"
    ROLLBACK = "rollback"
    PIN = "pin"
    UNPIN = "unpin"
    VERIFY = "verify"
    PLAN = "plan"
    WAKE = "wake"
    POWER_ON = "power-on"
    POWER_OFF = "power-off"
    POWER_CYCLE = "power-cycle"
    POWER_STATUS = "power-status"
    POWER_NETBOOT_ONCE = "power-netboot-once"


class ErrandState(Enum):
    WANTED = "wanted"
    DOING = "doing"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Errand:
    """Times in seconds since the epoch."""

    id: int
    kind: ErrandKind
    profile: str
    channel: str
    release: str
    """Empty: the one that is next by itself."""
    who: str
    why: str
    state: ErrandState
    wanted_at: float
    begun_at: float | None = None
    ended_at: float | None = None
    said: str = ""
    """What came of it, in a sentence."""
    result: str = ""
    """More than a sentence, as its kind writes it."""
    machine: str = ""
    """The MAC of the machine it is about; empty: it is about a profile."""

    @property
    def is_open(self) -> bool:
        return self.state in (ErrandState.WANTED, ErrandState.DOING)


class Errands:
    def __init__(self, database: Database) -> None:
        self.database = database

    def want(
        self,
        kind: ErrandKind,
        profile: str,
        *,
        channel: str = "",
        release: str = "",
        machine: str = "",
        who: str,
        why: str = "",
        now: float,
    ) -> int:
        """Ask for an errand; the same one that waits already is returned instead."""
        with self.database.change():
            same = self.database.row(
                "SELECT id FROM errand WHERE state = 'wanted' AND kind = ? AND profile = ? AND channel = ?"
                " AND release = ? AND machine = ?",
                (kind.value, profile, channel, release, machine),
            )
            if same:
                return int(same["id"])
            made = self.database.execute(
                "INSERT INTO errand (kind, profile, channel, release, machine, who, why, state, wanted_at)"
                " VALUES (?,?,?,?,?,?,?,'wanted',?)",
                (kind.value, profile, channel, release, machine, who, why, now),
            )
            number = int(made.lastrowid or 0)
            self.database.execute(
                "DELETE FROM errand WHERE id <= ? AND state IN ('done', 'failed')", (number - KEPT,)
            )
            return number

    def begin(self, kinds: Collection[ErrandKind], *, now: float) -> Errand | None:
        """Make the first of these kinds that waits this process's own; None while one of them is done."""
        names = sorted(kind.value for kind in kinds)
        marks = ", ".join("?" for _ in names)
        rows = self.database.rows(
            "UPDATE errand SET state = 'doing', begun_at = ?, owner = ? WHERE id ="
            f" (SELECT min(id) FROM errand WHERE state = 'wanted' AND kind IN ({marks}))"
            f" AND NOT EXISTS (SELECT 1 FROM errand WHERE state = 'doing' AND kind IN ({marks})) RETURNING *",
            (now, own_name(), *names, *names),
        )
        return _errand(rows[0]) if rows else None

    def end(self, number: int, state: ErrandState, said: str, *, result: str = "", now: float) -> None:
        self.database.execute(
            "UPDATE errand SET state = ?, said = ?, result = ?, ended_at = ?, owner = ''"
            " WHERE id = ? AND state = 'doing'",
            (state.value, said, result, now, number),
        )

    def note(self, number: int, said: str) -> None:
        """How far one is that is being done."""
        self.database.execute("UPDATE errand SET said = ? WHERE id = ? AND state = 'doing'", (said, number))

    def newest(self, kind: ErrandKind, profile: str) -> Errand | None:
        """The last of a kind that somebody asked for."""
        row = self.database.row(
            "SELECT * FROM errand WHERE profile = ? AND kind = ? ORDER BY id DESC LIMIT 1",
            (profile, kind.value),
        )
        return _errand(row) if row else None

    def interrupt(self, said: str, *, now: float) -> None:
        """What a process that is gone was doing has failed: nobody knows how far it came."""
        for row in self.database.rows("SELECT id, owner FROM errand WHERE state = 'doing'"):
            if process_id(row["owner"]) is None:
                self.end(row["id"], ErrandState.FAILED, said, now=now)

    def waits(self, kinds: Collection[ErrandKind]) -> bool:
        wanted = self.database.rows("SELECT DISTINCT kind FROM errand WHERE state = 'wanted'")
        return any(ErrandKind(row["kind"]) in kinds for row in wanted)

    def get(self, number: int) -> Errand | None:
        row = self.database.row("SELECT * FROM errand WHERE id = ?", (number,))
        return _errand(row) if row else None

    def last(self, profile: str, *, limit: int) -> list[Errand]:
        """The newest ones of a profile first."""
        rows = self.database.rows(
            "SELECT * FROM errand WHERE profile = ? ORDER BY id DESC LIMIT ?", (profile, limit)
        )
        return [_errand(row) for row in rows]

    def of_machine(self, mac: str, *, limit: int) -> list[Errand]:
        """The newest ones of a machine first."""
        rows = self.database.rows(
            "SELECT * FROM errand WHERE machine = ? ORDER BY id DESC LIMIT ?", (mac, limit)
        )
        return [_errand(row) for row in rows]


def _errand(row: sqlite3.Row) -> Errand:
    names = (
        "id", "profile", "channel", "release", "who", "why", "wanted_at", "begun_at", "ended_at", "said",
        "result", "machine",
    )  # fmt: skip
    known = {name: row[name] for name in names}
    return Errand(**known, kind=ErrandKind(row["kind"]), state=ErrandState(row["state"]))
