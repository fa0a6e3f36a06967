"""`distserver rollout`: how far releases are on their way to installed machines."""

import argparse

from appliance.channels import NAMES, STABLE
from appliance.cli.base import Commands, print_table, services, table_of, utc
from appliance.cli.remote import client


def add(commands: Commands) -> None:
    rollout = commands.group("rollout", "releases on their way to installed machines: list, go-on")
    made = commands.add("list", cmd_list, "how far releases are, and what stopped them", of=rollout)
    made.set_defaults(remote=remote_list)
    made.add_argument("profile", nargs="?", default="", metavar="PROFILE")
    text = "let every machine have a release that waits for the first ones, or was stopped"
    made = commands.add("go-on", cmd_go_on, text, of=rollout)
    made.set_defaults(remote=remote_go_on)
    made.add_argument("profile", metavar="PROFILE")
    made.add_argument("--channel", choices=NAMES, default=STABLE)
    made.add_argument("--why", default="", help="kept in the audit log")


COLUMNS = ("profile", "channel", "release", "since", "state", "first", "why")


def cmd_list(asked: argparse.Namespace) -> int:
    table = table_of(*COLUMNS)
    for one in services(asked).clients.rollouts(asked.profile):
        state = one.state.value, str(len(one.canaries)), _why(one.why, one.who)
        table.add_row(one.profile, one.channel, one.release, utc(one.began_at), *state)
    print_table(table)
    return 0


def remote_list(asked: argparse.Namespace) -> int:
    table = table_of(*COLUMNS)
    for one in client(asked).get("rollouts")["items"]:
        if asked.profile in ("", one["profile"]):
            state = one["state"], str(len(one["canaries"])), _why(one["why"], one["who"])
            table.add_row(one["profile"], one["channel"], one["release"], utc(one["began_at"]), *state)
    print_table(table)
    return 0


def _why(why: str, who: str) -> str:
    return f"{why} ({who})" if who else why


def cmd_go_on(asked: argparse.Namespace) -> int:
    made = services(asked).clients.go_on(asked.profile, asked.channel, why=asked.why)
    return _goes_on(made.profile, made.channel, made.release)


def remote_go_on(asked: argparse.Namespace) -> int:
    body = {"channel": asked.channel, "why": asked.why}
    made = client(asked).post("profiles", asked.profile, "go-on", body=body)
    return _goes_on(made["profile"], made["channel"], made["release"])


def _goes_on(profile: str, channel: str, release: str) -> int:
    print(f"every machine on {profile}/{channel} gets {release} when its turn comes")
    return 0
