"""Machines: who they are, what they should be, what they may do next."""

import dataclasses
import json
import sqlite3

from appliance.errors import Problem
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, check_transition
from appliance.store.database import Database


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

    def set_lends(self, mac: str, lends: bool) -> None:
        self.database.execute("UPDATE machine SET lends = ? WHERE mac = ?", (int(lends), mac))

    def move(self, mac: str, after: MachineState, *, release: str | None = None, problem: str = "") -> None:
        """Change a machine's state; raises Problem when the table of transitions does not allow it."""
        with self.database.change():
            machine = self.get(mac)
            if machine is None:
                raise Problem(f"there is no machine {mac}")
            check_transition(mac, machine.state, after)
            self.database.execute(
                "UPDATE machine SET state = ?, problem = ?, release = coalesce(?, release) WHERE mac = ?",
                (after.value, problem, release, mac),
            )


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
    )


def facts_to_json(facts: Facts) -> str:
    fields = dataclasses.asdict(facts) | {"firmware": facts.firmware.value}
    return json.dumps(fields, sort_keys=True)


def facts_from_json(text: str) -> Facts:
    fields = json.loads(text)
    disks = tuple(Disk(**disk) for disk in fields.pop("disks"))
    return Facts(**fields | {"firmware": Firmware(fields["firmware"]), "disks": disks})
