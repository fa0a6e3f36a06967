"""What a booting machine is told until somebody lets it install, against a real store."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.boot import BootDesk
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.model import Firmware, LocalBoot, Machine, MachineState, NetBoot
from appliance.rescue import TRIES
from appliance.store import Store
from tests.clock import Clock
from tests.unit.boot_talk import (
    DISK,
    FACTS,
    HERE,
    MAC,
    RELEASE,
    arm,
    get_plan,
    machine,
    make_desk,
    report,
    secret_of,
    stages,
)


@pytest.fixture
def desk(site: Path, tmp_path: Path, clock: Clock) -> BootDesk:
    return make_desk(site, tmp_path, clock)


def test_an_unknown_machine_is_discovered_matched_and_must_wait_for_a_person(desk: BootDesk) -> None:
    answer = desk.hello(render_facts(FACTS), HERE)
    assert answer.startswith("wait ")
    assert machine(desk).state is MachineState.ASSIGNED
    assert machine(desk).profile == "vm"
    assert stages(desk) == ["discovered done", "assigned done"]


def test_an_unknown_machine_is_offered_an_installer_for_each_processor(desk: BootDesk, site: Path) -> None:
    old, other, arm64 = "20260102-00000000000b", "20260103-00000000000c", "20260104-00000000000d"
    for name, arch in (("old", "x86"), ("sun", "sparc"), ("board", "arm64")):
        file = site / "profiles" / name / "profile.toml"
        file.parent.mkdir()
        file.write_text(f'arch = "{arch}"\nparent = ["amd64"]\n')
    desk.store.releases.add(Release(old, "old", 2.0, "distserver:0123", 3, 100))
    desk.store.releases.add(Release(other, "sun", 3.0, "distserver:0123", 3, 100))
    desk.store.releases.add(Release(arm64, "board", 4.0, "distserver:0123", 3, 100))
    target = desk.script_target(MAC, Firmware.BIOS, HERE)
    assert isinstance(target, NetBoot)
    assert (target.release, target.narrow, target.arm64) == (RELEASE, old, arm64)
    arm(desk)
    target = desk.script_target(MAC, Firmware.BIOS, HERE)
    assert isinstance(target, NetBoot)
    assert (target.release, target.narrow, target.arm64) == (RELEASE, "", "")


def test_in_a_loop_a_change_and_its_events_are_seen_together(desk: BootDesk) -> None:
    """Who acts on the state (here: arms) writes after them."""
    other = Store(desk.tree.store)

    async def boot() -> None:
        desk.hello(render_facts(FACTS), HERE)
        assert other.machines.get(MAC) == machine(desk)
        assert [one.stage for _, one in other.events.after(MAC)] == ["discovered", "assigned"]
        desk.journal.close()

    asyncio.run(boot())


def rescue_token(desk: BootDesk) -> str:
    target = desk.script_target(MAC, None, HERE)
    assert isinstance(target, NetBoot) and "distserver.mode=rescue" in target.arguments
    return target.arguments.partition("distserver.token=")[2].split()[0]


def test_a_machine_starts_into_the_rescue_shell_until_one_told_of_itself(desk: BootDesk) -> None:
    desk.store.machines.add(Machine(MAC, MachineState.INSTALLED, profile="vm", release=RELEASE))
    desk.store.machines.set_rescue(MAC, TRIES)
    lost = rescue_token(desk)
    token = rescue_token(desk)
    assert desk.hello(f"{render_facts(FACTS)}rescue {lost}\n", HERE).startswith("over ")
    assert desk.hello(f"{render_facts(FACTS)}rescue {token}\n", HERE).startswith("rescue ")
    assert isinstance(desk.script_target(MAC, None, HERE), LocalBoot)
    assert machine(desk).facts == FACTS and machine(desk).state is MachineState.INSTALLED
    assert stages(desk) == ["rescue done"]


def test_a_rescue_shell_that_never_tells_of_itself_is_started_a_few_times_only(desk: BootDesk) -> None:
    arm(desk)
    desk.store.machines.set_rescue(MAC, TRIES)
    assert len({rescue_token(desk) for _ in range(TRIES)}) == TRIES
    target = desk.script_target(MAC, None, HERE)
    assert isinstance(target, NetBoot) and "armed" in target.reason


def wiping(desk: BootDesk) -> None:
    desk.store.machines.add(Machine(MAC, MachineState.INSTALLED, "web1", "vm", FACTS, RELEASE))
    desk.store.machines.move(MAC, MachineState.ARMED, wipes=True)


def test_a_machine_that_is_wiped_gets_that_plan_only_and_is_forgotten_when_it_is_done(desk: BootDesk) -> None:
    wiping(desk)
    assert "wiped" in desk.boot_target(MAC, None).reason
    plan = get_plan(desk)
    assert plan == f"plan 1\nreport {secret_of(plan)}\ndisk /dev/vda\nwipe /dev/vda\nfinish\n"
    assert machine(desk).state is MachineState.INSTALLING and machine(desk).release == RELEASE
    for stage in ("wipe", "finish"):
        assert desk.event(report(secret_of(plan), stage, "done")) == "ok"
    assert desk.store.machines.get(MAC) is None and desk.store.events.after(MAC) == []
    note = desk.store.audit.page(action="machine retire", limit=1)[0]
    assert note.detail == "web1 wipe /dev/vda 8.0 GiB virtio"
    assert desk.event(report(secret_of(plan), "finish", "done")).startswith("stop ")


def test_nothing_is_wiped_when_it_is_not_plain_which_disk_is_meant(desk: BootDesk) -> None:
    wiping(desk)
    answer = get_plan(desk, replace(FACTS, disks=(DISK, replace(DISK, path="/dev/vdb"))))
    assert answer.startswith("refused 2 disks match")
    assert machine(desk).state is MachineState.FAILED and not machine(desk).wipes


def test_a_wipe_that_was_cut_off_goes_on_and_one_that_failed_does_not(desk: BootDesk) -> None:
    wiping(desk)
    get_plan(desk)
    assert isinstance(desk.script_target(MAC, None, HERE), NetBoot)
    plan = get_plan(desk)
    assert "\nwipe /dev/vda\n" in plan
    desk.event(report(secret_of(plan), "wipe", "failed", "I/O error"))
    assert machine(desk).state is MachineState.FAILED and not machine(desk).wipes


def test_an_unknown_machine_that_nothing_matches_stays_discovered(desk: BootDesk, site: Path) -> None:
    file = site / "profiles/vm/profile.toml"
    file.write_text(file.read_text().replace("QEMU*", "Sun*"))
    assert "no match rule" in desk.hello(render_facts(FACTS), HERE)
    assert machine(desk).state is MachineState.DISCOVERED


def nothing_matches(site: Path) -> None:
    file = site / "profiles/vm/profile.toml"
    file.write_text(file.read_text().replace("QEMU*", "Sun*"))


def test_a_person_at_the_console_chooses_what_no_rule_chose_and_arms_nothing(
    desk: BootDesk, site: Path
) -> None:
    nothing_matches(site)
    for _ in range(2):
        answer = desk.hello(render_facts(FACTS) + "choose vm\n", HERE)
        assert answer.startswith("wait 3 ")
    assert (machine(desk).state, machine(desk).profile) == (MachineState.ASSIGNED, "vm")
    last = desk.store.events.after(MAC)[-1][1]
    assert (last.stage, last.message) == ("assigned", "profile vm chosen on the console")
    assert stages(desk) == ["discovered done", "assigned done"]
    assert isinstance(desk.boot_target(MAC, Firmware.UEFI), LocalBoot)


def without_release(site: Path) -> None:
    """A second profile, `web`."""
    (site / "profiles/web").mkdir()
    (site / "profiles/web/profile.toml").write_text('description = "a web server"\nparent = ["vm"]\n')


def test_a_rule_comes_before_the_console_and_a_person_before_both(desk: BootDesk, site: Path) -> None:
    without_release(site)
    desk.hello(render_facts(FACTS) + "choose web\n", HERE)
    assert machine(desk).profile == "vm"
    nothing_matches(site)
    desk.store.machines.set_profile(MAC, "web")
    for state in set(MachineState) - {MachineState.DISCOVERED}:
        desk.store.database.execute("UPDATE machine SET state = ?", (state.value,))
        desk.hello(render_facts(FACTS) + "choose vm\n", HERE)
        assert (machine(desk).profile, machine(desk).state) == ("web", state)


@pytest.mark.parametrize("name", ["db", "web", "../vm", "vm vm", "v" * 200, "\x1b[2J"])
def test_a_choice_of_what_is_not_offered_is_a_sentence_and_changes_nothing(
    desk: BootDesk, site: Path, name: str
) -> None:
    nothing_matches(site)
    without_release(site)
    answer = desk.hello(f"{render_facts(FACTS)}choose {name}\n", HERE)
    assert answer.startswith("wait 3 there is no profile ")
    assert answer.isprintable()
    assert machine(desk).state is MachineState.DISCOVERED
    assert stages(desk) == ["discovered done"]


def test_only_profiles_with_a_release_are_offered(desk: BootDesk, site: Path) -> None:
    without_release(site)
    assert {"web", "vm"} == desk.live.now().profiles.keys()
    assert desk.profiles() == f"vm\t{desk.live.now().profiles['vm'].description}\n"
    desk.store.releases.set_fault(RELEASE, "kernel has other bytes", now=1.0)
    assert desk.profiles() == ""


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_an_installer_says_is_answered_in_one_line_or_is_malformed(
    desk: BootDesk, before: str, after: str
) -> None:
    sun = render_facts(replace(FACTS, vendor="Sun"))
    try:
        answer = desk.hello(f"{before}\n{sun}choose {after}", HERE)
    except Problem:
        return
    assert answer.startswith("wait ")
    assert "\n" not in answer


def test_a_rule_may_arm(desk: BootDesk, site: Path) -> None:
    file = site / "profiles/vm/profile.toml"
    file.write_text(file.read_text().replace("arm = false", "arm = true"))
    assert desk.hello(render_facts(FACTS), HERE).startswith("install ")
    assert machine(desk).state is MachineState.ARMED


def test_polling_does_not_fill_the_timeline(desk: BootDesk) -> None:
    for _ in range(5):
        desk.hello(render_facts(FACTS), HERE)
    assert len(stages(desk)) == 2
