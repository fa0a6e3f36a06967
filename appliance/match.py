"""Which profile a machine's facts call for, and why each other one does not get it. Pure.

Of the rules whose conditions all hold the one with the highest priority counts; of several with the same
priority the one with the most conditions. If rules of two profiles are equal in both, nothing is chosen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from appliance.match_conditions import findings
from appliance.match_rules import conditions
from appliance.model import Facts, Machine
from appliance.profile_model import MatchRule, Profile

Rank = tuple[int, int]
"""Priority and number of conditions: the higher one counts."""


@dataclass(frozen=True)
class Choice:
    profile: str
    rule: MatchRule
    reason: str


@dataclass(frozen=True)
class NoChoice:
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What one rule says to a machine's facts."""

    profile: str
    rule: MatchRule
    fits: bool
    why: str


@dataclass(frozen=True)
class Turn:
    """A machine for which other rules choose another profile, or arm it where they did not."""

    mac: str
    before: Choice | NoChoice
    after: Choice | NoChoice


@dataclass(frozen=True)
class Foreseen:
    """What other rules would choose for the machines that are known."""

    machines: int
    """Those whose facts are known."""
    turns: tuple[tuple[Machine, Turn], ...]
    """Only for machines without a profile rules decide anything; the others are told what they would say."""


def choose(facts: Facts, profiles: Mapping[str, Profile]) -> Choice | NoChoice:
    """The profile of the rule that counts; the order of the profiles says nothing."""
    fitting = [(name, rule) for name, rule in _rules(profiles) if fits(facts, rule)]
    if not fitting:
        return NoChoice("no match rule of any profile fits: assign a profile")
    top = max(rank(rule) for _, rule in fitting)
    best = [(name, rule) for name, rule in fitting if rank(rule) == top]
    if len({name for name, _ in best}) > 1:
        return NoChoice(_tie(facts, best, top))
    # Of two rules of one profile the careful one counts.
    name, rule = min(best, key=lambda one: one[1].arm)
    beaten = [one for other, one in fitting if other != name]
    return Choice(name, rule, _holds(facts, rule) + _more_than(rule, beaten))


def fits(facts: Facts, rule: MatchRule) -> bool:
    found = findings(facts, rule)
    return bool(found) and all(one.fits for one in found)


def rank(rule: MatchRule) -> Rank:
    return rule.priority, len(conditions(rule))


def judge(facts: Facts, profiles: Mapping[str, Profile]) -> list[Verdict]:
    """Every rule and why it is or is not the one that counts; those that fit first, by rank."""
    choice = choose(facts, profiles)
    chosen = choice.rule if isinstance(choice, Choice) else None
    rules = _rules(profiles)
    top = max((rank(rule) for _, rule in rules if fits(facts, rule)), default=(0, 0))
    verdicts = [
        Verdict(name, rule, fits(facts, rule), _why(facts, rule, top, is_chosen=rule is chosen))
        for name, rule in rules
    ]
    return sorted(verdicts, key=lambda one: (not one.fits, _descending(one.rule) if one.fits else (0, 0)))


def turns(
    machines: Iterable[Facts], before: Mapping[str, Profile], after: Mapping[str, Profile]
) -> list[Turn]:
    """Those machines whose profile, or whether it is armed, other rules would choose otherwise."""
    found = (Turn(one.mac, choose(one, before), choose(one, after)) for one in machines)
    return [one for one in found if _outcome(one.before) != _outcome(one.after)]


def _outcome(choice: Choice | NoChoice) -> tuple[str, bool] | None:
    return (choice.profile, choice.rule.arm) if isinstance(choice, Choice) else None


def _rules(profiles: Mapping[str, Profile]) -> list[tuple[str, MatchRule]]:
    return [(name, rule) for name, profile in sorted(profiles.items()) for rule in profile.match]


def _descending(rule: MatchRule) -> Rank:
    priority, count = rank(rule)
    return -priority, -count


def _holds(facts: Facts, rule: MatchRule) -> str:
    return f"{rule.source}: {', '.join(one.said for one in findings(facts, rule))}"


def _tie(facts: Facts, best: list[tuple[str, MatchRule]], top: Rank) -> str:
    names = " and ".join(sorted({name for name, _ in best}))
    reasons = "; ".join(_holds(facts, rule) for _, rule in best)
    # The installer offers the profiles when what it is told ends with `: assign one` (online.sh).
    return (
        f"the profiles {names} match equally well, each with priority {top[0]} and {_count(top[1])} "
        f"({reasons}), so give one rule a higher priority, or say it for this machine: assign one"
    )


def _more_than(rule: MatchRule, beaten: list[MatchRule]) -> str:
    """That rules of other profiles fit, too: what is more specific does not win in silence."""
    if not beaten:
        return ""
    second = max(beaten, key=rank)
    return f"; {_counts_more(rank(rule), rank(second))} as {second.source} has, which fits, too"


def _counts_more(winner: Rank, loser: Rank) -> str:
    if winner[0] != loser[0]:
        return f"priority {winner[0]} counts more than {loser[0]}"
    return f"{_count(winner[1])} count more than {loser[1]} at the same priority"


def _count(conditions: int) -> str:
    return f"{conditions} condition{'s' * (conditions != 1)}"


def _why(facts: Facts, rule: MatchRule, top: Rank, *, is_chosen: bool) -> str:
    found = findings(facts, rule)
    if not found:
        return "it has no condition"
    if misses := [one.said for one in found if not one.fits]:
        return ", ".join(misses)
    if is_chosen:
        return "it is the one that counts"
    if rank(rule) < top:
        return f"another rule fits, and its {_counts_more(top, rank(rule))}"
    return f"another rule with priority {top[0]} and {_count(top[1])} fits, too"
