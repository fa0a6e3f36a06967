"""What the store is told it still knows, whoever asks and whenever it was killed."""

import sqlite3
import sys
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.farm_model import Figures, Origin, Package, Release
from appliance.leases import Lease, LeaseState
from appliance.model import Disk, Event, Facts, Firmware, Machine, MachineState
from appliance.run import run
from appliance.store import Store
from appliance.store.events import PER_SUBJECT
from appliance.store.migrations import MIGRATIONS, stages

MAC = "52:54:00:00:00:01"
FACTS = Facts(MAC, Firmware.BIOS, 2**30, disks=(Disk("/dev/vda", 2**33, "virtio"),), vendor="QEMU")
RELEASE = Release("20260101-00000000000a", "vm", 1.0, "snap", 3, 1000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def test_a_machine_comes_back_as_it_was_put_in(store: Store, tmp_path: Path) -> None:
    machine = Machine(MAC, MachineState.ARMED, "web1", "vm", FACTS)
    store.machines.add(machine)
    assert Store(tmp_path / "store.sqlite").machines.get(MAC) == machine


def test_the_same_mac_twice_is_refused(store: Store) -> None:
    store.machines.add(Machine(MAC, MachineState.DISCOVERED))
    with pytest.raises(Problem, match="already a machine"):
        store.machines.add(Machine(MAC, MachineState.DISCOVERED))


def test_an_illegal_move_changes_nothing(store: Store) -> None:
    store.machines.add(Machine(MAC, MachineState.DISCOVERED))
    with pytest.raises(Problem, match="cannot become failed"):
        store.machines.move(MAC, MachineState.FAILED, release="x")
    assert store.machines.get(MAC) == Machine(MAC, MachineState.DISCOVERED)


def test_a_move_keeps_the_release_and_clears_the_problem(store: Store) -> None:
    store.machines.add(Machine(MAC, MachineState.INSTALLING, profile="vm", release="r1"))
    store.machines.move(MAC, MachineState.FAILED, problem="stage failed")
    store.machines.move(MAC, MachineState.ARMED)
    assert store.machines.get(MAC) == Machine(MAC, MachineState.ARMED, profile="vm", release="r1")


def test_events_come_back_in_order_and_from_where_one_left_off(store: Store) -> None:
    numbers = [store.events.add(Event(MAC, float(n), f"s{n}")) for n in range(3)]
    store.events.add(Event("other", 9.0, "x"))
    assert [event.stage for _, event in store.events.after(MAC)] == ["s0", "s1", "s2"]
    assert [event.stage for _, event in store.events.after(MAC, numbers[1])] == ["s2"]


def test_what_happened_since_a_time_is_of_all_subjects_and_of_very_much_the_newest(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        store.events.add(Event(MAC if number % 2 else "other", float(number), f"s{number}"))
    assert [event.stage for event in store.events.since(2.0)] == ["s2", "s3", "s4", "s5"]
    monkeypatch.setattr("appliance.store.events.MOST_RECENT", 3)
    assert [event.stage for event in store.events.since(2.0)] == ["s3", "s4", "s5"]


def test_a_boot_loop_cannot_fill_the_disk_with_events(store: Store) -> None:
    with store.database.change():
        for n in range(PER_SUBJECT + 20):
            store.events.add(Event(MAC, float(n), "discover"))
    kept = store.events.after(MAC)
    assert len(kept) == PER_SUBJECT
    assert kept[-1][1].at == PER_SUBJECT + 19


def test_a_token_works_once(store: Store) -> None:
    token = store.tokens.issue(MAC, "install", now=0.0, lifetime_seconds=10)
    assert store.tokens.use(token, "install", now=1.0) == MAC
    assert store.tokens.use(token, "install", now=1.0) is None
    assert store.tokens.was_used(token, "install") == MAC


def test_a_token_is_void_after_its_time_for_another_purpose_and_once_a_newer_one_exists(store: Store) -> None:
    token = store.tokens.issue(MAC, "install", now=0.0, lifetime_seconds=10)
    assert store.tokens.owner(token, "install", now=11.0) is None
    assert store.tokens.owner(token, "report", now=1.0) is None
    newer = store.tokens.issue(MAC, "install", now=0.0, lifetime_seconds=10)
    assert store.tokens.owner(token, "install", now=1.0) is None
    assert store.tokens.owner(newer, "install", now=1.0) == MAC


def test_the_file_never_holds_a_token_in_the_clear(store: Store, tmp_path: Path) -> None:
    token = store.tokens.issue(MAC, "install", now=0.0, lifetime_seconds=10)
    store.close()
    assert all(token.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_release_is_remembered_once_with_where_its_packages_came_from(store: Store) -> None:
    packages = [
        Origin("a" * 64, "app-misc/a-1", "built", "vm"),
        Origin("b" * 64, "app-misc/b-1", "reused", "x"),
    ]
    store.releases.add(RELEASE, packages)
    store.releases.add(RELEASE, packages)
    newer = Release("20260102-00000000000b", "vm", 2.0, "gentoo:snap2", 4, 1000)
    store.releases.add(newer)
    assert [one.id for one in store.releases.all("vm")] == [newer.id, RELEASE.id]
    assert store.releases.origins(RELEASE.id) == packages
    assert store.releases.builder("a" * 64) == "vm"
    store.releases.forget(RELEASE.id)
    assert store.releases.origins(RELEASE.id) == []


def test_a_change_that_fails_half_way_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.database.change():
        store.machines.add(Machine(MAC, MachineState.DISCOVERED))
        raise RuntimeError
    assert store.machines.get(MAC) is None


def test_the_packages_of_a_build_key_are_known_newest_first(store: Store) -> None:
    for sha256, built_at, key in (("a" * 64, 1.0, "key"), ("b" * 64, 2.0, "key"), ("c" * 64, 3.0, "x")):
        store.packages.remember(Package(sha256, "app-misc/a-1", 1, 10, key, built_at, "CPV: app-misc/a-1\n"))
    assert [one.sha256[0] for one in store.packages.known(["key", "other"])] == ["b", "a"]


def test_a_package_is_known_by_its_neutral_key_too_and_remembers_what_decided(store: Store) -> None:
    one = Package("a" * 64, "app-misc/a-1", 1, 10, "key", 1.0, "CPV: app-misc/a-1\n", "neutral", "server")
    store.packages.remember(one, {"USE": "nls", "variable CFLAGS": "-O2"})
    assert store.packages.known(["neutral"]) == store.packages.known(["key", "neutral"]) == [one]
    assert store.packages.known([""]) == []
    store.packages.measured(one.sha256, Figures(7.0, 20.0, 2**20, "h1 h2", 0.75))
    (measured,) = store.packages.known(["key"])
    assert (measured.seconds, measured.hosts, measured.remote_share) == (7.0, "h1 h2", 0.75)
    store.packages.remember(measured)
    assert store.packages.recipe(one.sha256) == {"USE": "nls", "variable CFLAGS": "-O2"}
    store.packages.forget(one.sha256)
    assert store.packages.known(["key"]) == []
    assert store.packages.recipe(one.sha256) == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("aaaa", "a"),
        ("app-misc/a", "ac"),
        ("app-misc/a-1", "a"),
        ("a", "ac"),
        ("a-b", "b"),
        ("*", ""),
        ("x", ""),
    ],
)
def test_a_package_is_found_by_what_people_call_it(store: Store, text: str, found: str) -> None:
    for sha256, cpv in (("a", "app-misc/a-1"), ("b", "dev-libs/a-b-2"), ("c", "app-misc/a-2-r1")):
        store.packages.remember(Package(sha256 * 64, cpv, 1, 10, "key", 1.0, ""))
    assert "".join(one.sha256[0] for one in store.packages.find(text)) == found


def test_thousands_of_keys_are_asked_for_at_once(store: Store) -> None:
    store.packages.remember(Package("a" * 64, "app-misc/a-1", 1, 10, "key 4999", 1.0, ""))
    assert len(store.packages.known([f"key {number}" for number in range(5000)])) == 1


def test_packages_of_an_older_store_are_kept(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.sqlite", isolation_level=None)
    for statement in MIGRATIONS[0]:
        connection.execute(statement)
    connection.execute("INSERT INTO package VALUES ('aa', 'app-misc/a-1', 1, 10, 'key', 1.0, 'CPV: x')")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    (kept,) = Store(tmp_path / "old.sqlite").packages.known(["key"])
    assert kept == Package("aa", "app-misc/a-1", 1, 10, "key", 1.0, "CPV: x")


def test_a_job_whose_process_is_gone_is_interrupted_and_a_living_one_is_not(
    store: Store, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from appliance.store import Store;"
        "print(Store(Path(sys.argv[1])).jobs.start('build', 'vm', now=1.0))"
    )
    run([sys.executable, "-c", code, tmp_path / "store.sqlite"])
    mine = store.jobs.start("build", "other", now=2.0)
    assert [job.profile for job in store.jobs.interrupt_dead(now=3.0)] == ["vm"]
    states = {job.profile: job.state for job in store.jobs.all()}
    assert states == {"vm": "interrupted", "other": "running"}
    assert mine > 0


def test_a_store_of_a_newer_distserver_is_refused(store: Store, tmp_path: Path) -> None:
    store.database.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(Problem, match="start the newer DistServer"):
        Store(tmp_path / "store.sqlite")


def test_every_migration_runs_alone_on_the_schema_before_it(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.sqlite", isolation_level=None)
    for number, statements in enumerate(MIGRATIONS, 1):
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.close()
    assert Store(tmp_path / "old.sqlite").machines.all() == []


def test_timelines_of_before_have_the_names_of_now(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "old.sqlite", isolation_level=None)
    older = MIGRATIONS[: MIGRATIONS.index(stages.STEP)]
    for statement in (one for step in older for one in step):
        connection.execute(statement)
    for stage in ("dhcp", "tftp", "packages"):
        connection.execute(
            "INSERT INTO event (subject, at, stage, status) VALUES (?, 1.0, ?, 'done')", (MAC, stage)
        )
    connection.execute(f"PRAGMA user_version = {len(older)}")
    connection.close()
    events = Store(tmp_path / "old.sqlite").events.after(MAC)
    assert [event.stage for _, event in events] == ["discover", "program", "packages"]


def test_a_lease_is_kept_in_the_place_of_what_was_known_of_its_address(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    address = IPv4Address("10.0.0.9")
    lease = Lease(
        address, "52:54:00:77:00:01", LeaseState.BOUND, 1.0, 3601.0, port="10.1.0.1//aa", host="web"
    )
    other = replace(lease, address=IPv4Address("10.0.0.10"), since=2.0, known=False)
    store.leases.keep([other, lease])
    assert store.leases.all() == [lease, other]
    assert store.leases.of_machine(lease.mac) == [other, lease]
    moved = replace(lease, mac="52:54:00:77:00:02", state=LeaseState.RELEASED)
    store.leases.keep([moved])
    store.close()
    again = Store(tmp_path / "store.sqlite")
    assert again.leases.by_address(address) == moved
    assert again.leases.by_address(IPv4Address("10.0.0.11")) is None
