"""`distserver iso` and `distserver medium`: images for CDs and USB sticks, and what became of them."""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.cli.base import Commands, print_table, services, table_of, utc
from appliance.cli.progress import showing
from appliance.cli.release import who
from appliance.cli.wishes import add_options, wish_of
from appliance.desks.drafts import ALL, Wish
from appliance.desks.media import MadeImage
from appliance.errors import Problem
from appliance.install import size_text
from appliance.services import Services
from appliance.store.media import KnownMedium


def add(commands: Commands) -> None:
    made = commands.add("iso", cmd_iso, "make an image for CDs and USB sticks that installs machines")
    made.add_argument("profiles", nargs="+", metavar="PROFILE", help=f"or {ALL}: every one with a release")
    made.add_argument("-o", "--output", type=Path, metavar="FILE", help="distserver-SITE-...iso by default")
    add_options(made)
    made.add_argument("--yes", action="store_true", help="do not ask before an installed machine's image")

    group = commands.group("medium", "the images that were made: list, revoke")
    commands.add("list", cmd_medium_list, "every image, newest first", of=group)
    one = commands.add("revoke", cmd_medium_revoke, "let an image install its machine no more", of=group)
    one.add_argument("id", metavar="ID")


def cmd_iso(asked: argparse.Namespace) -> int:
    wish = wish_of(asked, asked.profiles)
    made = make(asked, wish, asked.output)
    print("\n".join(lines(made, wish)))
    return 0


def make(asked: argparse.Namespace, wish: Wish, output: Path | None) -> MadeImage:
    """Make an image while progress is shown, and say what is not as it could be."""
    desk = services(asked)
    if wish.machine and not asked.yes:
        confirm(desk, wish.machine)
    with showing() as show:
        made = desk.media.make(wish, output, who=who(), progress=show)
    for name in made.left_out:
        print(f"distserver: profile {name} has no release yet and is not on it", file=sys.stderr)
    for said in made.missing:
        print(f"distserver: {said}", file=sys.stderr)
    return made


def confirm(desk: Services, machine: str) -> None:
    """Let a person type the name of an installed machine; raises Problem when it is not typed."""
    found = desk.media.wipes(machine)
    if found is None:
        return
    name = found.name or found.mac
    said = f"machine {name} is {found.state.value}: this image installs it anew and wipes its disk"
    if not sys.stdin.isatty():
        raise Problem(said, hint="--yes makes it without asking")
    print(f"{said}.\nType {name} to go on: ", end="", flush=True)
    if sys.stdin.readline().strip() != name:
        raise Problem("no image was made")


def lines(made: MadeImage, wish: Wish) -> Iterator[str]:
    """What a person wants to know of an image."""
    yield f"{made.path}"
    yield f"  {size_text(made.size_bytes)} ({made.size_bytes} bytes), sha256 {made.sha256}"
    yield f"  medium {made.medium_id}"
    for release, profile in made.releases:
        yield f"  profile {profile}, release {release}"
    if made.expires_at is not None:
        yield f"  installs {wish.machine} once, without asking, until {utc(made.expires_at)}:"
        yield "  the one disk that matches its profile is wiped; keep the image like a key"
        yield f"  `distserver medium revoke {made.medium_id}` takes that back"
    elif wish.offline:
        yield "  installs a machine without any network, after a person typed `install` on its console"
    else:
        yield "  installs machines that reach this server, after they were armed here"
    yield f"to a USB stick: distserver usb write {made.path} /dev/DISK (`distserver usb list` names them)"
    yield f"to a CD: xorriso -as cdrecord -v dev=/dev/sr0 {made.path}"


def cmd_medium_list(asked: argparse.Namespace) -> int:
    table = table_of("id", "made", "by", "kind", "profiles and releases", "machine", "may install it")
    now = time.time()
    for one in services(asked).media.made():
        kind = "offline" if one.offline else "online"
        releases = ", ".join(f"{profile} {release}" for release, profile in one.releases)
        machine = f"{one.mac} {one.name}".strip()
        table.add_row(one.id, utc(one.made_at), one.who, kind, releases, machine, allows(one, now))
    print_table(table)
    return 0


def allows(one: KnownMedium, now: float) -> str:
    """What an image may still do by itself."""
    if not one.mac:
        return ""
    if one.used_at is not None:
        return f"no, used {utc(one.used_at)}"
    if one.revoked_at is not None:
        return f"no, revoked {utc(one.revoked_at)}"
    until = utc(one.expires_at or 0.0)
    return f"once, until {until}" if one.allows(now) else f"no, ended {until}"


def cmd_medium_revoke(asked: argparse.Namespace) -> int:
    one = services(asked).media.revoke(asked.id, who=who())
    print(f"image {one.id} may not install {one.name or one.mac} any more")
    if one.offline:
        print(f"It needs no server: keep it away from that machine until {utc(one.expires_at or 0.0)}.")
    return 0
