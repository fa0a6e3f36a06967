"""`distserver package`: where a package came from, and which releases use it."""

import argparse
from datetime import datetime

from appliance.cli.base import Commands, services
from appliance.desks.packages import Shown


def add(commands: Commands) -> None:
    group = commands.group("package", "packages of the pool")
    text = "where a package came from, what it took, which releases use it"
    made = commands.add("show", cmd_package_show, text, of=group)
    made.add_argument("package", metavar="NAME-OR-SHA256")
    made.add_argument("--recipe", action="store_true", help="also everything that decides about a rebuild")


def cmd_package_show(asked: argparse.Namespace) -> int:
    for shown in services(asked).packages.show(asked.package):
        print(_text(shown), end="")
        if asked.recipe:
            print("".join(f"    {name} = {value}\n" for name, value in sorted(shown.recipe.items())), end="")
    return 0


def _text(shown: Shown) -> str:
    one = shown.package
    whom = one.profile or "nobody knows whom"
    shared = "every compiler and all flags" if one.neutral_key else "this compiler and these flags"
    lines = [
        f"{one.cpv}  build {one.build_id}, {one.size_bytes / 2**20:.1f} MiB",
        f"  sha256 {one.sha256}",
        f"  built {datetime.fromtimestamp(one.built_at):%Y-%m-%d %H:%M} for {whom}",
        f"  build key {one.build_key}, good for {shared}",
    ]
    if one.seconds:
        remote = f", {one.remote_share:.0%} compiled on {one.hosts}" if one.hosts else ""
        memory = f", {one.peak_bytes / 2**20:.0f} MiB of memory" if one.peak_bytes else ""
        lines.append(f"  took {one.seconds:.0f} s ({one.cpu_seconds:.0f} s of processors{memory}{remote})")
    lines += [f"  differs from the one before: {sentence}" for sentence in shown.differs]
    releases = ", ".join(f"{release.id} ({release.profile})" for release in shown.releases)
    lines.append(f"  in release {releases}" if releases else "  in no release")
    said = str(shown.provenance) if shown.provenance else "says nothing of where it came from"
    return "".join(f"{line}\n" for line in [*lines, *(f"    {line}" for line in said.splitlines())])
