"""Compile hosts: who may be used, what each was ordered to run, and which toolchains are wanted."""

import dataclasses
import json
import sqlite3
from collections.abc import Mapping

from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.store.database import Database

COLUMNS = ("name", "address", "state", "origin", "arch", "slots", "reason", "seen_at", "until", "strikes")


class CompileHosts:
    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self) -> list[CompileHost]:
        return [_host(row) for row in self.database.rows("SELECT * FROM compile_host ORDER BY name")]

    def get(self, name: str) -> CompileHost | None:
        row = self.database.row("SELECT * FROM compile_host WHERE name = ?", (name,))
        return _host(row) if row else None

    def put(self, host: CompileHost) -> None:
        """Add a host or replace what is known of it."""
        values = [getattr(host, name) for name in COLUMNS]
        values[COLUMNS.index("state")] = host.state.value
        report = json.dumps(dataclasses.asdict(host.report), sort_keys=True) if host.report else None
        names = (*COLUMNS, "report")
        sets = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        self.database.execute(
            f"INSERT INTO compile_host ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            f" ON CONFLICT (name) DO UPDATE SET {sets}",
            (*values, report),
        )

    def remove(self, name: str) -> None:
        self.database.execute("DELETE FROM compile_host WHERE name = ?", (name,))

    def ports(self, host: str) -> dict[str, int]:
        """Toolchain -> port, as the host was ordered last."""
        rows = self.database.rows("SELECT toolchain, port FROM compile_order WHERE host = ?", (host,))
        return {row["toolchain"]: row["port"] for row in rows}

    def duties(self, host: str) -> list[tuple[str, int, float]]:
        """What a host was ordered: (toolchain, port, when it passed its probe there; 0: never)."""
        rows = self.database.rows(
            "SELECT toolchain, port, probed_at FROM compile_order WHERE host = ? ORDER BY port", (host,)
        )
        return [(row["toolchain"], row["port"], row["probed_at"]) for row in rows]

    def set_ports(self, host: str, ports: Mapping[str, int]) -> None:
        """A toolchain on another port than before must be probed again."""
        with self.database.change():
            for toolchain, port in self.ports(host).items():
                if ports.get(toolchain) != port:
                    self.database.execute(
                        "DELETE FROM compile_order WHERE host = ? AND toolchain = ?", (host, toolchain)
                    )
            for toolchain, port in ports.items():
                self.database.execute(
                    "INSERT OR IGNORE INTO compile_order (host, toolchain, port) VALUES (?, ?, ?)",
                    (host, toolchain, port),
                )

    def probed_at(self, host: str, toolchain: str) -> float:
        """When it last made the same objects as the profile's own compiler; 0: never."""
        row = self.database.row(
            "SELECT probed_at FROM compile_order WHERE host = ? AND toolchain = ?", (host, toolchain)
        )
        return row["probed_at"] if row else 0.0

    def set_probed(self, host: str, toolchain: str, at: float) -> None:
        self.database.execute(
            "UPDATE compile_order SET probed_at = ? WHERE host = ? AND toolchain = ?", (at, host, toolchain)
        )

    def next_serial(self, host: str, *, now: float) -> int:
        """Always larger than the last one, also when the clock went back or the store was lost."""
        with self.database.change():
            row = self.database.row("SELECT serial FROM compile_serial WHERE host = ?", (host,))
            serial = max(int(now), row["serial"] + 1 if row else 0)
            self.database.execute("INSERT OR REPLACE INTO compile_serial VALUES (?, ?)", (host, serial))
        return serial

    def want(self, toolchain: str, *, until: float) -> None:
        self.database.execute(
            "INSERT INTO wanted_toolchain VALUES (?, ?)"
            " ON CONFLICT (hash) DO UPDATE SET until = max(until, excluded.until)",
            (toolchain, until),
        )

    def wanted_until(self, *, now: float) -> dict[str, float]:
        """The toolchains that are wanted now, and until when; nothing is written for it."""
        rows = self.database.rows("SELECT hash, until FROM wanted_toolchain WHERE until > ?", (now,))
        return {row["hash"]: row["until"] for row in rows}

    def wanted(self, *, now: float) -> list[str]:
        """The toolchains that are wanted now, those that are wanted longest first."""
        self.database.execute("DELETE FROM wanted_toolchain WHERE until <= ?", (now,))
        rows = self.database.rows("SELECT hash FROM wanted_toolchain ORDER BY until DESC, hash")
        return [row["hash"] for row in rows]


def _host(row: sqlite3.Row) -> CompileHost:
    fields = {name: row[name] for name in COLUMNS}
    report = HostReport(**json.loads(row["report"])) if row["report"] else None
    return CompileHost(**fields | {"state": HostState(row["state"]), "report": report})
