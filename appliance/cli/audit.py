"""`distserver audit`: who changed what, and when."""

import argparse
from datetime import datetime
from itertools import islice

from appliance.cli.base import Commands, print_table, services, table_of, utc
from appliance.cli.remote import client


def add(commands: Commands) -> None:
    made = commands.add("audit", cmd_audit, "who changed what, and when; the newest first")
    made.set_defaults(remote=remote_audit)
    for name, text in (
        ("who", "only of this one, such as `web ann` or `cli root`"),
        ("action", "only these, such as `arm` or `release publish`"),
        ("subject", "only of this machine, release, channel or account"),
    ):
        made.add_argument(f"--{name}", default="", help=text)
    made.add_argument("--before", type=int, metavar="NUMBER", help="only lines older than this one")
    made.add_argument("--lines", type=int, default=50, help="at most so many (50)")


def cmd_audit(asked: argparse.Namespace) -> int:
    table = table_of("number", "when", "who", "action", "subject", "detail")
    for one in services(asked).audit.page(
        who=asked.who, action=asked.action, subject=asked.subject, before=asked.before, limit=asked.lines
    ):
        when = f"{datetime.fromtimestamp(one.at):%Y-%m-%d %H:%M:%S}"
        table.add_row(str(one.id), when, one.who, one.action, one.subject, one.detail)
    print_table(table)
    return 0


def remote_audit(asked: argparse.Namespace) -> int:
    table = table_of("number", "when", "who", "action", "subject", "detail")
    asks = {"who": asked.who, "action": asked.action, "subject": asked.subject, "cursor": asked.before or ""}
    for one in islice(client(asked).all("audit", query=asks), asked.lines):
        words = one["who"], one["action"], one["subject"], one["detail"]
        table.add_row(str(one["id"]), utc(one["at"]), *words)
    print_table(table)
    return 0
