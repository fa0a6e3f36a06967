"""`distserver match`: what the match rules say to facts in a file, and to known machines with other rules."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.remote import client
from appliance.errors import Problem
from appliance.match import Choice, NoChoice
from appliance.timeline import clean

Row = tuple[str, str, bool, str]
"""Profile, rule, whether it fits, why."""


def add(commands: Commands) -> None:
    text = "which profile the match rules choose, and why each other rule does not; nothing is changed"
    made = commands.add("match", cmd_match, text)
    made.set_defaults(remote=match_afar)
    what = made.add_mutually_exclusive_group(required=True)
    facts = "facts as an installer sends them, or - for standard input; `machine facts` prints a machine's"
    what.add_argument("--facts", metavar="FILE", help=facts)
    against = "which known machines the rules of this directory would choose otherwise for; status 1: some"
    what.add_argument("--against", type=Path, metavar="SITE_DIR", help=against)


def cmd_match(asked: argparse.Namespace) -> int:
    desk = services(asked).matching
    if asked.facts is None:
        return _against(asked)
    trial = desk.try_text(read_facts(asked.facts))
    print(clean(said_of(trial.choice)))
    show_verdicts([(one.profile, one.rule.source, one.fits, one.why) for one in trial.verdicts])
    return 0


def match_afar(asked: argparse.Namespace) -> int:
    if asked.facts is None:
        raise Problem("--against reads a directory of the server: give this command there")
    said = client(asked).post("match", body={"facts": read_facts(asked.facts)})
    print(clean(f"profile {said['profile']}: {said['reason']}" if said["profile"] else said["reason"]))
    show_verdicts([(one["profile"], one["source"], one["fits"], one["why"]) for one in said["rules"]])
    return 0


def read_facts(file: str) -> str:
    """The text of a facts file. Raises Problem when it cannot be read."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as failed:
        raise Problem(f"{file} cannot be read: {failed.strerror}") from failed
    # As the server decodes what an installer posts.
    return content.decode(errors="replace")


def said_of(choice: Choice | NoChoice) -> str:
    """One line: the profile and why, or why there is none."""
    if isinstance(choice, NoChoice):
        return f"no profile: {choice.reason}"
    return f"profile {choice.profile}{', armed' if choice.rule.arm else ''}: {choice.reason}"


def show_verdicts(rows: Sequence[Row]) -> None:
    table: Any = table_of("profile", "rule", "fits", "why")
    for profile, source, fits, why in rows:
        table.add_row(profile, source, "yes" if fits else "no", why)
    print_table(table)


def _against(asked: argparse.Namespace) -> int:
    seen = services(asked).matching.foresee_site(asked.against)
    for machine, turn in seen.turns:
        held = f" (it has the profile {machine.profile} already and keeps it)" if machine.profile else ""
        print(clean(f"{machine.mac} {machine.name}".strip() + held))
        print(clean(f"  now   {said_of(turn.before)}"))
        print(clean(f"  then  {said_of(turn.after)}"))
    print(
        f"for {len(seen.turns)} of {seen.machines} machines the rules of {asked.against} say something else"
    )
    return 1 if seen.turns else 0
