"""Questions of configuration merges: one per triple, the machines that ask it, its decisions."""

import sqlite3
from collections.abc import Collection

from appliance.merge_model import Asker, Asking, Choice, Decision, Ending, Item, MergeQuestion, Triple
from appliance.store.database import Database

WAITING = (Asking.ASKED.value, Asking.REFUSED.value)
_WAITING = "state IN ('asked', 'refused')"
_LIVE = "EXISTS (SELECT 1 FROM merge_decision d WHERE d.question = q.id AND d.ended IS NULL)"
STATES = {
    "open": f"NOT q.secret AND q.waiting > 0 AND NOT {_LIVE}",
    "decided": f"NOT q.secret AND {_LIVE}",
    "secret": "q.secret AND q.waiting > 0",
}
MOST_PROFILES = 20
LARGEST = 2**63 - 1
"""What SQLite can hold; an address may name any number."""
NAMED = (
    "SELECT base FROM merge_question WHERE NOT secret UNION SELECT ours FROM merge_question WHERE NOT secret"
    " UNION SELECT theirs FROM merge_question WHERE NOT secret UNION SELECT d.result FROM merge_decision d"
    " JOIN merge_question q ON q.id = d.question WHERE NOT q.secret"
)


class Merges:
    def __init__(self, database: Database) -> None:
        self.database = database

    # questions

    def ensure(self, item: Item, *, now: float) -> MergeQuestion:
        """The question of an item, made when nobody asked it yet; one that is secret stays so."""
        triple = item.triple
        self.database.execute(
            "INSERT INTO merge_question (key, path, base, ours, theirs, secret, mode, why, first_at)"
            " VALUES (?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO NOTHING",
            (triple.key, triple.path, *triple.hashes, item.secret, item.mode, item.why, now),
        )
        if item.secret:
            self.database.execute(
                "UPDATE merge_question SET secret = 1 WHERE key = ? AND NOT secret", (triple.key,)
            )
        found = self.of_triple(triple)
        if found is None:
            raise LookupError(f"the question of {triple.path} is gone within its own transaction")
        return found

    def of_triple(self, triple: Triple) -> MergeQuestion | None:
        row = self.database.row("SELECT * FROM merge_question WHERE key = ?", (triple.key,))
        return self._question(row) if row else None

    def get(self, number: int) -> MergeQuestion | None:
        if not 0 < number <= LARGEST:
            return None
        row = self.database.row("SELECT * FROM merge_question WHERE id = ?", (number,))
        return self._question(row, profiles=True) if row else None

    def find(self, state: str, *, limit: int, offset: int = 0, machine: str = "") -> list[MergeQuestion]:
        """Open and secret ones that wait longest first, decided ones the newest first."""
        order = "q.id DESC" if state == "decided" else "q.first_at, q.id"
        where, values = _where(state, machine)
        rows = self.database.rows(
            f"SELECT q.* FROM merge_question q WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        return [self._question(row, profiles=True) for row in rows]

    def after(self, state: str, number: int, *, limit: int) -> list[MergeQuestion]:
        """Some in the order of their numbers, after one of them; `state` empty: of any."""
        where = STATES.get(state, "1")
        rows = self.database.rows(
            f"SELECT q.* FROM merge_question q WHERE {where} AND q.id > ? ORDER BY q.id LIMIT ?",
            (number, limit),
        )
        return [self._question(row, profiles=True) for row in rows]

    def plain(self) -> list[tuple[Triple, tuple[str, ...]]]:
        """All that are not secret, each with the profiles of the machines that ever asked it."""
        rows = self.database.rows(
            "SELECT q.path, q.base, q.ours, q.theirs, group_concat(DISTINCT a.profile) AS profiles"
            " FROM merge_question q JOIN merge_asker a ON a.question = q.id"
            " WHERE NOT q.secret GROUP BY q.id ORDER BY q.id"
        )
        return [(Triple(*tuple(row)[:4]), tuple(str(row["profiles"]).split(","))) for row in rows]

    def count(self, state: str, machine: str = "") -> int:
        where, values = _where(state, machine)
        row = self.database.row(f"SELECT count(*) FROM merge_question q WHERE {where}", values)
        return int(row[0]) if row else 0

    def forget(self, *, before: float) -> int:
        """Questions that no machine has to do with since then and nobody ever decided."""
        gone = self.database.execute(
            "DELETE FROM merge_question WHERE first_at < ?"
            " AND NOT EXISTS (SELECT 1 FROM merge_decision d WHERE d.question = merge_question.id)"
            " AND NOT EXISTS (SELECT 1 FROM merge_asker a WHERE a.question = merge_question.id"
            " AND (a.state != 'gone' OR a.at >= ?))",
            (before, before),
        )
        return gone.rowcount

    # machines that ask

    def asking(self, number: int, machine: str) -> Asker | None:
        row = self.database.row(
            "SELECT a.*, '' AS name FROM merge_asker a WHERE question = ? AND machine = ?", (number, machine)
        )
        return _asker(row) if row else None

    def askers(self, number: int, states: Collection[Asking], *, limit: int, offset: int = 0) -> list[Asker]:
        marks = ",".join("?" * len(states))
        rows = self.database.rows(
            "SELECT a.*, coalesce(m.name, '') AS name FROM merge_asker a"
            " LEFT JOIN machine m ON m.mac = a.machine"
            f" WHERE a.question = ? AND a.state IN ({marks}) ORDER BY a.machine LIMIT ? OFFSET ?",
            (number, *(one.value for one in states), limit, offset),
        )
        return [_asker(row) for row in rows]

    def tally(self, number: int) -> dict[Asking, int]:
        rows = self.database.rows(
            "SELECT state, count(*) AS number FROM merge_asker WHERE question = ? GROUP BY state", (number,)
        )
        return {Asking(row["state"]): int(row["number"]) for row in rows}

    def note(
        self,
        number: int,
        machine: str,
        profile: str,
        state: Asking,
        *,
        result: str = "",
        said: str = "",
        now: float,
    ) -> bool:
        """How far a machine is; nothing is written, and False, when that is known already."""
        known = self.asking(number, machine)
        if known and (known.state, known.result, known.said, known.profile) == (state, result, said, profile):
            return False
        self.database.execute(
            "INSERT INTO merge_asker (question, machine, profile, state, result, said, at)"
            " VALUES (?,?,?,?,?,?,?) ON CONFLICT (question, machine) DO UPDATE SET"
            " profile = excluded.profile, state = excluded.state, result = excluded.result,"
            " said = excluded.said, at = excluded.at",
            (number, machine, profile, state.value, result, said, now),
        )
        return True

    def supersede(self, machine: str, path: str, number: int, *, now: float) -> None:
        """A machine asks about another triple of a path: its older questions of it are settled."""
        self.database.execute(
            f"UPDATE merge_asker SET state = 'gone', at = ? WHERE machine = ? AND {_WAITING}"
            " AND question != ? AND question IN (SELECT id FROM merge_question WHERE path = ?)",
            (now, machine, number, path),
        )

    def settle_others(self, machine: str, numbers: Collection[int], *, now: float) -> None:
        """What a machine asked before and names no more is settled."""
        for row in self.database.rows(
            f"SELECT question FROM merge_asker WHERE machine = ? AND {_WAITING}", (machine,)
        ):
            if row["question"] not in numbers:
                self.database.execute(
                    "UPDATE merge_asker SET state = 'gone', at = ? WHERE machine = ? AND question = ?",
                    (now, machine, row["question"]),
                )

    def count_of(self, machine: str) -> int:
        """Questions a machine waits with."""
        row = self.database.row(
            f"SELECT count(*) FROM merge_asker WHERE machine = ? AND {_WAITING}", (machine,)
        )
        return int(row[0]) if row else 0

    def news_for(self, machine: str) -> list[tuple[MergeQuestion, Asking]]:
        """What a machine does not know yet: decided questions it waits with, and what it is to undo."""
        rows = self.database.rows(
            "SELECT q.*, a.state AS how FROM merge_asker a JOIN merge_question q ON q.id = a.question"
            f" WHERE a.machine = ? AND NOT q.secret AND (a.state = 'undo' OR (a.{_WAITING} AND {_LIVE}))"
            " ORDER BY q.id",
            (machine,),
        )
        return [(self._question(row), Asking(row["how"])) for row in rows]

    # decisions

    def decide(
        self, number: int, choice: Choice, result: str, *, who: str, why: str, now: float
    ) -> Decision | None:
        """None when it is decided already."""
        made = self.database.execute(
            "INSERT INTO merge_decision (question, choice, result, who, at, why) VALUES (?,?,?,?,?,?)"
            " ON CONFLICT (question) WHERE ended IS NULL DO NOTHING",
            (number, choice.value, result, who, now, why),
        )
        return self.decision(number) if made.rowcount == 1 else None

    def decision(self, number: int) -> Decision | None:
        """The one that holds."""
        row = self.database.row(
            "SELECT * FROM merge_decision WHERE question = ? AND ended IS NULL", (number,)
        )
        return _decision(row) if row else None

    def decisions(self, number: int, *, limit: int = 50) -> list[Decision]:
        """All there were, the newest first."""
        rows = self.database.rows(
            "SELECT * FROM merge_decision WHERE question = ? ORDER BY id DESC LIMIT ?", (number, limit)
        )
        return [_decision(row) for row in rows]

    def end(self, decision: Decision, ending: Ending, *, by: str, why: str, now: float) -> bool:
        """Take a decision back; False when somebody did already."""
        ended = self.database.execute(
            "UPDATE merge_decision SET ended = ?, ended_at = ?, ended_by = ?, ended_why = ?"
            " WHERE id = ? AND ended IS NULL",
            (ending.value, now, by, why, decision.id),
        )
        return ended.rowcount == 1

    def tell_to_undo(self, decision: Decision, *, now: float) -> int:
        """Every machine that applied it is told to put its old file back; how many."""
        told = self.database.execute(
            "UPDATE merge_asker SET state = 'undo', at = ?"
            " WHERE question = ? AND state = 'applied' AND result = ?",
            (now, decision.question, decision.result),
        )
        return told.rowcount

    def _question(self, row: sqlite3.Row, *, profiles: bool = False) -> MergeQuestion:
        triple = Triple(row["path"], row["base"], row["ours"], row["theirs"])
        of = self._profiles(row["id"]) if profiles else ()
        plain = row["id"], triple, bool(row["secret"]), row["mode"], row["why"]
        times = row["first_at"], row["waiting"]
        return MergeQuestion(*plain, *times, self.decision(row["id"]), of)

    def _profiles(self, number: int) -> tuple[str, ...]:
        rows = self.database.rows(
            f"SELECT DISTINCT profile FROM merge_asker WHERE question = ? AND {_WAITING}"
            " AND profile != '' ORDER BY profile LIMIT ?",
            (number, MOST_PROFILES),
        )
        return tuple(str(row["profile"]) for row in rows)


def _where(state: str, machine: str) -> tuple[str, tuple[str, ...]]:
    if not machine:
        return STATES[state], ()
    asked = f"SELECT question FROM merge_asker WHERE machine = ? AND {_WAITING}"
    return f"{STATES[state]} AND q.id IN ({asked})", (machine,)


def _asker(row: sqlite3.Row) -> Asker:
    words = row["result"], row["said"], row["at"]
    return Asker(row["machine"], row["name"], row["profile"], Asking(row["state"]), *words)


def _decision(row: sqlite3.Row) -> Decision:
    ended = Ending(row["ended"]) if row["ended"] else None
    made = row["id"], row["question"], Choice(row["choice"]), row["result"], row["who"], row["at"], row["why"]
    return Decision(*made, ended, row["ended_at"], row["ended_by"], row["ended_why"])
