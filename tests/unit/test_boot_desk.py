"""What a booting machine is told, from its first word to its reboot, against a real store."""

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import statement
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.install import fingerprint
from appliance.leases import Lease, LeaseState
from appliance.live import LiveSite
from appliance.model import (
    Disk,
    DiskPartition,
    Facts,
    Firmware,
    LocalBoot,
    Machine,
    MachineState,
    NetBoot,
    Tree,
)
from appliance.rescue import TRIES
from appliance.statement import Statement
from appliance.step_report import parse_report
from appliance.store import Store
from appliance.store.machines import without_contents
from tests.client_yard import make_key
from tests.clock import Clock
from tests.fake_notary import FakeNotary

MAC = "52:54:00:00:00:01"
HERE = "http://10.77.0.2:80"
RELEASE = "20260101-00000000000a"
DISK = Disk("/dev/vda", 8 * 2**30, "virtio")
FACTS = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", product="Standard PC", disks=(DISK,))


@pytest.fixture
def desk(site: Path, tmp_path: Path, clock: Clock) -> BootDesk:
    tree = Tree(tmp_path / "state")
    store = Store(tree.store)
    store.releases.add(Release(RELEASE, "vm", 1.0, "distserver:0123", 3, 100))
    channels = Channels(tree.path / "channels", FakeNotary().signed_text)
    point(channels, "stable", RELEASE, 1)
    return BootDesk(LiveSite(site), tree, store, channels, clock)


def point(channels: Channels, channel: str, release: str, serial: int) -> None:
    said = Statement("vm", channel, release, serial, "2026-01-01T00:00:00Z")
    channels.put(said, FakeNotary().clearsign(statement.write(said)))


def machine(desk: BootDesk) -> Machine:
    found = desk.store.machines.get(MAC)
    assert found is not None
    return found


def stages(desk: BootDesk) -> list[str]:
    return [f"{event.stage} {event.status}" for _, event in desk.store.events.after(MAC)]


def arm(desk: BootDesk) -> None:
    desk.store.machines.add(Machine(MAC, MachineState.ARMED, profile="vm"))


def get_plan(desk: BootDesk, facts: Facts = FACTS) -> str:
    token = desk.hello(render_facts(FACTS), HERE).split()[1]
    return desk.plan(f"token {token}\n{render_facts(facts)}", HERE)


def secret_of(plan: str) -> str:
    return next(line.split()[1] for line in plan.splitlines() if line.startswith("report "))


def report(secret: str, stage: str, status: str, message: str = "") -> str:
    return f"report {secret}\nstage {stage}\nstatus {status}\nseconds 1.5\nbytes 10\n\n{message}"


def test_an_unknown_machine_is_discovered_matched_and_must_wait_for_a_person(desk: BootDesk) -> None:
    answer = desk.hello(render_facts(FACTS), HERE)
    assert answer.startswith("wait ")
    assert machine(desk).state is MachineState.ASSIGNED
    assert machine(desk).profile == "vm"
    assert stages(desk) == ["discovered done", "assigned done"]


def test_an_unknown_machine_is_offered_installers_of_both_kinds_of_x86(desk: BootDesk, site: Path) -> None:
    old, other = "20260102-00000000000b", "20260103-00000000000c"
    for name, arch in (("old", "x86"), ("sun", "sparc")):
        file = site / "profiles" / name / "profile.toml"
        file.parent.mkdir()
        file.write_text(f'arch = "{arch}"\nparent = ["amd64"]\n')
    desk.store.releases.add(Release(old, "old", 2.0, "distserver:0123", 3, 100))
    desk.store.releases.add(Release(other, "sun", 3.0, "distserver:0123", 3, 100))
    target = desk.script_target(MAC, Firmware.BIOS, HERE)
    assert isinstance(target, NetBoot)
    assert (target.release, target.narrow) == (RELEASE, old)
    arm(desk)
    target = desk.script_target(MAC, Firmware.BIOS, HERE)
    assert isinstance(target, NetBoot)
    assert (target.release, target.narrow) == (RELEASE, "")


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


def test_a_stranger_without_the_secret_changes_nothing(desk: BootDesk) -> None:
    arm(desk)
    get_plan(desk)
    assert desk.event(report("0" * 32, "finish", "done")).startswith("stop ")
    assert machine(desk).state is MachineState.INSTALLING


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "no line `report`"),
        ("report x\nstage a\nstatus maybe\n\n", "status is 'maybe'"),
        ("report x\nstage A B\nstatus done\n\n", "stage is 'A B'"),
        ("report x\nstage a\nstatus done\nseconds many\n\n", "are numbers"),
        ("report x\nstage a\nstatus done\nbytes -1\n\n", "out of range"),
        ("report x\nfoo y\n\n", "starts with 'foo'"),
    ],
)
def test_a_malformed_report_says_what_was_expected(body: str, said: str) -> None:
    with pytest.raises(Problem, match=said):
        parse_report(body)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../manifest", "x\0y"])
def test_only_plain_names_of_real_releases_are_served(desk: BootDesk, name: str) -> None:
    assert desk.release_file(RELEASE, name) is None
    assert desk.release_file("../../etc", "passwd") is None
    assert desk.pool_file("../../etc/passwd") is None


def test_a_site_that_was_broken_while_running_leaves_the_last_good_one(desk: BootDesk, site: Path) -> None:
    assert "vm" in desk.live.now().profiles
    (site / "profiles/vm/profile.toml").write_text("nonsense = [")
    assert "vm" in desk.live.now().profiles


def test_a_machine_on_canary_gets_canary_and_stable_while_there_is_none(desk: BootDesk) -> None:
    arm(desk)
    desk.store.machines.set_channel(MAC, "canary")
    first = desk.boot_target(MAC, Firmware.UEFI)
    assert isinstance(first, NetBoot)
    assert first.release == RELEASE
    newer = "20260102-00000000000b"
    desk.store.releases.add(Release(newer, "vm", 2.0, "gentoo:snap", 3, 100))
    point(desk.channels, "canary", newer, 1)
    second = desk.boot_target(MAC, Firmware.UEFI)
    assert isinstance(second, NetBoot)
    assert second.release == newer
    assert f"/r/{newer}" in get_plan(desk)
    assert machine(desk).release == newer


def test_a_channel_that_is_not_signed_names_nothing(desk: BootDesk, tmp_path: Path) -> None:
    arm(desk)
    file = tmp_path / "state/channels/vm/stable"
    signed = file.read_bytes()
    assert desk.channel_text("vm", "stable") == signed
    file.write_bytes(signed.replace(b"serial 1", b"serial 2"))
    assert desk.channel_text("vm", "stable") is None
    assert not isinstance(desk.boot_target(MAC, Firmware.UEFI), NetBoot)


def test_the_statement_of_another_channel_is_not_believed(desk: BootDesk, tmp_path: Path) -> None:
    folder = tmp_path / "state/channels/vm"
    (folder / "canary").write_bytes((folder / "stable").read_bytes())
    assert desk.channel_text("vm", "canary") is None


def test_a_release_that_does_not_verify_is_neither_booted_nor_served(desk: BootDesk, tmp_path: Path) -> None:
    arm(desk)
    place = tmp_path / "state/releases" / RELEASE
    place.mkdir(parents=True)
    (place / "kernel").touch()
    assert desk.release_file(RELEASE, "kernel") == place / "kernel"
    desk.store.releases.set_fault(RELEASE, "kernel has other bytes", now=1.0)
    assert desk.release_file(RELEASE, "kernel") is None
    assert not isinstance(desk.boot_target(MAC, Firmware.UEFI), NetBoot)


def test_machines_boot_the_signed_kernel_of_a_release_that_has_one(desk: BootDesk, tmp_path: Path) -> None:
    place = tmp_path / "state/releases" / RELEASE
    place.mkdir(parents=True)
    for name in ("kernel", "installer"):
        (place / name).touch()
    assert desk.release_file(RELEASE, "kernel") == place / "kernel"
    (place / "kernel.efi").touch()
    assert desk.release_file(RELEASE, "kernel") == place / "kernel.efi"
    assert desk.release_file(RELEASE, "installer") == place / "installer"


@pytest.mark.parametrize("ending", [".partial", ".damaged", ".removed"])
def test_what_is_no_release_yet_or_any_more_is_never_served(
    desk: BootDesk, tmp_path: Path, ending: str
) -> None:
    place = tmp_path / "state/releases" / f"{RELEASE}{ending}"
    place.mkdir(parents=True)
    (place / "kernel").touch()
    for name in (RELEASE + ending, f"{RELEASE}{ending}/.", f"{RELEASE}/../{RELEASE}{ending}"):
        assert desk.release_file(name, "kernel") is None


def test_a_distfile_is_a_file_and_no_link(desk: BootDesk) -> None:
    place = desk.tree.room("distfiles")
    (place / "hello-2.10.tar.gz").write_bytes(b"a tarball")
    assert desk.distfile("hello-2.10.tar.gz") == place / "hello-2.10.tar.gz"
    assert desk.distfile("../store/store.sqlite") is None
    # A build may write here: what it links to is not for everybody.
    (place / "link").symlink_to(desk.tree.store)
    assert desk.distfile("link") is None


def test_a_machines_address_is_the_one_of_the_site_before_that_of_its_lease(
    desk: BootDesk, site: Path, clock: Clock
) -> None:
    office, elsewhere = IPv4Network("10.0.0.0/24"), IPv4Network("10.9.0.0/24")
    assert desk.reserved(MAC, office) is None
    leased = IPv4Address("10.0.0.50")
    desk.store.leases.keep([Lease(leased, MAC, LeaseState.BOUND, clock(), clock() + 60)])
    assert desk.reserved(MAC, office) == leased
    assert desk.reserved(MAC, elsewhere) is None
    clock.now += 61
    assert desk.reserved(MAC, office) is None
    with (site / "appliance.toml").open("a") as file:
        file.write(f'\n[net]\nrarp = {{ "{MAC.upper()}" = "10.0.0.7" }}\n')
        file.write('\n[[dhcp.subnet]]\nnetwork = "10.9.0.0/24"\nranges = ["10.9.0.10-10.9.0.20"]\n')
        file.write(f'\n[[dhcp.fixed]]\nmachine = "{MAC}"\naddress = "10.9.0.8"\n')
    assert desk.reserved(MAC, office) == IPv4Address("10.0.0.7")
    assert desk.reserved(MAC, elsewhere) == IPv4Address("10.9.0.8")


def test_the_plan_of_a_new_installation_ends_the_key_of_the_one_before(
    desk: BootDesk, tmp_path: Path
) -> None:
    arm(desk)
    _, request = make_key(tmp_path)
    first = secret_of(get_plan(desk))
    number = desk.enroll(f"report {first}\n{request}").split()[1]
    assert desk.clients.certificate(number) == ""
    again = secret_of(get_plan(desk))
    assert desk.clients.certificate(number) is None
    assert desk.enroll(f"report {first}\n{request}").startswith("stop ")
    assert desk.enroll(f"report {again}\n{request}") == f"key {number}"
    assert desk.event(report(again, "finish", "done")) == "ok"
    assert desk.enroll(f"report {again}\n{request}").startswith("stop ")
    assert desk.clients.certificate(number) == ""
