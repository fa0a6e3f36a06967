"""`distserver --server URL release ...`: releases and channels of another host, through its API."""

import argparse
from typing import Any

from appliance.cli.base import Command, print_table, table_of, utc
from appliance.cli.remote import HERE, client, done_errand
from appliance.errors import Problem

PROFILES, RELEASES = "profiles", "releases"
VERIFY_SECONDS = 3600.0
"""Every byte of a release is read."""


def list_releases(asked: argparse.Namespace) -> int:
    table = table_of("release", "profile", "sealed", "packages", "MiB", "channels", "notes")
    for one in client(asked).all(RELEASES, query={"profile": asked.profile or ""}):
        size = str(one["packages"]), f"{one['size_bytes'] / 2**20:.0f}"
        table.add_row(
            one["id"], one["profile"], utc(one["created_at"]), *size, " ".join(one["channels"]), notes(one)
        )
    print_table(table)
    return 0


def notes(one: dict[str, Any]) -> str:
    pinned = [f"pinned to {channel}" for channel in one["pins"]]
    return "; ".join([*pinned, *([f"not served: {one['fault']}"] if one["fault"] else [])])


def show_release(asked: argparse.Namespace) -> int:
    if asked.manifest:
        raise Problem(f"--manifest: {HERE}", hint="machines fetch it as /r/ID/manifest")
    server = client(asked)
    one = server.get(RELEASES, asked.id)
    print(f"release {one['id']} of profile {one['profile']}, sealed {utc(one['created_at'])}")
    print(f"  snapshot {one['snapshot']}\n  {one['packages']} packages, {one['size_bytes'] / 2**20:.1f} MiB")
    print(f"  channels: {' '.join(one['channels']) or 'none'}; pinned: {' '.join(one['pins']) or 'no'}")
    if one["fault"]:
        print(f"  it is not served: {one['fault']}")
    for package in server.all(RELEASES, asked.id, "packages"):
        print(f"  {package['name']}-{package['version']}-{package['build_id']} {package['sha256'][:12]}")
    return 0


def compare(asked: argparse.Namespace) -> int:
    print("\n".join(client(asked).get(RELEASES, asked.after, "difference", asked.before)["lines"]))
    return 0


def show_history(asked: argparse.Namespace) -> int:
    table = table_of("channel", "serial", "when", "kind", "from", "to", "who", "why")
    for one in client(asked).get(PROFILES, asked.profile, "moves")["items"]:
        kind = one["kind"] if one["state"] == "done" else f"{one['kind']}, {one['state']}"
        ends = one["release_before"] or "", one["release"]
        table.add_row(one["channel"], str(one["serial"]), utc(one["at"]), kind, *ends, one["who"], one["why"])
    print_table(table)
    return 0


def verify(asked: argparse.Namespace) -> int:
    server = client(asked)
    named = [server.get(RELEASES, asked.id)] if asked.id else list(server.all(RELEASES))
    wrong = []
    for one in named:
        number = server.post(RELEASES, one["id"], "verify")["id"]
        try:
            done_errand(server, number, PROFILES, one["profile"], seconds=VERIFY_SECONDS)
        except Problem as problem:
            wrong.append(problem.message)
    print("\n".join(wrong) or "every signature, file and package is what it should be")
    return 1 if wrong else 0


def mover(kind: str, *, release: str = "", channel: bool = True, why: bool = True) -> Command:
    """A command that has the farm move a channel; `release`: the option that names one."""

    def move(asked: argparse.Namespace) -> int:
        server = client(asked)
        body: dict[str, str | bool] = {"release": (getattr(asked, release) if release else "") or ""}
        body |= {"channel": asked.channel} if channel else {}
        body |= {"why": asked.why} if why else {}
        number = server.post(PROFILES, asked.profile, kind, body=body)["id"]
        print(done_errand(server, number, PROFILES, asked.profile)["said"])
        return 0

    return move


COMMANDS: dict[str, Command] = {
    "list": list_releases,
    "show": show_release,
    "diff": compare,
    "history": show_history,
    "promote": mover("promote", release="id", channel=False),
    "rollback": mover("rollback", release="to"),
    "pin": mover("pin", release="id"),
    "unpin": mover("unpin", why=False),
    "verify": verify,
}
