"""Which profile a machine's facts call for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from appliance.model import Facts
from appliance.site_model import MatchRule, Profile


@dataclass(frozen=True)
class Choice:
    profile: str
    rule: MatchRule
    reason: str


@dataclass(frozen=True)
class NoChoice:
    reason: str


def choose(facts: Facts, profiles: Mapping[str, Profile]) -> Choice | NoChoice:
    """The rule with the most patterns wins; two profiles with equally specific rules are no choice."""
    fitting = [
        (len(rule.patterns), name, rule)
        for name, profile in sorted(profiles.items())
        for rule in profile.match
        if fits(facts, rule)
    ]
    if not fitting:
        return NoChoice("no match rule of any profile fits: assign a profile")
    most = max(count for count, _, _ in fitting)
    best = [(name, rule) for count, name, rule in fitting if count == most]
    names = sorted({name for name, _ in best})
    if len(names) > 1:
        return NoChoice(f"the profiles {' and '.join(names)} match equally well: assign one")
    # Of two rules of one profile the careful one counts.
    name, rule = min(best, key=lambda one: one[1].arm)
    said = ", ".join(f"{key} {getattr(facts, key)!r} is like {glob!r}" for key, glob in rule.patterns.items())
    return Choice(name, rule, f"{rule.source}: {said}")


def fits(facts: Facts, rule: MatchRule) -> bool:
    return bool(rule.patterns) and all(
        fnmatchcase(getattr(facts, key).lower(), glob.lower()) for key, glob in rule.patterns.items()
    )
