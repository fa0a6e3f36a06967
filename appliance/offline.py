"""Chooses and plans on a machine without a server: the server's own decisions, from what its medium says.

Run as `python3 -B -m appliance.offline COMMAND ...` in the planner's root, with the medium on /medium. Facts
or a plan come on standard input. The status is 0 with an answer (a refusal is one), 1 with one sentence on
standard error when there is none, 2 when the command is not understood.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import medium
from appliance.errors import Problem
from appliance.facts import parse_facts
from appliance.install import Plan, Refused, default_name, describe, fingerprint, plan_install, render
from appliance.match import Choice, choose
from appliance.offering import Offer, listing, one_line, parse_offers

MEDIUM = Path("/medium")
MOUNTED = "file:///run/medium"
"""Where the installer has the medium."""
SECRET = "offline"
"""What a plan has for the secret of a machine that reports to nobody."""
ANSWERED, NO_ANSWER, NOT_UNDERSTOOD = 0, 1, 2
USAGE = "expected choose, list, plan PROFILE [HOSTNAME], describe PROFILE [HOSTNAME] or fingerprint"


@dataclass(frozen=True)
class Answer:
    status: int
    text: str


def answer(words: Sequence[str], place: Path, read: Callable[[], str]) -> Answer:
    """What to print and the exit status; `place` has the medium, `read` standard input. Raises nothing."""
    try:
        match words:
            case ["list"]:
                offers = _offers(place)
                return Answer(
                    ANSWERED, listing({name: one.profile.description for name, one in offers.items()})
                )
            case ["choose"]:
                return Answer(ANSWERED, _choose(_offers(place), _description(place), read()))
            case ["plan", profile] | ["plan", profile, _]:
                return Answer(ANSWERED, _plan_text(_offers(place), profile, words[2:], read()))
            case ["describe", profile] | ["describe", profile, _]:
                return Answer(ANSWERED, _describe(_offers(place), profile, words[2:], read()))
            case ["fingerprint"]:
                return Answer(ANSWERED, f"{fingerprint(read())}\n")
        return Answer(NOT_UNDERSTOOD, f"{USAGE}, came {one_line(' '.join(words)) or 'nothing'}\n")
    except Problem as problem:
        return Answer(NO_ANSWER, f"{one_line(str(problem))}\n")
    except Exception as bug:  # the outermost: a person at a console has no use for a traceback
        return Answer(NO_ANSWER, f"the planner made a mistake: {type(bug).__name__}: {one_line(str(bug))}\n")


def _choose(offers: Mapping[str, Offer], said: medium.Medium, facts_text: str) -> str:
    """`profile NAME REASON...` or `none REASON...`."""
    facts = parse_facts(facts_text)
    if said.machine and said.machine.mac == facts.mac:
        return f"profile {said.releases[0][1]} the medium was made for this machine\n"
    choice = choose(facts, {name: offer.profile for name, offer in offers.items()})
    if isinstance(choice, Choice):
        return f"profile {choice.profile} {one_line(choice.reason)}\n"
    return f"none {one_line(choice.reason)}\n"


def _plan(offers: Mapping[str, Offer], name: str, hostname: Sequence[str], facts_text: str) -> Plan:
    """Raises Refused, or Problem for what is no question of the machine's hardware."""
    if name not in offers:
        raise Problem(f"profile {one_line(name)} is not on this medium", hint=f"it has {', '.join(offers)}")
    facts, offer = parse_facts(facts_text), offers[name]
    return plan_install(
        facts, offer.profile, offer.release, hostname=next(iter(hostname), default_name(facts.mac))
    )


def _plan_text(offers: Mapping[str, Offer], name: str, hostname: Sequence[str], facts_text: str) -> str:
    """The plan as an installer carries it out, or one line `refused ...`."""
    try:
        plan = _plan(offers, name, hostname, facts_text)
    except Refused as refusal:
        return f"refused {one_line(str(refusal))}\n"
    return render(plan, report=SECRET, base=f"{MOUNTED}/r/{plan.release}", pool=MOUNTED)


def _describe(offers: Mapping[str, Offer], name: str, hostname: Sequence[str], facts_text: str) -> str:
    """The plan for a person, or why there is none."""
    try:
        lines = describe(_plan(offers, name, hostname, facts_text))
    except Refused as refusal:
        lines = [f"refused: {refusal}"]
    return "".join(f"{one_line(line)}\n" for line in lines)


def _offers(place: Path) -> Mapping[str, Offer]:
    return parse_offers(_read(place / medium.PROFILES))


def _description(place: Path) -> medium.Medium:
    return medium.parse(_read(place / medium.DESCRIPTION))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as bad:
        raise Problem(f"{path} cannot be read: {bad}", hint="the medium may be damaged") from bad


def main() -> int:
    """Answer the question of the command line."""
    # Decoded as the server decodes what an installer posts.
    said = answer(sys.argv[1:], MEDIUM, lambda: sys.stdin.buffer.read().decode(errors="replace"))
    stream = sys.stderr if said.status else sys.stdout
    stream.buffer.write(said.text.encode(errors="replace"))
    stream.flush()
    return said.status


if __name__ == "__main__":
    sys.exit(main())
