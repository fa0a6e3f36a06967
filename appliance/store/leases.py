"""Leases: which machine has which address; on the disk before anybody is told."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address

from appliance.leases import Lease, LeaseState
from appliance.store.database import Database


class Leases:
    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self) -> list[Lease]:
        """Every address that is remembered, in the order of the addresses; ask each whether it is live()."""
        rows = self.database.rows("SELECT * FROM lease")
        return sorted((_lease(row) for row in rows), key=lambda lease: lease.address)

    def by_address(self, address: IPv4Address) -> Lease | None:
        row = self.database.row("SELECT * FROM lease WHERE address = ?", (str(address),))
        return _lease(row) if row else None

    def of_machine(self, mac: str) -> list[Lease]:
        """What a machine has or had, the newest first."""
        rows = self.database.rows("SELECT * FROM lease WHERE mac = ? ORDER BY since DESC", (mac,))
        return [_lease(row) for row in rows]

    def keep(self, leases: Sequence[Lease]) -> None:
        """Write leases, each in the place of what was known of its address: all of them, or none.

        When this returns they outlive the process and the power.
        """
        rows = [
            (
                str(one.address),
                one.mac,
                one.state.value,
                one.since,
                one.expires,
                int(one.known),
                one.port,
                one.host,
            )
            for one in leases
        ]
        with _through_to_the_disk(self.database), self.database.change():
            self.database.connection.executemany(
                "INSERT OR REPLACE INTO lease (address, mac, state, since, expires, known, port, host)"
                " VALUES (?,?,?,?,?,?,?,?)",
                rows,
            )


@contextmanager
def _through_to_the_disk(database: Database) -> Iterator[None]:
    """A commit of the block is synchronised; elsewhere the newest may be lost with the power."""
    database.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        database.execute("PRAGMA synchronous = NORMAL")


def _lease(row: sqlite3.Row) -> Lease:
    return Lease(
        address=IPv4Address(row["address"]),
        mac=row["mac"],
        state=LeaseState(row["state"]),
        since=row["since"],
        expires=row["expires"],
        known=bool(row["known"]),
        port=row["port"],
        host=row["host"],
    )
