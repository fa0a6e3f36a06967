"""Installed machines: keys, certificates, reports, and what is asked of all of them at once."""

import sqlite3
from dataclasses import dataclass

from appliance.client_order import Standing
from appliance.client_report import Health, Phase, Report, read_report, write_report
from appliance.store.database import Database

MOST_STORED = 1 << 20
KEPT = 20
"""Reports that are remembered of each machine; the newest ones."""


@dataclass(frozen=True)
class ClientKey:
    """The key of a machine, and its newest certificate; times in seconds since the epoch."""

    mac: str
    key: str
    """SHA-256 of the public key."""
    request: str
    asked_at: float
    certificate: str
    """PEM; empty until the farm has signed it."""
    issued_at: float
    ends_at: float
    refused: str
    """Why it is not signed."""


@dataclass(frozen=True)
class Told:
    """A report, and when it came."""

    at: float
    report: Report


@dataclass(frozen=True)
class Client:
    """The row of one machine, as lists show it."""

    mac: str
    name: str
    profile: str
    seen_at: float
    reported_at: float
    release: str
    said: str


@dataclass(frozen=True)
class ClientTally:
    """How many installed machines came to their door, and of how many something is to be known."""

    machines: int
    drifted: int
    """Something differs from their release."""
    reboot: int
    """They have to start anew."""
    stale: int
    """Services run with files that were replaced since."""
    asking: int
    """Configuration files wait for an answer."""
    updating: int
    failed: int


class Clients:
    def __init__(self, database: Database) -> None:
        self.database = database

    # keys and certificates

    def enrol(self, mac: str, key: str, request: str, *, now: float) -> None:
        """Remember a machine's key in place of any other; the same key again changes nothing."""
        with self.database.change():
            known = self.database.row("SELECT key FROM client_key WHERE mac = ?", (mac,))
            if known and known["key"] == key:
                return
            self.forget(mac)
            self.database.execute(
                "INSERT INTO client_key (mac, key, request, asked_at) VALUES (?,?,?,?)",
                (mac, key, request, now),
            )

    def forget(self, mac: str) -> None:
        """Its key and every certificate of it are worth nothing from now on; what it said was of before."""
        self.database.execute("DELETE FROM client_key WHERE mac = ?", (mac,))
        self.database.execute("DELETE FROM client_standing WHERE mac = ?", (mac,))

    def key_of(self, mac: str) -> ClientKey | None:
        row = self.database.row("SELECT * FROM client_key WHERE mac = ?", (mac,))
        return _key(row) if row else None

    def with_key(self, key: str) -> ClientKey | None:
        row = self.database.row("SELECT * FROM client_key WHERE key = ?", (key,))
        return _key(row) if row else None

    def to_sign(self, *, until: float) -> ClientKey | None:
        """The first that has no certificate, or one that ends before `until`."""
        row = self.database.row(
            "SELECT * FROM client_key WHERE ends_at < ? AND refused = '' ORDER BY ends_at, asked_at LIMIT 1",
            (until,),
        )
        return _key(row) if row else None

    def signed(self, one: ClientKey, pem: str, fingerprint: str, *, now: float, ends_at: float) -> bool:
        """Whether the machine still had that key."""
        with self.database.change():
            done = self.database.execute(
                "UPDATE client_key SET certificate = ?, issued_at = ?, ends_at = ? WHERE mac = ? AND key = ?",
                (pem, now, ends_at, one.mac, one.key),
            )
            if not done.rowcount:
                return False
            self.database.execute(
                "DELETE FROM client_certificate WHERE mac = ? AND ends_at < ?", (one.mac, now)
            )
            self.database.execute(
                "INSERT INTO client_certificate (fingerprint, mac, ends_at) VALUES (?,?,?)",
                (fingerprint, one.mac, ends_at),
            )
            # From now on it is expected: one that never comes is silent after a while.
            self.database.execute(
                "INSERT INTO client_standing (mac, seen_at) VALUES (?,?) ON CONFLICT (mac) DO NOTHING",
                (one.mac, now),
            )
            return True

    def refuse(self, one: ClientKey, why: str) -> None:
        self.database.execute(
            "UPDATE client_key SET refused = ? WHERE mac = ? AND key = ?", (why, one.mac, one.key)
        )

    def owner(self, fingerprint: str) -> str | None:
        """The machine with this certificate."""
        row = self.database.row("SELECT mac FROM client_certificate WHERE fingerprint = ?", (fingerprint,))
        return str(row["mac"]) if row else None

    # what they report

    def saw(self, mac: str, *, now: float) -> None:
        self.database.execute(
            "INSERT INTO client_standing (mac, seen_at) VALUES (?,?)"
            " ON CONFLICT (mac) DO UPDATE SET seen_at = excluded.seen_at",
            (mac, now),
        )

    def add(self, mac: str, report: Report, *, now: float) -> None:
        """Keep a report; of each machine the newest ones stay."""
        with self.database.change():
            self.database.execute(
                "INSERT INTO client_report (mac, at, report) VALUES (?,?,?)", (mac, now, write_report(report))
            )
            self.database.execute(
                "DELETE FROM client_report WHERE mac = ? AND id <="
                " (SELECT id FROM client_report WHERE mac = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (mac, mac, KEPT),
            )
            said: dict[str, str | int | float] = {
                "seen_at": now,
                "reported_at": now,
                "release": report.release,
                "target": report.target,
                "phase": report.phase.value,
                "health": report.health.value,
                "said": report.said,
                "drift": report.drifts,
                "merges": report.merges,
                "reboot": int(report.reboot),
                "stale": report.stale,
                "kernel": report.kernel,
            }
            names = ", ".join(said)
            changes = ", ".join(f"{name} = excluded.{name}" for name in said)
            marks = ",".join("?" for _ in said)
            self.database.execute(
                f"INSERT INTO client_standing (mac, {names}) VALUES (?,{marks})"
                f" ON CONFLICT (mac) DO UPDATE SET {changes}",
                (mac, *said.values()),
            )

    def reports(self, mac: str, *, limit: int = KEPT) -> list[Told]:
        """The newest first."""
        rows = self.database.rows(
            "SELECT at, report FROM client_report WHERE mac = ? ORDER BY id DESC LIMIT ?", (mac, limit)
        )
        # What stands for a character that is left out is longer than it, so that a text here may be, too.
        return [Told(row["at"], read_report(row["report"].encode(), MOST_STORED)) for row in rows]

    def standing(self, mac: str) -> Standing | None:
        row = self.database.row(
            "SELECT client_standing.*, machine.channel FROM client_standing JOIN machine USING (mac)"
            " WHERE mac = ?",
            (mac,),
        )
        return _standing(row) if row else None

    def standings(self, profile: str) -> list[Standing]:
        """Of all machines of a profile that ever came, as they are installed now."""
        rows = self.database.rows(
            "SELECT client_standing.*, machine.channel FROM client_standing JOIN machine USING (mac)"
            " WHERE machine.profile = ? ORDER BY mac",
            (profile,),
        )
        return [_standing(row) for row in rows]

    def silent(self, *, before: float, limit: int) -> tuple[list[Client], int]:
        """Machines that have a certificate and were not seen since; those longest ago first."""
        return self._listed(
            " FROM client_standing JOIN machine USING (mac) WHERE seen_at < ?", (before,), limit
        )

    def count_silent(self, *, before: float) -> list[tuple[str, int]]:
        """(profile, how many) of those that silent() lists."""
        rows = self.database.rows(
            "SELECT machine.profile, count(*) AS count FROM client_standing JOIN machine USING (mac)"
            " WHERE seen_at < ? GROUP BY 1",
            (before,),
        )
        return [(row["profile"] or "", row["count"]) for row in rows]

    def failed(self, *, limit: int) -> tuple[list[Client], int]:
        """Machines whose last update or its health check failed."""
        terms = " FROM client_standing JOIN machine USING (mac) WHERE phase = ? OR health = ?"
        return self._listed(terms, (Phase.FAILED.value, Health.FAILED.value), limit)

    def tally(self) -> ClientTally:
        """What is to be seen of all of them at once."""
        row = self.database.row(
            "SELECT count(*) AS machines, sum(drift > 0) AS drifted, sum(reboot) AS reboot,"
            " sum(stale > 0) AS stale, sum(merges > 0) AS asking, sum(phase = 'updating') AS updating,"
            " sum(phase = 'failed' OR health = 'failed') AS failed"
            " FROM client_standing JOIN machine USING (mac)"
        )
        names = ("machines", "drifted", "reboot", "stale", "asking", "updating", "failed")
        return ClientTally(**{name: int((row and row[name]) or 0) for name in names})

    def wants(self) -> list[tuple[str, int, int, int, int]]:
        """(profile, machines that differ, that start anew, with services to restart; questions)."""
        rows = self.database.rows(
            "SELECT machine.profile, sum(drift > 0) AS drifted, sum(reboot) AS reboot,"
            " sum(stale > 0) AS stale, sum(merges) AS merges"
            " FROM client_standing JOIN machine USING (mac) GROUP BY 1"
        )
        return [
            (row["profile"] or "", row["drifted"], row["reboot"], row["stale"], row["merges"]) for row in rows
        ]

    def _listed(self, terms: str, values: tuple[str | float, ...], limit: int) -> tuple[list[Client], int]:
        rows = self.database.rows(
            "SELECT machine.mac, machine.name, machine.profile, seen_at, reported_at,"
            f" client_standing.release AS has, said{terms} ORDER BY seen_at, mac LIMIT ?",
            (*values, limit),
        )
        count = self.database.row(f"SELECT count(*) AS count{terms}", values)
        found = [
            Client(
                row["mac"],
                row["name"],
                row["profile"] or "",
                row["seen_at"],
                row["reported_at"],
                row["has"],
                row["said"],
            )
            for row in rows
        ]
        return found, int(count["count"]) if count else 0

    def tallies(self) -> list[tuple[str, str, str, str, int]]:
        """(profile, channel, release they have, `failed` or phase, how many)."""
        rows = self.database.rows(
            "SELECT machine.profile, machine.channel, client_standing.release AS has,"
            " CASE WHEN health = 'failed' THEN 'failed' ELSE phase END AS how, count(*) AS count"
            " FROM client_standing JOIN machine USING (mac)"
            " GROUP BY 1, 2, 3, 4"
        )
        return [(row["profile"] or "", row["channel"], row["has"], row["how"], row["count"]) for row in rows]


def _key(row: sqlite3.Row) -> ClientKey:
    names = ("mac", "key", "request", "asked_at", "certificate", "issued_at", "ends_at", "refused")
    return ClientKey(**{name: row[name] for name in names})


def _standing(row: sqlite3.Row) -> Standing:
    phase, health = row["phase"], row["health"]
    return Standing(
        mac=row["mac"],
        channel=row["channel"],
        seen_at=row["seen_at"],
        reported_at=row["reported_at"],
        release=row["release"],
        target=row["target"],
        failed=phase == Phase.FAILED.value or health == Health.FAILED.value,
        current=phase == Phase.CURRENT.value,
        updating=phase == Phase.UPDATING.value,
        said=row["said"] or ("its health check failed" if health == Health.FAILED.value else ""),
    )
