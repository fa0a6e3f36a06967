"""`distserver explain`: what a machine would boot, from its first packet to the plan, and why."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.cli.base import Commands, services
from appliance.desks.explain import IPXE, NAMES, Question, read_arch
from appliance.errors import Problem
from appliance.services import Services
from appliance.site import read_site


def add(commands: Commands) -> None:
    text = "what a machine would boot and be installed with, and why; offline, nothing is changed"
    made = commands.add("explain", cmd_explain, text)
    made.add_argument("mac", metavar="MACHINE", nargs="?", help="its MAC, or the name of a known one")
    made.add_argument("--arch", help=f"its architecture: {', '.join(NAMES)}, or option 93 as a number")
    text = "who asks: the firmware for PXE or for UEFI HTTP boot, or an iPXE in the network card"
    made.add_argument("--class", dest="vendor_class", choices=("PXEClient", "HTTPClient", IPXE), help=text)
    text = "what would change if this directory were the site; status 1 when something would"
    made.add_argument("--against", type=Path, metavar="SITE_DIR", help=text)
    made.add_argument("--all", action="store_true", help="with --against: every known machine")


def cmd_explain(asked: argparse.Namespace) -> int:
    """Status 1 with --against: something would change."""
    if asked.all == bool(asked.mac) or (asked.all and not asked.against):
        raise Problem("name a machine, or --all with --against SITE_DIR")
    use = services(asked)
    if asked.against:
        read_site(asked.against)
    with _quiet():
        return _explain(asked, use)


@contextmanager
def _quiet() -> Iterator[None]:
    """What the servers' code says in passing is for the log of a boot that takes place."""
    speaker = logging.getLogger("pxe")
    before = speaker.level
    speaker.setLevel(logging.ERROR)
    try:
        yield
    finally:
        speaker.setLevel(before)


def _explain(asked: argparse.Namespace, use: Services) -> int:
    desk = use.explain
    if asked.all:
        return _all(desk.differences(asked.against), asked.against)
    mac = use.mac_of(asked.mac)
    arch = read_arch(asked.arch) if asked.arch else None
    question = Question(arch, asked.vendor_class or "")
    if asked.against:
        changed = desk.difference(mac, asked.against, question)
        print("\n".join(changed) or f"{mac}: nothing would change")
        return 1 if changed else 0
    print("\n".join(desk.explain(mac, question).lines))
    return 0


def _all(differences: dict[str, list[str]], site: Path) -> int:
    changed = {mac: lines for mac, lines in differences.items() if lines}
    for lines in changed.values():
        print("\n".join(lines))
    print(f"{len(changed)} of {len(differences)} machines would change with {site}")
    return 1 if changed else 0
