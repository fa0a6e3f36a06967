"""`distserver hold` and `distserver retry`: what stays out of a profile, and what is built again now."""

import argparse
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from appliance.cli.base import Command, Commands, print_table, services, table_of
from appliance.cli.remote import client

FAILED = "failed"


def add(commands: Commands) -> None:
    group = commands.group("hold", "packages that stay at the version machines have")
    made = commands.add("list", cmd_hold_list, "what is held or skipped, by whom and why", of=group)
    made.add_argument("profile", nargs="?", default="")
    made.set_defaults(remote=remote_list)
    texts = {
        "add": ("keep a package at the version machines have, whatever comes", "CATEGORY/NAME"),
        "skip": ("leave one version out: the last stays until the next comes", "CATEGORY/NAME-VERSION"),
        "release": ("let a held package move again, or a skipped version in", "PACKAGE"),
    }
    for name, (text, of_what) in texts.items():
        made = commands.add(name, CHANGES[name], text, of=group)
        made.add_argument("profile")
        made.add_argument("package", metavar=of_what)
        made.add_argument("--why", default="", help="for the audit log and whoever asks later")
        made.set_defaults(remote=remote_change, change=WORDS[name])
    text = "build a profile as soon as a worker is free, and try again what failed"
    made = commands.add("retry", cmd_retry, text)
    made.add_argument("profile")
    made.add_argument("package", nargs="?", default="", metavar="CATEGORY/NAME-VERSION", help="only this")
    made.add_argument("--why", default="", help="for the audit log and whoever asks later")
    made.set_defaults(remote=remote_retry)


def cmd_hold_list(asked: argparse.Namespace) -> int:
    desk = services(asked)
    rows = [
        (m.profile, m.subject, m.kind.value, m.stays, m.at, m.who, m.why)
        for m in desk.holds.all(asked.profile)
    ]
    for name in [asked.profile] if asked.profile else [one.name for one in desk.profiles()]:
        for held, since in desk.failures.held(name):
            why = f"{held.cpv} does not build"
            rows.append((name, held.cpv, FAILED, held.at, since, "farm", why))
    _show(rows)
    return 0


def cmd_hold_add(asked: argparse.Namespace) -> int:
    mask = services(asked).holds.hold(asked.profile, asked.package, why=asked.why)
    print(f"{mask.subject} of {mask.profile} stays at {mask.stays}")
    return 0


def cmd_hold_skip(asked: argparse.Namespace) -> int:
    mask = services(asked).holds.skip(asked.profile, asked.package, why=asked.why)
    print(f"{mask.profile} goes without {mask.subject}{f' and stays at {mask.stays}' if mask.stays else ''}")
    return 0


def cmd_hold_release(asked: argparse.Namespace) -> int:
    mask = services(asked).holds.release(asked.profile, asked.package, why=asked.why)
    print(f"{mask.subject} of {mask.profile} is not kept out any more")
    return 0


def cmd_retry(asked: argparse.Namespace) -> int:
    done = services(asked).build_requests.build(asked.profile, asked.package, why=asked.why)
    for one in done.forgotten:
        print(f"{one.cpv} of {one.profile} is tried again")
    after = "when the build that runs has ended" if done.running else "as soon as a worker is free"
    print(f"{asked.profile} is built {after}")
    return 0


def remote_list(asked: argparse.Namespace) -> int:
    names = ("profile", "subject", "kind", "stays", "at", "who", "why")
    found = client(asked).get("holds")["items"]
    _show([tuple(one[name] for name in names) for one in found if asked.profile in ("", one["profile"])])
    return 0


def remote_change(asked: argparse.Namespace) -> int:
    said = _post(asked, asked.change, {"package": asked.package, "why": asked.why})
    print(f"{said['subject']} of {said['profile']}: {asked.change}, machines have {said['stays'] or 'none'}")
    return 0


def remote_retry(asked: argparse.Namespace) -> int:
    said = _post(asked, "build", {"package": asked.package, "why": asked.why})
    print("".join(f"{one} is tried again\n" for one in said["tried_again"]), end="")
    print(f"{asked.profile} is built as soon as a worker is free")
    return 0


def _post(asked: argparse.Namespace, action: str, body: Mapping[str, str]) -> Any:
    return client(asked).post("profiles", asked.profile, action, body=body)


def _show(rows: list[tuple[Any, ...]]) -> None:
    table = table_of("profile", "package", "what", "machines have", "since", "by", "why")
    for profile, subject, kind, stays, at, who, why in rows:
        table.add_row(profile, subject, kind, stays, f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}", who, why)
    print_table(table)


CHANGES: Mapping[str, Command] = {"add": cmd_hold_add, "skip": cmd_hold_skip, "release": cmd_hold_release}
WORDS = {"add": "hold", "skip": "skip", "release": "release-hold"}
"""The last word of the address that does it."""
