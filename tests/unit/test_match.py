"""Facts choose a profile only when the choice is clear."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from appliance.match import Choice, NoChoice, choose, fits, judge, rank, turns
from appliance.model import Facts, Firmware
from appliance.site_model import MatchRule, Profile
from tests.unit.plain_profile import PLAIN

FACTS = Facts("52:54:00:00:00:01", Firmware.UEFI, vendor="Dell Inc.", product="OptiPlex 3020", serial="X1")


def profile(name: str, *rules: MatchRule) -> Profile:
    return replace(PLAIN, name=name, match=rules)


def choice(*profiles: Profile) -> Choice | NoChoice:
    return choose(FACTS, {one.name: one for one in profiles})


def test_a_glob_matches_without_regard_to_case() -> None:
    found = choice(profile("dell", MatchRule(vendor="dell*", source="dell: match[1]")))
    assert isinstance(found, Choice)
    assert found.profile == "dell"
    assert "vendor 'Dell Inc.' is like 'dell*'" in found.reason


def test_all_patterns_of_a_rule_must_fit() -> None:
    assert isinstance(choice(profile("dell", MatchRule(vendor="Dell*", product="Latitude*"))), NoChoice)


def test_the_more_specific_rule_wins() -> None:
    any_dell = profile("any", MatchRule(vendor="Dell*"))
    optiplex = profile("optiplex", MatchRule(vendor="Dell*", product="OptiPlex*"))
    found = choice(any_dell, optiplex)
    assert isinstance(found, Choice)
    assert found.profile == "optiplex"


def test_a_tie_of_two_profiles_names_both_rules_and_their_reasons_and_decides_nothing() -> None:
    found = choice(
        profile("a", MatchRule(vendor="Dell*", source="a: match[1]")),
        profile("b", MatchRule(product="Opti*", source="b: match[1]")),
    )
    assert found == NoChoice(
        "the profiles a and b match equally well, each with priority 0 and 1 condition "
        "(a: match[1]: vendor 'Dell Inc.' is like 'Dell*'; b: match[1]: product 'OptiPlex 3020' is like "
        "'Opti*'), so give one rule a higher priority, or say it for this machine: assign one"
    )


def test_a_higher_priority_counts_more_than_more_conditions_and_the_reason_says_so() -> None:
    any_dell = profile("any", MatchRule(vendor="Dell*", priority=1, source="any: match[1]"))
    optiplex = profile("opti", MatchRule(vendor="Dell*", product="Opti*", source="opti: match[1]"))
    found = choice(any_dell, optiplex)
    assert isinstance(found, Choice)
    assert found.profile == "any"
    assert found.reason.endswith("; priority 1 counts more than 0 as opti: match[1] has, which fits, too")
    below = profile("any", MatchRule(vendor="Dell*", priority=-1, source="any: match[1]"))
    found = choice(below, optiplex)
    assert isinstance(found, Choice)
    assert found.profile == "opti"


def test_what_is_more_specific_does_not_win_in_silence() -> None:
    found = choice(
        profile("any", MatchRule(vendor="Dell*", source="any: match[1]")),
        profile("opti", MatchRule(vendor="Dell*", product="Opti*", source="opti: match[1]")),
    )
    said = "; 2 conditions count more than 1 at the same priority as any: match[1] has, which fits, too"
    assert found.reason.endswith(said)


def test_of_two_rules_of_one_profile_the_one_that_does_not_arm_counts() -> None:
    rules = MatchRule(vendor="Dell*", arm=True), MatchRule(product="Opti*")
    found = choice(profile("a", *rules))
    assert isinstance(found, Choice)
    assert not found.rule.arm


def test_an_empty_rule_matches_nothing() -> None:
    assert isinstance(choice(profile("a", MatchRule())), NoChoice)


def test_no_rule_is_no_choice() -> None:
    assert isinstance(choice(replace(profile("a"), match=())), NoChoice)


def test_every_rule_has_its_reason_and_those_that_fit_come_first() -> None:
    rules = {
        "any": profile("any", MatchRule(vendor="dell*")),
        "lenovo": profile("lenovo", MatchRule(vendor="Lenovo*", product="OptiPlex*")),
        "optiplex": profile("optiplex", MatchRule(vendor="Dell*", product="OptiPlex*")),
    }
    said = [(one.profile, one.fits, one.why) for one in judge(FACTS, rules)]
    more = "another rule fits, and its 2 conditions count more than 1 at the same priority"
    assert said == [
        ("optiplex", True, "it is the one that counts"),
        ("any", True, more),
        ("lenovo", False, "vendor 'Dell Inc.' is not like 'Lenovo*'"),
    ]
    rules["other"] = profile("other", MatchRule(vendor="Dell*", serial="X*"))
    tie = "another rule with priority 0 and 2 conditions fits, too"
    assert [one.profile for one in judge(FACTS, rules) if one.why == tie] == ["optiplex", "other"]
    rules["first"] = profile("first", MatchRule(vendor="Dell*", priority=7))
    verdicts = judge(FACTS, rules)
    assert [one.profile for one in verdicts] == ["first", "optiplex", "other", "any", "lenovo"]
    assert verdicts[1].why == "another rule fits, and its priority 7 counts more than 0"
    assert judge(FACTS, {}) == []


def test_a_machine_whose_outcome_changes_is_told_and_one_that_only_has_another_reason_is_not() -> None:
    before = {"a": profile("a", MatchRule(vendor="Dell*"))}
    reason = {"a": profile("a", MatchRule(vendor="Dell*", product="Opti*"))}
    assert turns([FACTS], before, reason) == []
    arms = {"a": profile("a", MatchRule(vendor="Dell*", arm=True))}
    (turn,) = turns([FACTS], before, arms)
    assert turn.mac == FACTS.mac and isinstance(turn.after, Choice) and turn.after.rule.arm
    other = {"b": profile("b", MatchRule(vendor="Dell*"))}
    (turn,) = turns([FACTS, replace(FACTS, vendor="HP")], before, other)
    assert isinstance(turn.before, Choice) and turn.before.profile == "a"


# Properties

globs = st.sampled_from(["", "Dell*", "dell inc.", "*", "HP*"])
some_rules = st.builds(
    MatchRule,
    vendor=globs,
    product=st.sampled_from(["", "Opti*", "Lati*"]),
    priority=st.integers(-1, 1),
    arm=st.booleans(),
    min_cpus=st.none() | st.integers(1, 2),
    oui=st.sampled_from([(), ("52:54",), ("00:1b:78",)]),
)
some_profiles = st.lists(st.lists(some_rules, max_size=3), max_size=4).map(
    lambda lists: [profile(f"p{number}", *rules) for number, rules in enumerate(lists)]
)


@given(some_profiles, st.randoms(use_true_random=False), st.integers(0, 3))
def test_the_order_of_profiles_never_matters(found: list[Profile], random: Random, cpus: int) -> None:
    facts = replace(FACTS, cpus=cpus)
    shuffled = list(found)
    random.shuffle(shuffled)
    first, second = ({one.name: one for one in order} for order in (found, shuffled))
    assert choose(facts, first) == choose(facts, second)
    assert judge(facts, first) == judge(facts, second)


@given(some_profiles, st.integers(0, 3))
def test_what_is_chosen_fits_and_nothing_that_fits_has_a_higher_rank(found: list[Profile], cpus: int) -> None:
    facts = replace(FACTS, cpus=cpus)
    profiles = {one.name: one for one in found}
    chosen = choose(facts, profiles)
    fitting = [(one.name, rule) for one in found for rule in one.match if fits(facts, rule)]
    tops = {name for name, rule in fitting if rank(rule) == max(rank(other) for _, other in fitting)}
    assert (chosen.profile if isinstance(chosen, Choice) else None) == (
        tops.pop() if len(tops) == 1 else None
    )
    counting = [one for one in judge(facts, profiles) if one.why == "it is the one that counts"]
    assert [one.rule for one in counting] == ([chosen.rule] if isinstance(chosen, Choice) else [])


@given(some_profiles, st.integers(0, 3))
def test_a_rule_above_all_others_decides_whatever_they_say(found: list[Profile], cpus: int) -> None:
    facts = replace(FACTS, cpus=cpus)
    above = profile("above", MatchRule(mac="*", priority=9))
    chosen = choose(facts, {one.name: one for one in (*found, above)})
    assert isinstance(chosen, Choice) and chosen.profile == "above"
