"""`distserver release`: what was sealed and which channel points at it."""

import argparse

from appliance.cli.base import Commands, print_table, services, table_of


def add(commands: Commands) -> None:
    release = commands.group("release", "the releases: list, show")
    made = commands.add("list", cmd_release_list, "every release, newest first", of=release)
    made.add_argument("profile", nargs="?")
    made = commands.add("show", cmd_release_show, "the manifest of a release", of=release)
    made.add_argument("release", metavar="ID")


def cmd_release_list(asked: argparse.Namespace) -> int:
    table = table_of("release", "profile", "packages", "MiB", "snapshot", "channels")
    for release, channels in services(asked).releases(asked.profile):
        size = f"{release.size_bytes / 2**20:.0f}"
        table.add_row(
            release.id,
            release.profile,
            str(release.packages),
            size,
            short(release.snapshot),
            " ".join(channels),
        )
    print_table(table)
    return 0


def cmd_release_show(asked: argparse.Namespace) -> int:
    print(services(asked).release_manifest(asked.release), end="")
    return 0


def short(snapshot: str) -> str:
    """`gentoo:0123456789ab guru:...`: enough of each revision to tell it from others."""
    words = (word.partition(":") for word in snapshot.split())
    return " ".join(f"{name}:{revision[:12]}" for name, _, revision in words)
