"""`distserver account`: who may sign in to the web page, and tokens for programs."""

import argparse
import getpass
import sys
from datetime import datetime

from appliance.account_model import Role
from appliance.cli.base import Commands, print_table, services, table_of
from appliance.errors import Problem
from appliance.web_address import invitation_sentence

ROLES = tuple(role.value for role in Role)


def add(commands: Commands) -> None:
    words = "add, list, role, disable, enable, password, sessions, token"
    group = commands.group("account", f"who may sign in to the web page: {words}")
    for name, command, text in (
        ("add", cmd_add, "make an account and print the one-time link with which its owner comes"),
        ("role", cmd_role, "give it another role"),
        ("disable", cmd_disable, "let nobody in as it, and end its sessions"),
        ("enable", cmd_enable, "take that back"),
        ("password", cmd_password, "set its password: asked for, or the first line of standard input"),
        ("sessions", cmd_sessions, "who is signed in as it; --end signs all of them out"),
        ("token", cmd_token, "tokens for programs: list, or --add NAME, or --end NUMBER"),
    ):
        made = commands.add(name, command, text, of=group)
        made.add_argument("name", metavar="NAME")
        if name == "add":
            made.add_argument("--role", choices=ROLES, default=Role.VIEWER.value)
        if name == "role":
            made.add_argument("role", choices=ROLES)
        if name == "sessions":
            made.add_argument("--end", action="store_true")
        if name == "token":
            made.add_argument("--add", metavar="NAME", help="a new one; says what will use it")
            made.add_argument("--scope", choices=ROLES, default=Role.VIEWER.value)
            made.add_argument("--days", type=float, default=90.0, help="how long it lasts (90)")
            made.add_argument("--end", type=int, metavar="NUMBER")
    commands.add("list", cmd_list, "every account", of=group)


def cmd_add(asked: argparse.Namespace) -> int:
    desk = services(asked)
    secret = desk.accounts.invite(asked.name, Role(asked.role))
    print(invitation_sentence(desk, desk.accounts.get(asked.name), secret))
    return 0


def cmd_list(asked: argparse.Namespace) -> int:
    desk = services(asked)
    table = table_of("name", "role", "since", "sessions", "tokens", "notes")
    for one in desk.accounts.all():
        notes = ["disabled"] if one.disabled else [] if one.has_password else ["invited, has not come yet"]
        counts = len(desk.accounts.sessions(one.name)), len(desk.api_tokens.of(one.name))
        table.add_row(one.name, one.role.value, _time(one.created_at), *map(str, counts), ", ".join(notes))
    print_table(table)
    return 0


def cmd_role(asked: argparse.Namespace) -> int:
    one = services(asked).accounts.set_role(asked.name, Role(asked.role))
    print(f"{one.name} has the role {one.role.value}")
    return 0


def cmd_disable(asked: argparse.Namespace) -> int:
    one = services(asked).accounts.disable(asked.name)
    print(f"nobody gets in as {one.name} any more")
    return 0


def cmd_enable(asked: argparse.Namespace) -> int:
    one = services(asked).accounts.enable(asked.name)
    print(f"{one.name} may sign in again")
    return 0


def cmd_password(asked: argparse.Namespace) -> int:
    desk = services(asked)
    desk.accounts.get(asked.name)
    if sys.stdin.isatty():
        password = getpass.getpass(f"New password of {asked.name}: ")
        if getpass.getpass("Once more: ") != password:
            raise Problem("these were two different passwords")
    else:
        password = sys.stdin.readline().rstrip("\n")
    desk.accounts.set_password(asked.name, password)
    print(f"{asked.name} has a new password, and all of its sessions are ended")
    return 0


def cmd_sessions(asked: argparse.Namespace) -> int:
    desk = services(asked)
    if asked.end:
        print(f"{desk.accounts.end_sessions(asked.name)} sessions ended")
        return 0
    table = table_of("since", "last seen", "from", "browser")
    for one in desk.accounts.sessions(asked.name):
        table.add_row(_time(one.started_at), _time(one.seen_at), one.address, one.browser)
    print_table(table)
    return 0


def cmd_token(asked: argparse.Namespace) -> int:
    desk = services(asked)
    account = desk.accounts.get(asked.name)
    if asked.add:
        _, text = desk.api_tokens.make(account, asked.add, Role(asked.scope), days=asked.days)
        print(text)
    elif asked.end:
        desk.api_tokens.end(account.name, asked.end)
        print(f"token {asked.end} opens nothing any more")
    else:
        table = table_of("number", "scope", "made", "ends", "used", "name")
        for one in desk.api_tokens.of(account.name):
            used = _time(one.used_at) if one.used_at else "never"
            times = _time(one.created_at), _time(one.expires_at), used
            table.add_row(str(one.id), one.scope.value, *times, one.label)
        print_table(table)
    return 0


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
