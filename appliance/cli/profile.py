"""`distserver profile`: who inherits from whom, and where each value of one comes from."""

import argparse
from collections.abc import Iterable
from typing import Any

from appliance.backlog import span
from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.remote import client

PROFILES = "profiles"


def add(commands: Commands) -> None:
    group = commands.group("profile", "profiles: kinds of machines")
    made = commands.add("list", cmd_list, "the profiles of the site, each behind what it inherits", of=group)
    made.set_defaults(remote=remote_list)
    text = "every value of a profile with the file and line it comes from"
    made = commands.add("show", cmd_show, text, of=group)
    made.set_defaults(remote=remote_show)
    made.add_argument("name", metavar="NAME")
    made.add_argument(
        "--replaced", action="store_true", help="also what is not in force, and what replaced it"
    )


def cmd_list(asked: argparse.Namespace) -> int:
    desk = services(asked)
    table = table_of("profile", "inherits", "arch", "machines", "newest release", "age", "what waits")
    for one in desk.profile_desk.tree():
        newest = (one.newest.id, span(desk.clock() - one.newest.created_at)) if one.newest else ("", "")
        name = f"{'. ' * one.depth}{one.name}"
        table.add_row(
            name, ", ".join(one.parents), one.arch, str(one.machines), *newest, "; ".join(one.waits)
        )
    print_table(table)
    return 0


def cmd_show(asked: argparse.Namespace) -> int:
    found = services(asked).profile_desk.look(asked.name).whence.rows
    rows = ((of, one.key, one.text, str(one.place), str(by or "")) for of, one, by in found)
    show(rows, replaced=asked.replaced)
    return 0


def remote_list(asked: argparse.Namespace) -> int:
    table = table_of("profile", "inherits", "arch", "description")
    for one in client(asked).get(PROFILES)["items"]:
        table.add_row(one["name"], ", ".join(one["lineage"][:-1]), one["arch"], one["description"])
    print_table(table)
    return 0


def remote_show(asked: argparse.Namespace) -> int:
    def row(one: dict[str, Any]) -> tuple[str, str, str, str, str]:
        place = f"{one['profile']}/{one['file']}:{one['line']}"
        return one["of"], one["key"], one["text"], place, one["replaced_by"]

    show(map(row, client(asked).get(PROFILES, asked.name, "values")["items"]), replaced=asked.replaced)
    return 0


def show(rows: Iterable[tuple[str, str, str, str, str]], *, replaced: bool) -> None:
    """Rows of what it is of, key, value, place and what replaced it."""
    table = table_of("of", "comes from", *(("replaced by",) if replaced else ()), "key", "value")
    for of, key, text, place, by in rows:
        if replaced or not by:
            table.add_row(of, place, *((by,) if replaced else ()), key, text)
    print_table(table)
