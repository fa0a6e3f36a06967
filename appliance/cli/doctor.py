"""`distserver doctor`: says whether machines of this LAN would boot, and what has to be changed if not."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from appliance.cli.base import PIPE_COLUMNS, Commands, services
from appliance.desks.doctor import DoctorDesk, Examination
from appliance.findings import Level, worst
from appliance.model import Tree
from pxe.diagnosis import Seen
from pxe.malformed import printable
from pxe.probe import COLLECT_SECONDS

COLOURS = {Level.GREEN: "green", Level.YELLOW: "yellow", Level.RED: "red"}


def add(commands: Commands) -> None:
    text = "ask the LAN as firmware does, judge what answers, and check ports, firewall, MTU and capabilities"
    made = commands.add("doctor", cmd_doctor, text)
    made.description = f"{text}. Ends with status 0 (green), 1 (yellow) or 2 (red)."
    made.add_argument(
        "--interface", action="append", default=[], help="look at this one (repeatable); the site's, or all"
    )
    made.add_argument(
        "--seconds", type=float, default=COLLECT_SECONDS, help="how long answers are waited for"
    )
    made.add_argument("--json", action="store_true", help="print what was seen and found as JSON")


def cmd_doctor(asked: argparse.Namespace) -> int:
    there = (asked.site / "appliance.toml").exists() and Tree(asked.state.resolve()).store.exists()
    desk = DoctorDesk(services(asked) if there else None)
    notes = Console(stderr=True)
    examined = []
    for interface in asked.interface or desk.interfaces():
        with notes.status(f"asking on {interface}") as status:
            examined.append(
                desk.examine(interface, seconds=asked.seconds, progress=_progress(status, asked.seconds))
            )
    if asked.json:
        print(json.dumps(as_json(examined), indent=2))
    else:
        for one in examined:
            show(one)
        if not there:
            print("There is no site or no state here: only the usual ports were looked at (--site, --state).")
    return int(worst(finding for one in examined for finding in one.findings))


def _progress(status: Status, seconds: float) -> Any:
    def told(interface: str, passed: float, offers: int) -> None:
        status.update(f"asking on {interface}: {passed:.0f} of {seconds:.0f} s, {offers} answers")

    return told


def show(examined: Examination) -> None:
    """The findings, the worst first; colours where a person sees them."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS, color_system=None)
    console.print(f"{examined.interface}: {len(examined.offers)} answers", highlight=False)
    for finding in sorted(examined.findings, key=lambda one: -one.level):
        colour = COLOURS[finding.level]
        mark = f"[{colour}]{finding.level.name.lower():7}[/{colour}]"
        console.print(
            f"  {mark}{escape(finding.subject)}: {escape(finding.said)}", highlight=False, soft_wrap=True
        )
        if finding.fix:
            console.print(f"         -> {escape(finding.fix)}", highlight=False, soft_wrap=True)


def as_json(examined: Sequence[Examination]) -> dict[str, Any]:
    findings = [finding for one in examined for finding in one.findings]
    return {
        "level": worst(findings).name.lower(),
        "interfaces": [
            {
                "interface": one.interface,
                "offers": [_offer(seen) for seen in one.offers],
                "findings": [
                    {
                        "level": finding.level.name.lower(),
                        "subject": finding.subject,
                        "said": finding.said,
                        "fix": finding.fix,
                    }
                    for finding in one.findings
                ],
            }
            for one in examined
        ],
    }


def _offer(seen: Seen) -> dict[str, Any]:
    packet = seen.packet
    return {
        "architecture": seen.arch,
        "server": str(seen.server),
        "mac": seen.mac,
        "seconds": round(seen.seconds, 3),
        "yiaddr": str(packet.yiaddr),
        "siaddr": str(packet.siaddr),
        "giaddr": str(packet.giaddr),
        "file": printable(packet.file),
        "options": {str(code): value.hex() for code, value in packet.options},
    }
