"""Addresses: where each known machine was last seen on the network."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from appliance.store.database import Database


class Addresses:
    """One for each machine. What a passing packet claimed, so nothing that matters may rest on it."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def saw(self, mac: str, address: str, *, now: float) -> None:
        """Remember where a machine is, unless nobody knows the machine.

        What is known already is written every ten minutes only: a machine says it with each packet.
        """
        self.database.execute(
            "INSERT INTO seen_address (mac, address, at) SELECT mac, ?, ? FROM machine WHERE mac = ?"
            " ON CONFLICT (mac) DO UPDATE SET address = excluded.address, at = excluded.at"
            " WHERE address != excluded.address OR excluded.at > at + 600",
            (str(IPv4Address(address)), now, mac),
        )

    def all(self) -> Mapping[str, IPv4Address]:
        """MAC -> address. Of several machines at one address only the one that was seen there last has it."""
        rows = self.database.rows("SELECT * FROM seen_address ORDER BY at, mac")
        owner = {row["address"]: row["mac"] for row in rows}
        return {mac: IPv4Address(address) for address, mac in sorted(owner.items())}
