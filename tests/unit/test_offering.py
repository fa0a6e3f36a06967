"""What a medium offers: a profile read back from it decides as the server's own does."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.install import Refused, plan_install, render
from appliance.match import Choice, choose
from appliance.match_rules import conditions
from appliance.model import Disk, Facts, Firmware
from appliance.offering import Offer, parse_offers, write_offers
from appliance.profile_model import DiskLayout, MatchRule, Partition, Profile
from tests.unit.plain_profile import GIB, PARTITIONS, PLAIN

PROFILE = replace(
    PLAIN,
    description="a “virtual” machine",
    kernel_config="CONFIG_EXT4_FS=y",
    portage={"package.use": b"\xff"},
    world=("app-misc/hello",),
    match=(
        MatchRule(vendor="dell*", arm=True, source="/etc/site/profiles/vm/profile.toml: match[1]"),
        MatchRule(mac="52:54:*"),
    ),
    promote_after_seconds=3.0,
)
RELEASE = Release("20260101-0123456789ab", "vm", 1.5, "gentoo:0a1b guru:2c3d", 3, 100)

texts = st.text(max_size=12)
partitions = st.builds(
    Partition,
    st.sampled_from(["root", "swap", "esp", "b i"]),
    st.none() | st.integers(0, 8 * GIB),
    st.sampled_from(["", "ext4", "vfat", "swap", "xfs"]),
    st.sampled_from(["", "/", "/boot/efi", "/home"]),
    st.none() | st.sampled_from(Firmware),
)
layouts = st.builds(
    DiskLayout,
    st.just(PARTITIONS) | st.lists(partitions, max_size=4).map(tuple),
    st.integers(0, 9 * GIB),
    transport=st.sampled_from(["", "nvme", "s*"]),
)
rules = st.builds(MatchRule, vendor=st.sampled_from(["", "dell*", "d?ll"]), mac=texts, arm=st.booleans())
names = st.sampled_from(["vm", "web", "db"])


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    name = draw(names)
    profile = replace(
        PROFILE,
        name=name,
        description=draw(texts),
        kernel_arguments=draw(texts),
        disk=draw(layouts),
        match=tuple(draw(st.lists(rules, max_size=3))),
    )
    return Offer(
        profile, replace(RELEASE, profile=name, snapshot=draw(st.sampled_from(["a:1", "a:1 b:2", "9"])))
    )


disks = st.builds(
    Disk,
    st.sampled_from(["/dev/sda", "/dev/nvme0n1"]),
    st.integers(0, 20 * GIB),
    st.sampled_from(["", "sata", "nvme"]),
    st.booleans(),
)
facts = st.builds(
    Facts,
    st.just("52:54:00:00:00:01"),
    st.sampled_from(Firmware),
    vendor=st.sampled_from(["", "Dell Inc.", "x"]),
    disks=st.lists(disks, max_size=2, unique_by=lambda disk: disk.path).map(tuple),
)


def chosen(machine: Facts, profiles: Mapping[str, Profile]) -> object:
    """What was chosen and why; the names of rules are other ones on a medium."""
    choice = choose(machine, profiles)
    if isinstance(choice, Choice):
        return choice.profile, conditions(choice.rule), choice.rule.arm
    return choice.reason.partition(" (")[0]


def plan_text(machine: Facts, offer: Offer) -> str:
    try:
        plan = plan_install(machine, offer.profile, offer.release, hostname="m1")
    except Refused as refusal:
        return str(refusal)
    return render(plan, report="offline", base="b", pool="p")


@settings(deadline=None)
@given(st.lists(offers(), min_size=1, max_size=3, unique_by=lambda one: one.profile.name), facts)
def test_a_profile_read_back_decides_as_the_servers_own(said: list[Offer], machine: Facts) -> None:
    read = parse_offers(write_offers(said))
    assert list(read) == [one.profile.name for one in said]
    for one in said:
        assert plan_text(machine, read[one.profile.name]) == plan_text(machine, one)
        assert read[one.profile.name].profile.description == one.profile.description
    ours = {one.profile.name: one.profile for one in said}
    assert chosen(machine, {name: one.profile for name, one in read.items()}) == chosen(machine, ours)


def test_the_same_offers_are_the_same_bytes_and_nothing_else_of_a_profile_is_told() -> None:
    text = write_offers([Offer(PROFILE, RELEASE)])
    others = replace(PROFILE, world=(), kernel_config="", authorized_keys="ssh-ed25519 x", portage={})
    assert write_offers([Offer(others, RELEASE)]) == text
    assert text.isascii()
    assert "/etc" not in text
    assert parse_offers(text)["vm"].profile.match[0].source == "vm: match[1]"


def test_another_version_is_named() -> None:
    said = json.loads(write_offers([Offer(PROFILE, RELEASE)])) | {"format": 1}
    with pytest.raises(Problem, match="another version"):
        parse_offers(json.dumps(said))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.data())
def test_damaged_profiles_are_read_or_refused_with_a_sentence(data: st.DataObject) -> None:
    said = json.loads(write_offers([Offer(PROFILE, RELEASE)]))
    one = said["offers"][0]
    place = data.draw(st.sampled_from([said, one, one["profile"], one["profile"]["disk"], one["release"]]))
    key = data.draw(st.sampled_from(sorted(place)))
    place[key] = data.draw(json_values)
    try:
        parse_offers(json.dumps(said))
    except Problem as problem:
        assert "medium's profiles" in str(problem)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_is_a_traceback(text: str) -> None:
    with pytest.raises(Problem):
        parse_offers(text)
