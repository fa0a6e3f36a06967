"""`distserver --server URL cluster ...`: the compile hosts of another host's farm, through its API."""

import argparse

from appliance.cli.base import Command, print_table, table_of, utc
from appliance.cli.remote import client

HOSTS = ("cluster", "hosts")


def list_hosts(asked: argparse.Namespace) -> int:
    table = table_of("host", "address", "state", "slots", "arch", "load", "seen", "why")
    for one in client(asked).get(*HOSTS)["items"]:
        load = "" if one["load"] is None else f"{one['load']:.1f}"
        seen = utc(one["seen_at"]) if one["seen_at"] else ""
        place = one["name"], one["address"], one["state"], str(one["jobs"])
        table.add_row(*place, one["arch"], load, seen, one["reason"])
    print_table(table)
    return 0


def add_host(asked: argparse.Namespace) -> int:
    body: dict[str, str | bool | int] = {"name": asked.name, "address": asked.address}
    client(asked).post(*HOSTS, body=body | {"slots": asked.slots, "arch": asked.arch})
    print(f"{asked.name} may be used; `cluster list` shows when it answers")
    return 0


def quarantine(asked: argparse.Namespace) -> int:
    client(asked).post(*HOSTS, asked.name, "quarantine", body={"reason": asked.reason})
    print(f"{asked.name} is kept out")
    return 0


def changer(action: str, said: str) -> Command:
    """A command that changes one host, and what it says then."""

    def change(asked: argparse.Namespace) -> int:
        client(asked).post(*HOSTS, asked.name, action)
        print(f"{asked.name} {said}")
        return 0

    return change


COMMANDS: dict[str, Command] = {
    "list": list_hosts,
    "add": add_host,
    "remove": changer("remove", "is used no more"),
    "probe": changer("probe", "is probed before its next use"),
    "quarantine": quarantine,
    "release-quarantine": changer("release", "is used again when its probe is good"),
}
