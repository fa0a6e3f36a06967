"""Match rules in the API: what they say to facts, and what changed ones would say to the known machines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from appliance import model
from appliance.account_model import Role
from appliance.edit_model import Change, check_path, encode
from appliance.facts import MAX_BYTES
from appliance.match import Choice, Foreseen, NoChoice, Turn, Verdict
from appliance.match_rules import conditions
from appliance.services import Services
from webui.api.operation import Operation, looking
from webui.api.profiles import MOST_BODY
from webui.api.schema import Rule

PROFILE_FILE = "profile.toml"
MOST_FACTS = 8 * MAX_BYTES
"""Of a body with facts: JSON may write a byte as six."""


@dataclass(frozen=True)
class MatchQuery:
    """As if the machine had sent these; what is not given or empty is as it sent it."""

    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""


@dataclass(frozen=True)
class FactsText:
    facts: Annotated[str, Rule("as an installer sends them: a line `mac`, a line `firmware`, and more")]


@dataclass(frozen=True)
class RuleChange:
    """A profile.toml as it would be; nothing is written."""

    profile: str
    text: str


@dataclass(frozen=True)
class RuleVerdict:
    """What one match rule of the site says to a machine's facts."""

    profile: str
    source: str
    arms: bool
    fits: bool
    why: str
    priority: int
    conditions: str
    """In words, joined by semicolons."""


@dataclass(frozen=True)
class Matched:
    """The profile that the match rules choose, null when they choose none, and why."""

    profile: str | None
    reason: str
    rules: tuple[RuleVerdict, ...]


@dataclass(frozen=True)
class MachineTurn:
    """A machine for which changed rules choose another profile, or arm it where they did not.

    Rules decide for machines without a profile: one that `has` a profile keeps it.
    """

    mac: str
    name: str
    has: str | None
    before: str | None
    arms_before: bool
    before_reason: str
    after: str | None
    arms_after: bool
    after_reason: str


@dataclass(frozen=True)
class RuleEffect:
    """What changed rules mean for the machines whose facts are known; null while the site has mistakes."""

    machines: int | None
    turns: tuple[MachineTurn, ...]


def match_machine(desk: Services, machine: str, query: MatchQuery) -> Matched:
    with looking():
        found = desk.machine(machine)
    choice, verdicts = desk.machine_desk.judge(
        found, {key: text for key, text in vars(query).items() if text}
    )
    return matched(choice, verdicts)


def match_facts(desk: Services, body: FactsText) -> Matched:
    trial = desk.matching.try_text(body.facts)
    return matched(trial.choice, trial.verdicts)


def match_changed(desk: Services, body: RuleChange) -> RuleEffect:
    check_path(body.profile, PROFILE_FILE)
    base = desk.edits.read(body.profile, PROFILE_FILE)
    return effect(desk.matching.foresee(Change(body.profile, PROFILE_FILE, base, encode(body.text))))


def matched(choice: Choice | NoChoice, verdicts: Sequence[Verdict]) -> Matched:
    rules = tuple(
        RuleVerdict(
            one.profile,
            one.rule.source,
            one.rule.arm,
            one.fits,
            one.why,
            one.rule.priority,
            "; ".join(f"{key} {said}" for key, said in conditions(one.rule).items()),
        )
        for one in verdicts
    )
    profile = choice.profile if isinstance(choice, Choice) else None
    return Matched(profile, choice.reason, rules)


def effect(seen: Foreseen | None) -> RuleEffect:
    if seen is None:
        return RuleEffect(None, ())
    return RuleEffect(seen.machines, tuple(_turn(machine, turn) for machine, turn in seen.turns))


def _turn(machine: model.Machine, turn: Turn) -> MachineTurn:
    sides = [
        (one.profile, one.rule.arm, one.reason) if isinstance(one, Choice) else (None, False, one.reason)
        for one in (turn.before, turn.after)
    ]
    return MachineTurn(machine.mac, machine.name, machine.profile, *sides[0], *sides[1])


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "matchMachine", "GET", "/machines/{machine}/match", Role.VIEWER,
        "What every match rule says to its facts, or to others that it might have sent; nothing is changed.",
        match_machine, Matched, query=MatchQuery,
    ),
    Operation(
        "matchFacts", "POST", "/match", Role.VIEWER,
        "What every match rule says to facts that no machine has to have sent; nothing is changed.",
        match_facts, Matched, body=FactsText, most_bytes=MOST_FACTS,
    ),
    Operation(
        "matchChangedRules", "POST", "/match/changes", Role.VIEWER,
        "For which known machines the match rules would choose otherwise with another profile.toml.",
        match_changed, RuleEffect, body=RuleChange, most_bytes=MOST_BODY,
    ),
)  # fmt: skip
