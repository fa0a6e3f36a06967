"""What a booting machine is told, from its first word to its reboot, against a real store."""

import asyncio
import shutil
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance import statement
from appliance.boot import BootDesk, parse_report
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.leases import Lease, LeaseState
from appliance.live import LiveSite
from appliance.model import Disk, Facts, Firmware, LocalBoot, Machine, MachineState, NetBoot, Tree
from appliance.overlays import example_site
from appliance.statement import Statement
from appliance.store import Store
from tests.clock import Clock
from tests.fake_notary import FakeNotary

MAC = "52:54:00:00:00:01"
HERE = "http://10.77.0.2:80"
RELEASE = "20260101-00000000000a"
DISK = Disk("/dev/vda", 8 * 2**30, "virtio")
FACTS = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", product="Standard PC", disks=(DISK,))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


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


def test_in_a_loop_a_change_and_its_events_are_seen_together(desk: BootDesk) -> None:
    """Who acts on the state (here: arms) writes after them."""
    other = Store(desk.tree.store)

    async def boot() -> None:
        desk.hello(render_facts(FACTS), HERE)
        assert other.machines.get(MAC) == machine(desk)
        assert [one.stage for _, one in other.events.after(MAC)] == ["discovered", "assigned"]
        desk.journal.close()

    asyncio.run(boot())


def test_an_unknown_machine_that_nothing_matches_stays_discovered(desk: BootDesk, site: Path) -> None:
    file = site / "profiles/vm/profile.toml"
    file.write_text(file.read_text().replace("QEMU*", "Sun*"))
    assert "no match rule" in desk.hello(render_facts(FACTS), HERE)
    assert machine(desk).state is MachineState.DISCOVERED


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
