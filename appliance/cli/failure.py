"""`distserver failure`: which packages did not build, and why."""

import argparse
from datetime import datetime

from appliance.cli.base import Commands, print_table, services, table_of, utc
from appliance.cli.remote import client


def add(commands: Commands) -> None:
    group = commands.group("failure", "packages that did not build")
    made = commands.add("list", cmd_failure_list, "what failed last first", of=group)
    made.set_defaults(remote=remote_failures)
    made.add_argument("profile", nargs="?")
    made = commands.add("show", cmd_failure_show, "why a package failed, with the end of its log", of=group)
    made.add_argument("package", metavar="CATEGORY/NAME-VERSION")
    made.add_argument("--profile")
    text = "let a package be tried again at the next build"
    made = commands.add("forget", cmd_failure_forget, text, of=group)
    made.add_argument("package", metavar="CATEGORY/NAME-VERSION")
    made.add_argument("--profile")


def cmd_failure_list(asked: argparse.Namespace) -> int:
    desk = services(asked).failures
    table = table_of("profile", "package", "kind", "times", "last", "tried again", "why")
    for one in desk.all(asked.profile):
        times = (_time(one.last_at), _time(desk.due_at(one)))
        table.add_row(one.profile, one.cpv, one.kind.value, str(one.count), *times, one.evidence)
    print_table(table)
    profiles = sorted({one.profile for one in desk.all(asked.profile)})
    for profile in [asked.profile] if asked.profile else profiles:
        for held, since in desk.held(profile):
            print(f"{profile} holds {held.at} instead of {held.cpv} since {_time(since)}")
    return 0


def remote_failures(asked: argparse.Namespace) -> int:
    table = table_of("profile", "package", "kind", "times", "last", "tried again", "why")
    for one in client(asked).get("failures", query={"profile": asked.profile or ""})["items"]:
        times = utc(one["last_at"]), utc(one["due_at"])
        row = one["profile"], one["package"], one["kind"], str(one["count"])
        table.add_row(*row, *times, one["evidence"])
    print_table(table)
    return 0


def cmd_failure_show(asked: argparse.Namespace) -> int:
    for one in services(asked).failures.show(asked.package, asked.profile):
        print(f"{one.cpv} of {one.profile}: {one.kind.value}, {one.evidence}")
        print(f"  failed {one.count} times, from {_time(one.first_at)} to {_time(one.last_at)}")
        print(f"  build key {one.build_key}\n  log {one.log}")
        print("".join(f"    {line}\n" for line in one.tail.splitlines()), end="")
    return 0


def cmd_failure_forget(asked: argparse.Namespace) -> int:
    desk = services(asked)
    for one in desk.failures.forget(asked.package, asked.profile):
        desk.audit.note(None, "failure forget", one.cpv, one.profile)
        print(f"{one.cpv} of {one.profile} is tried again at the next build")
    return 0


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
