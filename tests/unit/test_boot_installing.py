"""From the token of an armed machine to its reboot from its own disk, against a real store."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.boot import BootDesk
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.install import fingerprint
from appliance.model import Disk, DiskPartition, Facts, Firmware, LocalBoot, MachineState, NetBoot
from appliance.store.machines import without_contents
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
    point,
    report,
    secret_of,
    stages,
)


@pytest.fixture
def desk(site: Path, tmp_path: Path, clock: Clock) -> BootDesk:
    return make_desk(site, tmp_path, clock)


def test_an_armed_machine_boots_with_a_token_and_a_disarmed_one_without(desk: BootDesk) -> None:
    arm(desk)
    armed = desk.script_target(MAC, Firmware.UEFI, HERE)
    assert isinstance(armed, NetBoot)
    assert "distserver.token=" in armed.arguments
    assert f"distserver={HERE}" in armed.arguments
    assert "BOOTIF=01-52-54-00-00-00-01" in armed.arguments
    desk.store.machines.move(MAC, MachineState.FAILED, problem="x")
    failed = desk.script_target(MAC, Firmware.UEFI, HERE)
    assert isinstance(failed, NetBoot)
    assert "token" not in failed.arguments


def test_from_armed_to_installed_to_its_own_disk(desk: BootDesk) -> None:
    arm(desk)
    plan = get_plan(desk)
    assert plan.startswith("plan 1\n")
    assert f"base {HERE}/r/{RELEASE}" in plan
    assert machine(desk).state is MachineState.INSTALLING
    secret = secret_of(plan)
    assert desk.event(report(secret, "partition", "done")) == "ok"
    assert desk.event(report(secret, "finish", "done")) == "ok"
    assert machine(desk).state is MachineState.INSTALLED
    assert machine(desk).release == RELEASE
    assert isinstance(desk.boot_target(MAC, Firmware.UEFI), LocalBoot)
    assert desk.hello(render_facts(FACTS), HERE).startswith("local ")


def test_the_timeline_says_the_fingerprint_of_the_plan(desk: BootDesk) -> None:
    arm(desk)
    plan = get_plan(desk)
    messages = [event.message for _, event in desk.store.events.after(MAC) if event.stage == "plan"]
    assert messages == [f"release {RELEASE} on uefi, plan {fingerprint(plan)}"]


def test_an_installation_that_starts_again_keeps_its_release(desk: BootDesk) -> None:
    """The channel moved meanwhile, but the machine booted the kernel and installer of its first release."""
    arm(desk)
    get_plan(desk)
    newer = "20260102-00000000000b"
    desk.store.releases.add(Release(newer, "vm", 2.0, "distserver:4567", 3, 100))
    point(desk.channels, "stable", newer, 2)
    target = desk.boot_target(MAC, Firmware.UEFI)
    assert isinstance(target, NetBoot)
    assert target.release == RELEASE
    assert f"base {HERE}/r/{RELEASE}" in get_plan(desk)
    desk.store.machines.move(MAC, MachineState.ASSIGNED)
    desk.store.machines.move(MAC, MachineState.ARMED)
    assert f"base {HERE}/r/{newer}" in get_plan(desk)


WINDOWS = DiskPartition("/dev/vda1", 2**20, 2**32, "ntfs", "Data")
BEFORE = replace(FACTS, disks=(replace(DISK, table="dos", partitions=(WINDOWS,)),))


def test_what_is_on_the_disk_changes_nothing_of_the_plan(desk: BootDesk) -> None:
    arm(desk)
    assert fingerprint(get_plan(desk)) == fingerprint(get_plan(desk, BEFORE))
    assert machine(desk).facts == BEFORE


def test_after_an_installation_the_disk_is_known_to_hold_what_was_planned(desk: BootDesk) -> None:
    arm(desk)
    secret = secret_of(get_plan(desk, BEFORE))
    # The installer says so with the plan itself.
    assert desk.event(report(secret, "plan", "done", "plan 1\ndisk /dev/vda\n")) == "ok"
    assert desk.event(report(secret, "finish", "done")) == "ok"
    facts = machine(desk).facts
    assert facts is not None
    assert facts.disks[0].table == "gpt"
    assert [(one.filesystem, one.label) for one in facts.disks[0].partitions if one.filesystem][-1] == (
        "ext4",
        "root",
    )
    assert "Data" not in render_facts(facts)
    assert without_contents(facts) == FACTS


@pytest.mark.parametrize("stage", ["finish", "packages"])
def test_what_the_disk_holds_is_unknown_after_a_failure_or_when_its_plan_cannot_be_made_again(
    desk: BootDesk, stage: str
) -> None:
    arm(desk)
    secret = secret_of(get_plan(desk, BEFORE))
    assert machine(desk).facts == BEFORE
    desk.store.machines.set_name(MAC, "renamed")
    assert desk.event(report(secret, stage, "done" if stage == "finish" else "failed")) == "ok"
    assert machine(desk).facts == FACTS


def test_a_repeated_finish_is_fine_because_the_first_answer_may_have_got_lost(desk: BootDesk) -> None:
    arm(desk)
    secret = secret_of(get_plan(desk))
    for _ in range(2):
        assert desk.event(report(secret, "finish", "done")) == "ok"


def test_a_token_that_comes_twice_gets_no_second_plan_and_leaves_a_mark(desk: BootDesk) -> None:
    arm(desk)
    token = desk.hello(render_facts(FACTS), HERE).split()[1]
    body = f"token {token}\n{render_facts(FACTS)}"
    assert desk.plan(body, HERE).startswith("plan 1")
    assert desk.plan(body, HERE).startswith("again ")
    assert "plan note" in stages(desk)


def test_a_token_is_too_old_after_its_time(desk: BootDesk, clock: Clock) -> None:
    arm(desk)
    token = desk.hello(render_facts(FACTS), HERE).split()[1]
    clock.now += 3601
    assert desk.plan(f"token {token}\n{render_facts(FACTS)}", HERE).startswith("again ")
    assert machine(desk).state is MachineState.ARMED


def test_two_matching_disks_are_refused_and_the_machine_waits_as_failed(desk: BootDesk) -> None:
    arm(desk)
    second = Disk("/dev/vdb", 8 * 2**30, "virtio")
    facts = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=(DISK, second))
    answer = get_plan(desk, facts)
    assert answer.startswith("refused 2 disks match")
    assert machine(desk).state is MachineState.FAILED
    assert "2 disks match" in machine(desk).problem


def test_a_failed_step_is_kept_with_its_last_line(desk: BootDesk) -> None:
    arm(desk)
    secret = secret_of(get_plan(desk))
    desk.event(report(secret, "stage", "failed", "tar: short read\ntar: bad archive\n"))
    assert machine(desk).state is MachineState.FAILED
    assert machine(desk).problem == "stage failed: tar: bad archive"


def test_an_installer_of_a_disarmed_machine_is_told_to_stop(desk: BootDesk) -> None:
    arm(desk)
    secret = secret_of(get_plan(desk))
    desk.store.machines.move(MAC, MachineState.ASSIGNED)
    assert desk.event(report(secret, "partition", "begin")).startswith("stop ")
