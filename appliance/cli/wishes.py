"""What `distserver iso` and `distserver usb write` are told about the image to make."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from appliance.errors import Problem
from appliance.schema import parse_span
from iso.menu import Menu

if TYPE_CHECKING:
    from appliance.desks.drafts import Wish

LONGEST_TIMEOUT = 3600
LONGEST_VALID = 52 * 7 * 86400.0


def add_options(made: argparse.ArgumentParser) -> None:
    made.add_argument("--release", metavar="ID", help="this release of the one profile, not its channel's")
    made.add_argument("--offline", action="store_true", help="with all packages: needs no network")
    made.add_argument("--machine", default="", metavar="MACHINE", help="only for it, installs without asking")
    made.add_argument(
        "--valid", default="7d", metavar="TIME", help="how long such an image may (%(default)s)"
    )
    made.add_argument(
        "--timeout", type=int, default=Menu.timeout_seconds, metavar="SECONDS", help="of the menu"
    )
    made.add_argument("--server", default="", metavar="URL", help="where machines reach this server")


def wish_of(asked: argparse.Namespace, profiles: Sequence[str]) -> "Wish":
    """Raises Problem for what cannot be wished."""
    from appliance.desks.drafts import Wish  # which knows all the rooms

    valid = parse_span(asked.valid)
    if not valid or valid > LONGEST_VALID:
        raise Problem(f"--valid is {asked.valid!r}, expected a time such as 12h, 7d or 2w, at most 52w")
    if not 0 <= asked.timeout <= LONGEST_TIMEOUT:
        raise Problem(f"--timeout is {asked.timeout}, expected seconds from 0 to {LONGEST_TIMEOUT}")
    return Wish(
        profiles=tuple(profiles),
        release=asked.release,
        offline=asked.offline,
        machine=asked.machine,
        valid_seconds=valid,
        server=asked.server,
        timeout_seconds=asked.timeout,
    )
