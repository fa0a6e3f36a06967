"""`distserver console`: a machine's serial line, for a person or for a scripted dialogue."""

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from appliance.cli.base import Commands, services
from appliance.console import ConsoleClosed
from appliance.dialogues import DIALOGUES
from appliance.errors import Problem


def add(commands: Commands) -> None:
    text = "a machine's serial console; `~.` at the start of a line leaves it, `~B` sends a break, `~?` helps"
    made = commands.add("console", cmd_console, text)
    made.add_argument("machine", metavar="MACHINE", help="its MAC or name")
    made.add_argument("--log", type=Path, metavar="FILE", help="add all that it says to this file")
    made.add_argument("--netboot", action="store_true", help="let its firmware boot from the network once")
    text = f"with --netboot, instead of the site's console.firmware: {', '.join(DIALOGUES)}"
    made.add_argument("--firmware", choices=tuple(DIALOGUES), help=text)


def cmd_console(asked: argparse.Namespace) -> int:
    desk = services(asked)
    machine = desk.machine(asked.machine)
    if asked.firmware and not asked.netboot:
        raise Problem("--firmware says how to --netboot", hint="give both")
    if asked.netboot:
        transcript = asked.log or Path(os.devnull)
        try:
            desk.power.netboot(
                machine, asked.firmware or "", transcript, lambda text: print(text, flush=True)
            )
        except ConsoleClosed as closed:
            raise Problem(f"the console of {machine.mac} was closed", hint=closed.tail) from closed
        print(f"{machine.mac} boots from the network")
        return 0
    with ExitStack() as stack:
        log_file = stack.enter_context(asked.log.open("ab", buffering=0)) if asked.log else None
        print("connected; `~.` at the start of a line leaves", file=sys.stderr)
        desk.power.converse(machine, log_file)
    return 0
