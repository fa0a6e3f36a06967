"""Machines: who they are, what they should be, what they may do next."""

import dataclasses
import json
import sqlite3
from dataclasses import dataclass

from appliance.errors import Problem
from appliance.facts import facts_of
from appliance.model import Facts, Machine, MachineState, check_transition
from appliance.store.database import Database

LISTED = (
    MachineState.DISCOVERED,
    MachineState.FAILED,
    MachineState.INSTALLING,
    MachineState.ARMED,
    MachineState.ASSIGNED,
    MachineState.INSTALLED,
)
"""A list begins with those that somebody has to look at."""
RANK = "CASE state " + " ".join(f"WHEN '{one.value}' THEN {rank}" for rank, one in enumerate(LISTED)) + " END"


@dataclass(frozen=True)
class Search:
    """Which machines a list shows; what is empty does not matter."""

    text: str = ""
    """A part of a name or of a MAC."""
    state: str = ""
    profile: str = ""
    release: str = ""
    sign: str = ""
    """A word of SIGNS."""


SIGNS = {
    "drift": "drift > 0",
    "reboot": "reboot",
    "services": "stale > 0",
    "questions": "merges > 0",
    "updating": "phase = 'updating'",
    "unwell": "(phase = 'failed' OR health = 'failed')",
}
"""What installed machines said of themselves last, that somebody may look for."""


@dataclass(frozen=True)
class Tally:
    """How many machines are alike in these."""

    state: MachineState
    profile: str
    """Empty: none yet."""
    channel: str
    release: str
    """Empty: none yet."""
    count: int


class Machines:
    def __init__(self, database: Database) -> None:
        self.database = database

    def get(self, mac: str) -> Machine | None:
        row = self.database.row("SELECT * FROM machine WHERE mac = ?", (mac,))
        return _machine(row) if row else None

    def all(self) -> list[Machine]:
        return [_machine(row) for row in self.database.rows("SELECT * FROM machine ORDER BY mac")]

    def names(self) -> list[tuple[str, str]]:
        """MAC and name of every machine, without reading all that is known of them."""
        rows = self.database.rows("SELECT mac, name FROM machine ORDER BY mac")
        return [(row["mac"], row["name"]) for row in rows]

    def macs(self) -> list[str]:
        return [row["mac"] for row in self.database.rows("SELECT mac FROM machine")]

    def tallies(self) -> list[Tally]:
        rows = self.database.rows(
            "SELECT state, profile, channel, release, count(*) AS count FROM machine"
            " GROUP BY state, profile, channel, release"
        )
        return [
            Tally(
                MachineState(row["state"]),
                row["profile"] or "",
                row["channel"],
                row["release"] or "",
                row["count"],
            )
            for row in rows
        ]

    def find(self, search: Search, *, limit: int, offset: int = 0) -> list[Machine]:
        """A part of the machines that match, those first that somebody has to look at."""
        where, values = _where(search)
        order = f"ORDER BY {RANK}, name = '', name, mac"
        rows = self.database.rows(
            "SELECT * FROM machine WHERE mac IN"
            f" (SELECT mac FROM machine WHERE {where} {order} LIMIT ? OFFSET ?) {order}",
            (*values, limit, offset),
        )
        return [_machine(row) for row in rows]

    def after(self, search: Search, mac: str, *, limit: int) -> list[Machine]:
        """Those that match and come after a MAC, in the order of their MACs."""
        where, values = _where(search)
        rows = self.database.rows(
            f"SELECT * FROM machine WHERE mac > ? AND {where} ORDER BY mac LIMIT ?", (mac, *values, limit)
        )
        return [_machine(row) for row in rows]

    def count(self, search: Search) -> int:
        where, values = _where(search)
        row = self.database.row(f"SELECT count(*) AS count FROM machine WHERE {where}", values)
        return int(row["count"]) if row else 0

    def unknown(self, limit: int) -> tuple[list[Machine], int]:
        """The first that nobody gave a profile, and how many there are; one that lends itself needs none."""
        where = "state = 'discovered' AND lends = 0"
        rows = self.database.rows(
            f"SELECT * FROM machine WHERE mac IN (SELECT mac FROM machine WHERE {where} ORDER BY mac LIMIT ?)"
            " ORDER BY mac",
            (limit,),
        )
        row = self.database.row(f"SELECT count(*) AS count FROM machine WHERE {where}")
        return [_machine(one) for one in rows], int(row["count"]) if row else 0

    def lending(self, *, limit: int, offset: int = 0) -> list[Machine]:
        """A part of those that boot as compile hosts."""
        rows = self.database.rows(
            "SELECT * FROM machine WHERE mac IN (SELECT mac FROM machine WHERE lends = 1"
            " ORDER BY name = '', name, mac LIMIT ? OFFSET ?) ORDER BY name = '', name, mac",
            (limit, offset),
        )
        return [_machine(row) for row in rows]

    def count_lending(self) -> int:
        row = self.database.row("SELECT count(*) AS count FROM machine WHERE lends = 1")
        return int(row["count"]) if row else 0

    def of_release(self, release: str) -> list[str]:
        """MACs of those it is or is being installed on."""
        rows = self.database.rows("SELECT mac FROM machine WHERE release = ? ORDER BY mac", (release,))
        return [row["mac"] for row in rows]

    def followers(self, profile: str) -> dict[str, dict[str, int]]:
        """Channel -> release (empty: none yet) -> how many machines of a profile that follow it have it."""
        found: dict[str, dict[str, int]] = {}
        for row in self.database.rows(
            "SELECT channel, coalesce(release, '') AS release, count(*) AS count FROM machine"
            " WHERE profile = ? GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2",
            (profile,),
        ):
            found.setdefault(row["channel"], {})[row["release"]] = row["count"]
        return found

    def add(self, machine: Machine) -> None:
        """Raises Problem when there is one with this MAC."""
        facts = facts_to_json(machine.facts) if machine.facts else None
        try:
            self.database.execute(
                "INSERT INTO machine (mac, state, name, profile, facts, release, problem, channel)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (
                    machine.mac,
                    machine.state.value,
                    machine.name,
                    machine.profile,
                    facts,
                    machine.release,
                    machine.problem,
                    machine.channel,
                ),
            )
        except sqlite3.IntegrityError as twice:
            raise Problem(f"there is already a machine {machine.mac}") from twice

    def set_facts(self, mac: str, facts: Facts) -> None:
        self.database.execute("UPDATE machine SET facts = ? WHERE mac = ?", (facts_to_json(facts), mac))

    def set_name(self, mac: str, name: str) -> None:
        self.database.execute("UPDATE machine SET name = ? WHERE mac = ?", (name, mac))

    def set_profile(self, mac: str, profile: str) -> None:
        self.database.execute("UPDATE machine SET profile = ? WHERE mac = ?", (profile, mac))

    def set_channel(self, mac: str, channel: str) -> None:
        self.database.execute("UPDATE machine SET channel = ? WHERE mac = ?", (channel, mac))

    def set_release(self, mac: str, release: str) -> None:
        """What an installed machine says that it has."""
        self.database.execute("UPDATE machine SET release = ? WHERE mac = ?", (release, mac))

    def set_lends(self, mac: str, lends: bool) -> None:
        self.database.execute("UPDATE machine SET lends = ? WHERE mac = ?", (int(lends), mac))

    def set_rescue(self, mac: str, times: int) -> None:
        self.database.execute("UPDATE machine SET rescue = ? WHERE mac = ?", (times, mac))

    def remove(self, mac: str) -> None:
        """Where it was last seen goes with it."""
        self.database.execute("DELETE FROM machine WHERE mac = ?", (mac,))

    def move(
        self,
        mac: str,
        after: MachineState,
        *,
        release: str | None = None,
        problem: str = "",
        wipes: bool = False,
    ) -> None:
        """Change a machine's state; raises Problem when the table of transitions does not allow it.

        `wipes`: with ARMED, the permission is to wipe it. It lasts while its installer is at it, not longer.
        What the disks held is not known any more when an installation ended, however it did.
        """
        with self.database.change():
            machine = self.get(mac)
            if machine is None:
                raise Problem(f"there is no machine {mac}")
            check_transition(mac, machine.state, after)
            wipes = machine.wipes if after is MachineState.INSTALLING else wipes
            self.database.execute(
                "UPDATE machine SET state = ?, problem = ?, release = coalesce(?, release), wipes = ?"
                " WHERE mac = ?",
                (after.value, problem, release, int(wipes), mac),
            )
            if machine.facts and MachineState.INSTALLING is machine.state is not after:
                self.set_facts(mac, without_contents(machine.facts))


def _where(search: Search) -> tuple[str, tuple[str, ...]]:
    wanted = {
        "state = ?": search.state,
        "profile = ?": search.profile,
        "release = ?": search.release,
        "(instr(lower(name), ?) OR instr(mac, replace(?, '-', ':')))": search.text.strip().lower(),
    }
    found = {clause: value for clause, value in wanted.items() if value}
    values = (value for clause, value in found.items() for _ in range(clause.count("?")))
    signs = [f"mac IN (SELECT mac FROM client_standing WHERE {SIGNS.get(search.sign, '0')})"]
    return " AND ".join([*found, *(signs if search.sign else [])]) or "1", tuple(values)


def _machine(row: sqlite3.Row) -> Machine:
    return Machine(
        mac=row["mac"],
        state=MachineState(row["state"]),
        name=row["name"],
        profile=row["profile"],
        facts=facts_from_json(row["facts"]) if row["facts"] else None,
        release=row["release"],
        problem=row["problem"],
        channel=row["channel"],
        lends=bool(row["lends"]),
        wipes=bool(row["wipes"]),
        rescue=row["rescue"],
    )


def without_contents(facts: Facts) -> Facts:
    disks = tuple(dataclasses.replace(disk, table="", partitions=()) for disk in facts.disks)
    return dataclasses.replace(facts, disks=disks)


def facts_to_json(facts: Facts) -> str:
    fields = dataclasses.asdict(facts) | {"firmware": facts.firmware.value}
    return json.dumps(fields, sort_keys=True)


def facts_from_json(text: str) -> Facts:
    return facts_of(json.loads(text))
