"""Whom booting machines may be, and which releases and files they get, against a real store."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.boot import BootDesk
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.leases import Lease, LeaseState
from appliance.model import Firmware, MachineState, NetBoot
from appliance.step_report import parse_report
from tests.client_yard import make_key
from tests.clock import Clock
from tests.unit.boot_talk import MAC, RELEASE, arm, get_plan, machine, make_desk, point, report, secret_of


@pytest.fixture
def desk(site: Path, tmp_path: Path, clock: Clock) -> BootDesk:
    return make_desk(site, tmp_path, clock)


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
