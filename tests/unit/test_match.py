"""Facts choose a profile only when the choice is clear."""

import dataclasses

from appliance.match import Choice, NoChoice, choose
from appliance.model import Facts, Firmware
from appliance.site_model import DiskLayout, MatchRule, Profile, StageSource

FACTS = Facts("52:54:00:00:00:01", Firmware.UEFI, vendor="Dell Inc.", product="OptiPlex 3020", serial="X1")
STAGE = StageSource("reference:build")


def profile(name: str, *rules: MatchRule) -> Profile:
    return Profile(
        name=name,
        description="",
        arch="amd64",
        chost="x86_64-pc-linux-gnu",
        portage_profile="distserver:amd64",
        stage=STAGE,
        install_stage=STAGE,
        kernel_package="sys-kernel/k",
        kernel_arguments="",
        kernel_config="",
        portage={},
        world=(),
        disk=DiskLayout((), 0),
        match=rules,
    )


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


def test_a_tie_of_two_profiles_is_named_and_decides_nothing() -> None:
    found = choice(profile("a", MatchRule(vendor="Dell*")), profile("b", MatchRule(product="Opti*")))
    assert found == NoChoice("the profiles a and b match equally well: assign one")


def test_of_two_rules_of_one_profile_the_one_that_does_not_arm_counts() -> None:
    rules = MatchRule(vendor="Dell*", arm=True), MatchRule(product="Opti*")
    found = choice(profile("a", *rules))
    assert isinstance(found, Choice)
    assert not found.rule.arm


def test_an_empty_rule_matches_nothing() -> None:
    assert isinstance(choice(profile("a", MatchRule())), NoChoice)


def test_no_rule_is_no_choice() -> None:
    assert isinstance(choice(dataclasses.replace(profile("a"), match=())), NoChoice)
