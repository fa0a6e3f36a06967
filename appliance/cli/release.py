"""`distserver release`: what was sealed, and which release each channel names."""

import argparse

from appliance.channels import NAMES, STABLE
from appliance.cli.base import Command, Commands, print_table, services, table_of, user, utc
from appliance.cli.release_remote import COMMANDS
from appliance.desks.releases import Publication
from appliance.farm_model import Move


def add(commands: Commands) -> None:
    release = commands.group(
        "release", "the releases: list, show, diff, promote, rollback, pin, unpin, verify"
    )

    def made(name: str, command: Command, text: str, *places: str) -> argparse.ArgumentParser:
        parser = commands.add(name, command, text, of=release)
        for place in places:
            optional = place.startswith("[")
            word = place.strip("[]")
            parser.add_argument(word.lower(), metavar=word, nargs="?" if optional else None)
        parser.set_defaults(remote=COMMANDS[name])
        return parser

    made("list", cmd_list, "every release, newest first", "[PROFILE]")
    one = made("show", cmd_show, "a release: where it is named, of what it is made", "ID")
    one.add_argument("--manifest", action="store_true", help="the signed text itself")
    made("diff", cmd_diff, "what changes from one release to another", "BEFORE", "AFTER")
    made("history", cmd_history, "how the channels of a profile moved", "PROFILE")
    made("promote", cmd_promote, "move stable to the canary release, or to ID", "PROFILE", "[ID]")
    one = made("rollback", cmd_rollback, "move a channel to the release before, or to --to", "PROFILE")
    one.add_argument("--to", metavar="ID")
    made("pin", cmd_pin, "move a channel to a release and leave it there", "PROFILE", "ID")
    made("unpin", cmd_unpin, "let a pinned channel move again", "PROFILE")
    for name in ("rollback", "pin", "unpin"):
        release.choices[name].add_argument("--channel", choices=NAMES, default=STABLE)
    for name in ("promote", "rollback", "pin"):
        release.choices[name].add_argument("--why", default="", help="kept in the history")
    made("verify", cmd_verify, "check signature, files and packages, of one release or all", "[ID]")


def who() -> str:
    """Who moves a channel, for its history."""
    return f"cli {user()}"


def cmd_list(asked: argparse.Namespace) -> int:
    columns = ("release", "profile", "packages", "built", "reused", "MiB", "snapshot", "channels", "notes")
    table = table_of(*columns)
    for shown in services(asked).release_desk.releases(asked.profile):
        one = shown.release
        notes = [
            *(f"pinned to {channel}" for channel in shown.pins),
            *(["new kernel: reboot"] if shown.reboot else []),
            *([f"on {len(shown.machines)} machines"] if shown.machines else []),
            *([f"not served: {shown.fault}"] if shown.fault else []),
        ]
        counts = (str(number) for number in (one.packages, shown.built, shown.reused))
        size = f"{one.size_bytes / 2**20:.0f}"
        channels = " ".join(shown.channels)
        table.add_row(one.id, one.profile, *counts, size, short(one.snapshot), channels, "; ".join(notes))
    print_table(table)
    return 0


def cmd_show(asked: argparse.Namespace) -> int:
    desk = services(asked).release_desk
    if asked.manifest:
        print(desk.manifest(asked.id), end="")
        return 0
    one = desk.release(asked.id)
    (shown,) = (shown for shown in desk.releases(one.profile) if shown.release == one)
    print(f"release {one.id} of profile {one.profile}, sealed {utc(one.created_at)}")
    print(f"  snapshot {one.snapshot}")
    print(
        f"  {one.packages} packages ({shown.built} built, {shown.reused} reused),"
        f" {one.size_bytes / 2**20:.1f} MiB"
    )
    print(f"  channels: {' '.join(shown.channels) or 'none'}; pinned: {' '.join(shown.pins) or 'no'}")
    print(f"  machines: {' '.join(shown.machines) or 'none'}")
    if shown.reboot:
        print("  its kernel is not that of the release before: reboot needed")
    if shown.fault:
        print(f"  it is not served: {shown.fault}")
    for origin in desk.origins(one.id):
        source = f" from {origin.profile}" if origin.origin == "reused" and origin.profile else ""
        print(f"  {origin.origin}{source}: {origin.cpv} {origin.sha256[:12]}")
    return 0


def cmd_diff(asked: argparse.Namespace) -> int:
    print("\n".join(services(asked).release_desk.diff(asked.before, asked.after).lines()))
    return 0


def cmd_history(asked: argparse.Namespace) -> int:
    table = table_of("channel", "serial", "when", "kind", "from", "to", "who", "why")
    for move in services(asked).release_desk.history(asked.profile):
        table.add_row(
            move.channel, str(move.serial), utc(move.at), _kind(move), *_ends(move), move.who, move.why
        )
    print_table(table)
    return 0


def cmd_promote(asked: argparse.Namespace) -> int:
    return _say(services(asked).release_desk.promote(asked.profile, asked.id, who=who(), why=asked.why))


def cmd_rollback(asked: argparse.Namespace) -> int:
    desk = services(asked).release_desk
    return _say(desk.rollback(asked.profile, asked.to, channel=asked.channel, who=who(), why=asked.why))


def cmd_pin(asked: argparse.Namespace) -> int:
    desk = services(asked).release_desk
    pin = desk.pin(asked.profile, asked.id, channel=asked.channel, who=who(), why=asked.why)
    print(f"channel {pin.profile}/{pin.channel} stays at {pin.release}, whatever is published")
    return 0


def cmd_unpin(asked: argparse.Namespace) -> int:
    pin = services(asked).release_desk.unpin(asked.profile, channel=asked.channel, who=who())
    print(f"channel {pin.profile}/{pin.channel} names {pin.release} and moves with the next publication")
    return 0


def cmd_verify(asked: argparse.Namespace) -> int:
    found = services(asked).release_desk.verify(asked.id, deep=True)
    print("\n".join(found) or "every signature, file and package is what it should be")
    return 1 if found else 0


def _say(done: Publication) -> int:
    for channel in done.moved:
        print(f"channel {done.release.profile}/{channel} names release {done.release.id}")
    return 0


def _kind(move: Move) -> str:
    return move.kind if move.state == "done" else f"{move.kind}, {move.state}"


def _ends(move: Move) -> tuple[str, str]:
    return move.release_before or "", move.release


def short(snapshot: str) -> str:
    """`gentoo:0123456789ab guru:...`: enough of each revision to tell it from others."""
    words = (word.partition(":") for word in snapshot.split())
    return " ".join(f"{name}:{revision[:12]}" for name, _, revision in words)
