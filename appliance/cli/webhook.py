"""`distserver webhook`: addresses that are told what happens."""

import argparse
from datetime import datetime

from appliance.cli.base import Commands, print_table, services, table_of
from appliance.webhook_model import MEANINGS, Happening


def add(commands: Commands) -> None:
    words = "list, add, remove, pause, resume, test, deliveries"
    group = commands.group("webhook", f"addresses that are told what happens: {words}")
    commands.add("list", cmd_list, "every webhook", of=group)
    made = commands.add("add", cmd_add, "tell an address; its secret is printed this once", of=group)
    made.add_argument("url", metavar="URL")
    known = tuple(one.value for one in Happening)
    meanings = "; ".join(f"{one.value}: {text}" for one, text in MEANINGS.items())
    text = f"one of them, may be given several times; else all. {meanings}"
    made.add_argument("--event", action="append", choices=known, help=text)
    for name, command, text in (
        ("remove", cmd_remove, "tell it nothing more, and forget what it was told"),
        ("pause", cmd_pause, "tell it nothing for now; what happens meanwhile it never learns"),
        ("resume", cmd_resume, "tell it again"),
        ("test", cmd_test, "send a message that says that it is a test"),
        ("deliveries", cmd_deliveries, "what it was told last, and what it answered"),
    ):
        commands.add(name, command, text, of=group).add_argument("number", type=int, metavar="NUMBER")


def cmd_list(asked: argparse.Namespace) -> int:
    table = table_of("number", "since", "state", "never told", "address", "events")
    for one in services(asked).webhooks.all():
        state = "told" if one.active else "paused"
        table.add_row(str(one.id), _time(one.made_at), state, str(one.dropped), one.url, " ".join(one.events))
    print_table(table)
    return 0


def cmd_add(asked: argparse.Namespace) -> int:
    made, secret = services(asked).webhooks.add(asked.url, asked.event or [one.value for one in Happening])
    print(f"webhook {made.id}: {made.url} is told of {', '.join(made.events)}")
    print(f"  its secret, shown this once: {secret}")
    return 0


def cmd_remove(asked: argparse.Namespace) -> int:
    services(asked).webhooks.remove(asked.number)
    print(f"webhook {asked.number} is gone")
    return 0


def cmd_pause(asked: argparse.Namespace) -> int:
    print(f"{services(asked).webhooks.switch(asked.number, False).url} is told nothing for now")
    return 0


def cmd_resume(asked: argparse.Namespace) -> int:
    print(f"{services(asked).webhooks.switch(asked.number, True).url} is told again")
    return 0


def cmd_test(asked: argparse.Namespace) -> int:
    services(asked).webhooks.test(asked.number)
    print(f"the farm sends it; `distserver webhook deliveries {asked.number}` shows what came of it")
    return 0


def cmd_deliveries(asked: argparse.Namespace) -> int:
    table = table_of("number", "when", "event", "subject", "state", "tries", "what came of it")
    for one in services(asked).webhooks.deliveries(asked.number, limit=50):
        words = one.event, one.subject, one.state.value, str(one.tries), one.said
        table.add_row(str(one.id), _time(one.at), *words)
    print_table(table)
    return 0


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S}"
