"""What the agent reads and decides without touching anything: manifests, indexes, worlds, times, menus."""

from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client_settings import ClientPolicy, Reboot, Window, policy_to_json
from buildfarm import index as farm_index
from buildfarm import manifest as farm_manifest
from distserver_client import emerge, index, inventory, manifest, policy, server, timing, worlds
from distserver_client.central import Mounted, parse
from distserver_client.errors import Problem
from distserver_client.index import Listed
from distserver_client.policy import Policy

DAY = 86400.0
SHA = "ab" * 32
FILES = tuple(
    farm_manifest.Item(name, 10, SHA)
    for name in ("Packages", "bases", "kernel", "portage.sqfs", "tree-gentoo.sqfs", "tree-guru.sqfs")
)
SEALED = farm_manifest.identify(
    farm_manifest.Manifest(
        "vm", "amd64", "2026-11-22T00:00:00Z", "gentoo:9b10 guru:0123", FILES,
        (farm_manifest.Item("app-misc/a-1-2", 5, "cd" * 32),),
    )
)  # fmt: skip


def test_a_manifest_says_what_a_machine_keeps_of_a_release() -> None:
    found = manifest.parse(farm_manifest.write(SEALED))
    assert (found.id, found.profile, found.repositories) == (SEALED.id, "vm", ("gentoo", "guru"))
    assert [one.name for one in found.kept] == [one.name for one in FILES if one.name != "kernel"]
    assert found.sums == {"cd" * 32}


def test_a_release_from_before_is_refused_with_a_sentence() -> None:
    text = "".join(
        line for line in farm_manifest.write(SEALED).splitlines(keepends=True) if "portage.sqfs" not in line
    )
    with pytest.raises(Problem, match=r"before machines kept themselves current.*build the profile again"):
        manifest.parse(text)


@pytest.mark.parametrize(
    "wrong", ["FILE ../x 1 SHA256 " + SHA, "PACKAGE a 1 MD5 " + SHA, "FILE a -1 SHA256 " + SHA, "FILE a"]
)
def test_a_line_that_could_lead_elsewhere_is_no_manifest(wrong: str) -> None:
    with pytest.raises(Problem, match="manifest"):
        manifest.parse(f"{farm_manifest.write(SEALED)}{wrong}\n")


def test_the_index_of_a_machine_names_its_pool_and_a_time_for_each_package() -> None:
    paragraphs = (
        {"CPV": "app-misc/a-1", "BUILD_ID": "2", "MD5": "m", "SLOT": "0/5", "MTIME": "77"},
        {"CPV": "app-misc/b-1-r1", "MD5": "n"},
    )
    text = farm_index.write(farm_index.Index({"URI": "http://elsewhere", "VERSION": "0"}, paragraphs))
    local = index.at(text, "file:///here")
    assert index.read(local) == index.read(text)
    assert index.read(text) == (
        Listed("app-misc/a-1", "2", "m", "0"),
        Listed("app-misc/b-1-r1", "", "n", "0"),
    )
    assert [line for line in local.splitlines() if line.startswith(("URI", "MTIME"))] == [
        "URI: file:///here", "MTIME: 1", "MTIME: 1",
    ]  # fmt: skip
    assert [one.name for one in index.read(text)] == ["app-misc/a-1-2", "app-misc/b-1-r1"]


def one(cpv: str, build: str = "1", md5: str = "", slot: str = "0") -> Listed:
    return Listed(cpv, build, md5 or f"md5 of {cpv} {build}", slot)


def test_a_package_is_the_releases_by_what_was_merged_and_not_by_its_version() -> None:
    release = [one("a/a-1"), one("a/b-2"), one("a/c-1", slot="2")]
    installed = [one("a/a-1"), one("a/b-2", "9"), one("a/c-0", slot="1"), one("a/d-1")]
    found = inventory.compare(installed, release)
    assert (found.same, found.differ, found.foreign) == (("a/a-1",), ("a/b-2",), ("a/c-0", "a/d-1"))
    assert inventory.compare([one("a/a-1", md5="another")], release).differ == ("a/a-1",)


def test_of_two_packages_in_one_slot_the_releases_is_merged_again() -> None:
    release = [one("a/a-1"), one("a/b-1")]
    assert inventory.to_merge_again([one("a/a-1"), one("a/a-2"), one("a/b-1")], release) == ("a/a-1",)
    assert inventory.to_merge_again([one("a/a-1"), one("a/d-1")], release) == ()


def test_a_digest_is_of_what_is_installed_and_of_no_order() -> None:
    assert inventory.digest([one("a/a-1"), one("a/b-1")]) == inventory.digest([one("a/b-1"), one("a/a-1")])
    assert inventory.digest([one("a/a-1")]) != inventory.digest([one("a/a-1", "2")])


@given(st.sampled_from(("app-misc/a-b", "x/y-1a", "sys-kernel/z")), st.sampled_from(("1", "2.0_p1", "3-r4")))
def test_names_end_where_the_farm_says_they_end(name: str, version: str) -> None:
    assert inventory.split_name(f"{name}-{version}") == farm_index.split_cpv(f"{name}-{version}")[0]


def test_a_world_keeps_what_was_added_here_while_the_release_has_it() -> None:
    here = ["app-misc/a", "app-misc/mine", "app-misc/gone:2", "@local"]
    names = ["app-misc/a", "app-misc/mine", "app-misc/b"]
    assert worlds.merge(["app-misc/a"], here, ["app-misc/b"], names) == ["app-misc/b", "app-misc/mine"]
    assert worlds.lines("# x\na/b\n\n c/d \n") == ["a/b", "c/d"]


def test_several_world_files_are_read_with_one_program() -> None:
    text = "==> /p/world <==\na/b\n# no\nc/d\n\n==> /p/world_sets <==\n"
    assert worlds.files(text) == {"/p/world": ["a/b", "c/d"], "/p/world_sets": []}


def test_the_farms_policy_is_understood_and_kept_as_it_came() -> None:
    said = policy_to_json(
        ClientPolicy(Window(23 * 60, 60), 60.0, 4 << 20, Reboot.WINDOW, health='test "$x" = \\y')
    )
    made = policy.parse(said)
    assert (made.window, made.spread_seconds, made.bandwidth) == ((23 * 60, 60), 60.0, 4 << 20)
    assert (made.reboot, made.depclean, made.health) == ("window", True, 'test "$x" = \\y')
    import tomllib

    rules = {"config": [{"path": "/etc/*", "policy": "ours", "secret": True}]}
    assert tomllib.loads(policy.toml(said | rules)) == said | rules
    with pytest.raises(ValueError, match="bandwidth is 'fast'"):
        policy.parse({"bandwidth": "fast"})


def moment(hour: int, minute: int = 0, day: int = 22) -> float:
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp()


def test_a_window_may_go_over_midnight() -> None:
    night = Policy(window=(23 * 60, 60))
    assert [timing.is_open(night, moment(hour), UTC) for hour in (22, 23, 0, 1)] == [False, True, True, False]
    assert timing.is_open(Policy(), moment(12), UTC)


@given(st.text(), st.integers(0, 23), st.integers(0, 59))
def test_the_next_look_is_within_the_hour_or_in_the_next_window(machine: str, hour: int, minute: int) -> None:
    now = moment(hour, minute)
    assert now < timing.next_start(Policy(), machine, now, UTC) <= now + timing.EVERY_SECONDS
    for window in ((120, 300), (23 * 60, 60)):
        bound = Policy(window=window)
        due = timing.next_start(bound, machine, now, UTC)
        assert timing.is_open(bound, due, UTC)
        assert now < due <= now + DAY


def test_a_fleet_is_spread_over_all_of_its_time_and_each_machine_keeps_its_own() -> None:
    starts = sorted(timing.jitter(f"machine{number}", 3600.0) for number in range(400))
    assert timing.jitter("machine1", 3600.0) == timing.jitter("machine1", 3600.0)
    for quarter in range(4):
        assert 70 <= sum(900 * quarter <= start < 900 * (quarter + 1) for start in starts) <= 130


CHANNEL = f"distserver-channel 1\nprofile vm\nchannel stable\nrelease {SEALED.id}\nserial 7\nat x\n"


def test_a_channel_of_another_profile_or_of_before_is_not_followed() -> None:
    assert server.read(CHANNEL, "vm", 7).release == SEALED.id
    with pytest.raises(Problem, match="serial 7, one with 8"):
        server.read(CHANNEL, "vm", 8)
    with pytest.raises(Problem, match="not one of profile web"):
        server.read(CHANNEL, "web", 0)


def test_mountinfo_is_read_with_its_spaces_and_optional_fields() -> None:
    text = (
        "36 25 7:0 / /var/db/repos/a\\040b ro,nodev shared:1 - squashfs /dev/loop0 ro\n"
        "37 25 0:5 / /proc rw - proc proc rw\n"
    )
    assert parse(text) == (
        Mounted("/var/db/repos/a b", "squashfs", "/dev/loop0"),
        Mounted("/proc", "proc", "proc"),
    )


def test_emerge_is_quoted_by_its_complaint() -> None:
    text = "Calculating\n\n!!! All ebuilds that could satisfy x\n!!! are masked\nmore\n"
    assert emerge.explain(text) == "!!! All ebuilds that could satisfy x !!! are masked more"
    assert emerge.explain("one\ntwo\nthree\n") == "two three"
    assert emerge.explain("") == "it said nothing"


def test_a_machine_asks_again_soon_until_its_server_answered_once() -> None:
    now = moment(12)
    usual = timing.next_start(Policy(), "x", now, UTC)
    look = partial(timing.next_look, Policy(), "x", now, zone=UTC)
    assert look(again_seconds=None, is_heard=False) == now + timing.UNHEARD_SECONDS
    assert look(again_seconds=None, is_heard=True) == usual
    assert look(again_seconds=5.0, is_heard=True) == now + 5
    assert look(again_seconds=90_000.0, is_heard=True) == usual
