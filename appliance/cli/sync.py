"""`distserver sync`: bring repositories up to date, or show how they are."""

import argparse
from datetime import datetime

from appliance.cli.base import Commands, print_table, services, table_of


def add(commands: Commands) -> None:
    made = commands.add("sync", cmd_sync, "synchronise repositories now, or show them with --list")
    made.add_argument(
        "repository", nargs="*", metavar="REPOSITORY", help="all of the site when none is named"
    )
    made.add_argument("--force", action="store_true", help="take a tree that looks suspicious or is older")
    made.add_argument("--list", action="store_true", help="show the current snapshots and change nothing")


def cmd_sync(asked: argparse.Namespace) -> int:
    desk = services(asked).sync
    if asked.list:
        return _list(asked)

    def say(text: str) -> None:
        print(f"{datetime.now():%H:%M:%S} {text}", flush=True)

    outcomes = desk.sync(asked.repository, force=asked.force, say=say)
    for one in outcomes:
        print(one)
    return 1 if any(one.problem for one in outcomes) else 0


def _list(asked: argparse.Namespace) -> int:
    table = table_of("repository", "sync", "revision", "since", "last tried", "from, or what is wrong")
    for repository, state in services(asked).sync.states():
        table.add_row(
            repository.name,
            repository.sync.value,
            state.revision[:12] if state else "",
            _moment(state.changed_at if state else 0.0),
            _moment(state.tried_at if state else 0.0),
            (state.problem if state else "") or repository.uri or str(repository.location),
        )
    print_table(table)
    return 0


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}" if at else "never"
