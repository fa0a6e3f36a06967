"""What gc removes and, before all, what it never does: any history, a crash at any moment."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from buildfarm import bases, keeping
from buildfarm.collect import Fate
from buildfarm.inspection import Inspector
from buildfarm.keeping import Entry, Named, Rules
from tests.crash import Crashed, crashing
from tests.fake_notary import FakeNotary
from tests.press import HOUR, Press

MAC = "52:54:00:00:00:01"
DAY = 24 * HOUR


def make_press(place: Path) -> Press:
    """A site that keeps next to nothing."""
    site = Path(shutil.copytree(example_site(), place / "site"))
    file = site / "appliance.toml"
    file.write_text(file.read_text().replace("keep = 5", "keep = 2").replace('"14 d"', '"1 d"'))
    return Press(Tree(place / "state"), site, FakeNotary())


@pytest.fixture
def press(tmp_path: Path) -> Press:
    return make_press(tmp_path)


def gone(fates: list[Fate], kind: str) -> set[str]:
    return {fate.name for fate in fates if fate.kind == kind and fate.goes}


def reasons(fates: list[Fate], name: str) -> tuple[str, ...]:
    return next(fate.reasons for fate in fates if fate.name == name)


def directories(press: Press) -> set[str]:
    return {place.name for place in press.tree.room("releases").iterdir()}


def pooled(press: Press) -> int:
    return len(list(press.tree.room("pool").glob("*/*.gpkg.tar")))


def reachable(press: Press) -> dict[str, str]:
    """Release -> who names it."""
    store = press.store()
    found = {said.release: f"channel {said.profile}/{said.channel}" for said in press.channels().all()}
    found |= {pin.release: "pin" for pin in store.releases.pins()}
    found |= {one.release: one.mac for one in store.machines.all() if one.release}
    store.close()
    return found


def check_whole(press: Press) -> None:
    """Every release that anybody names is complete, with the bases it lists."""
    inspector = Inspector(press.pool(), press.notary)
    for release, who in reachable(press).items():
        place = press.tree.room("releases") / release
        assert inspector.reasons(place) == [], f"{who} names {release}"
        for base in bases.parse((place / "bases").read_text()):
            assert (press.tree.room("etc-base") / base.sha256).exists(), base


def history(press: Press, number: int) -> list[Release]:
    """Releases three days apart, each with a package of its own and one that all have."""
    found = []
    for step in range(number):
        press.clock.now += 3 * DAY
        found.append(press.published(b"all", f"own {step}".encode()))
    return found


def test_what_nobody_names_goes_and_the_rest_says_why_it_stays(press: Press) -> None:
    one, two, three, four = history(press, 4)
    fates = press.desk().collect(dry_run=True)
    assert gone(fates, "release") == {one.id, two.id}
    assert "channel vm/stable names it" in reasons(fates, four.id)
    assert "channel vm/stable can be rolled back to it" in reasons(fates, three.id)
    assert directories(press) == {one.id, two.id, three.id, four.id}
    assert press.desk().collect(dry_run=False) == fates
    assert directories(press) == {three.id, four.id}
    assert pooled(press) == 3
    assert [release.id for release in press.store().releases.all()] == [four.id, three.id]
    check_whole(press)


def test_a_pin_a_machine_and_an_older_channel_keep_what_they_name(press: Press) -> None:
    one, two, three, four, *_ = history(press, 6)
    press.store().machines.add(Machine(MAC, MachineState.INSTALLED, profile="vm", release=one.id))
    press.desk().pin("vm", two.id, channel="canary", who="ann")
    fates = press.desk().collect(dry_run=False)
    assert gone(fates, "release") == {three.id, four.id}
    assert reasons(fates, one.id) == (f"machine {MAC} has it",)
    assert "channel vm/canary is pinned to it" in reasons(fates, two.id)
    check_whole(press)


def test_a_package_of_a_build_that_runs_stays_however_old_it_is(press: Press) -> None:
    history(press, 1)
    offered = press.package("app-misc/x-1", b"offered")
    linked = press.package("app-misc/y-1", b"linked")
    lost = press.package("app-misc/z-1", b"lost")
    attempt = press.tree.room("roots") / "vm" / "attempt"
    attempt.mkdir(parents=True)
    (attempt / "offered.json").write_text(json.dumps({"x-1.gpkg.tar": offered.sha256}))
    (attempt / "y-1.gpkg.tar").hardlink_to(press.pool().file(linked.sha256))
    press.clock.now += 9 * DAY
    os.utime(attempt, (press.clock.now, press.clock.now))
    fates = press.desk().collect(dry_run=False)
    assert gone(fates, "package") == {lost.sha256}
    assert reasons(fates, offered.sha256) == ("a root or a running build has it",)
    assert reasons(fates, linked.sha256) == ("a build has it linked",)


def test_what_came_since_the_oldest_running_build_began_stays(press: Press) -> None:
    attempt = press.tree.room("roots") / "vm" / "attempt"
    attempt.mkdir(parents=True)
    os.utime(attempt, (press.clock.now, press.clock.now))
    press.clock.now += HOUR
    during = press.package("app-misc/x-1", b"during")
    press.clock.now += 9 * DAY
    assert reasons(press.desk().collect(dry_run=False), during.sha256) == ("it is young",)


def test_what_a_committed_root_is_made_of_stays(press: Press) -> None:
    package = press.package("app-misc/x-1", b"in the root")
    root = press.tree.room("roots") / "vm"
    root.mkdir(parents=True)
    (root / "outcome.json").write_text(json.dumps({"packages": [{"sha256": package.sha256}]}))
    press.clock.now += 9 * DAY
    assert not gone(press.desk().collect(dry_run=False), "package")


def test_a_package_is_forgotten_before_its_file_goes(press: Press) -> None:
    package = press.package("app-misc/x-1", b"x")
    press.store().packages.remember(package)
    press.clock.now += 9 * DAY
    with suppress(Crashed), crashing(press.pool().file(package.sha256), 0):
        press.desk().collect(dry_run=False)
    assert press.pool().holds(package.sha256)
    assert press.store().packages.known([package.build_key]) == []
    press.desk().collect(dry_run=False)
    assert not press.pool().holds(package.sha256)


def test_nothing_goes_that_a_release_might_name_which_cannot_be_read(press: Press) -> None:
    one, *_ = history(press, 1)
    lost = press.package("app-misc/x-1", b"lost")
    press.clock.now += 9 * DAY
    file = press.tree.room("releases") / one.id / "manifest"
    file.write_text("nonsense")
    fates = press.desk().collect(dry_run=False)
    assert not gone(fates, "package")
    assert reasons(fates, lost.sha256) == (f"release {one.id} cannot be read",)


def test_what_killed_programs_left_goes(press: Press) -> None:
    releases = press.tree.room("releases")
    for name in ("20260101-00000000000a.partial", "20260101-00000000000a.damaged"):
        (releases / name).mkdir()
        (releases / name / "kernel").write_text("half")
        os.utime(releases / name, (press.clock.now, press.clock.now))
    (releases / "20260101-00000000000b.removed").mkdir()
    press.desk().collect(dry_run=False)
    assert len(directories(press)) == 2
    press.clock.now += 9 * DAY
    press.desk().collect(dry_run=False)
    assert directories(press) == set()


def test_snapshots_that_releases_were_made_of_stay_and_so_does_the_newest_of_each_repository(
    press: Press,
) -> None:
    (one,) = history(press, 1)
    room = press.tree.room("snapshots")
    revision = one.snapshot.partition(":")[2]
    for number, (name, repository) in enumerate(
        (
            (revision, "gentoo"),
            ("0" * 40, "gentoo"),
            ("3" * 40, "gentoo"),
            ("1" * 40, "gentoo"),
            ("2" * 40 + "-abcd", "guru"),
        )
    ):
        (room / f"{name}.sqfs").write_bytes(b"image")
        (room / f"{name}.json").write_text(json.dumps({"name": repository}))
        os.utime(room / f"{name}.sqfs", (press.clock.now + number,) * 2)
    # A person forced an older tree: it is what builds take, though a newer image is there.
    older = {"revision": "3" * 40, "image": f"{'3' * 40}.sqfs"}
    press.store().snapshots.succeeded("gentoo", source="", validator="", now=1.0, **older)
    press.clock.now += 9 * DAY
    fates = press.desk().collect(dry_run=False)
    assert gone(fates, "snapshot") == {f"{'0' * 40}.sqfs"}
    assert reasons(fates, older["image"]) == ("it is the current one",)
    assert not (room / f"{'0' * 40}.json").exists()
    assert reasons(fates, f"{revision}.sqfs") == (f"release {one.id} was made of it",)


def test_the_bases_of_a_release_that_went_go_with_it(press: Press) -> None:
    one, *_ = history(press, 4)
    listed = bases.parse((press.tree.room("releases") / one.id / "bases").read_text())
    room = press.tree.room("etc-base")
    assert all((room / base.sha256).exists() for base in listed)
    press.desk().collect(dry_run=False)
    left = {base.package for base in listed if (room / base.sha256).exists()}
    assert left == {"app-misc/a-1-1"}


def test_a_toolchain_that_is_ordered_onto_compile_hosts_stays(press: Press) -> None:
    room = press.tree.room("toolchains")
    for digit in "ab":
        for ending in (".sqfs", ".json"):
            (room / f"{digit * 64}{ending}").touch()
        os.utime(room / f"{digit * 64}.sqfs", (press.clock.now, press.clock.now))
    press.clock.now += 9 * DAY
    press.store().compile_hosts.want("a" * 64, until=press.clock.now + HOUR)
    press.desk().collect(dry_run=False)
    assert {place.name for place in room.iterdir()} == {f"{'a' * 64}.sqfs", f"{'a' * 64}.json"}


def test_a_stage_stays_while_a_root_is_built_on_it(press: Press) -> None:
    for name in ("a" * 64, "b" * 64):
        (press.tree.room("stages") / name).mkdir()
        os.utime(press.tree.room("stages") / name, (press.clock.now, press.clock.now))
    (press.tree.room("roots") / "vm").mkdir()
    (press.tree.room("roots") / "vm" / "head").write_text("a" * 64)
    press.clock.now += 9 * DAY
    assert gone(press.desk().collect(dry_run=False), "stage") == {"b" * 64}
    assert [place.name for place in press.tree.room("stages").iterdir()] == ["a" * 64]


@pytest.mark.parametrize("kind", ["installer", "planner"])
def test_a_packed_installer_or_planner_goes_when_nothing_has_it(press: Press, kind: str) -> None:
    shelf = press.tree.room(f"{kind}s")
    for name in ("used", "unused", "fresh"):
        (shelf / name).write_bytes(b"an installer")
        os.utime(shelf / name, (press.clock.now, press.clock.now) if name == "fresh" else (0, 0))
    (press.tree.path / "linked").hardlink_to(shelf / "used")
    fates = press.desk().collect(dry_run=False)
    assert gone(fates, kind) == {"unused"}
    assert {path.name for path in shelf.iterdir()} == {"used", "fresh"}


def test_old_logs_go_but_the_newest_of_each_profile(press: Press) -> None:
    logs = press.tree.room("logs")
    for name in ("build-vm-20260101T000000Z", "build-vm-20260102T000000Z", "build-x-20260101T000000Z"):
        (logs / name).mkdir()
        os.utime(logs / name, (press.clock.now, press.clock.now))
    press.clock.now += 9 * DAY
    assert gone(press.desk().collect(dry_run=False), "log") == {"build-vm-20260101T000000Z"}


CHANNELS = st.sampled_from(["vm/stable", "vm/canary"])
NAMES = st.lists(st.sampled_from(["r1", "r2", "r3", "r4", "r5", "gone"]), max_size=4).map(tuple)


@given(
    ages=st.lists(st.floats(0, 1e7), max_size=5),
    channels=st.dictionaries(
        st.sampled_from(["vm/stable", "vm/canary"]), st.sampled_from(["r1", "r4", "gone"])
    ),
    machines=st.dictionaries(st.sampled_from(["m1", "m2"]), st.sampled_from(["r2", "r5"])),
    past=st.dictionaries(CHANNELS, NAMES),
    keep=st.integers(2, 4),
)
def test_more_names_never_remove_more(
    ages: list[float],
    channels: dict[str, str],
    machines: dict[str, str],
    past: dict[str, tuple[str, ...]],
    keep: int,
) -> None:
    entries = [Entry(f"r{n}", "vm", 1e8 - age, 0.0) for n, age in enumerate(ages, 1)]
    rules = Rules(1e8, keep, 86400.0)
    named = Named(channels, {}, machines, past)
    stays = {one for one, why in keeping.releases(entries, named, rules).items() if why}
    assert {*channels.values(), *machines.values()} & {entry.id for entry in entries} <= stays
    fewer = {one for one, why in keeping.releases(entries, Named(), rules).items() if why}
    assert fewer <= stays
    wider = replace(rules, keep_releases=keep + 1, keep_seconds=1e6, busy_since=1.0)
    assert stays <= {one for one, why in keeping.releases(entries, named, wider).items() if why}


OPERATIONS = st.tuples(
    st.sampled_from(["publish", "publish", "rollback", "pin", "unpin", "install", "gc", "gc", "start"]),
    st.integers(0, 7),
    st.one_of(st.none(), st.integers(0, 40)),
)


def operate(press: Press, name: str, number: int) -> None:
    """One use case; that it is refused with a sentence is fine."""
    desk = press.desk()
    releases = desk.store.releases.all("vm")
    some = releases[number % len(releases)].id if releases else "20260101-00000000000a"
    acts: dict[str, Callable[[], object]] = {
        "publish": lambda: desk.publish(
            press.release(b"all", f"own {number}".encode(), kernel=bytes([number]))
        ),
        "rollback": lambda: desk.rollback("vm", some if number % 2 else None, who="ann"),
        "pin": lambda: desk.pin("vm", some, channel="canary" if number % 2 else "stable", who="ann"),
        "unpin": lambda: desk.unpin("vm", channel="canary" if number % 2 else "stable", who="ann"),
        "install": lambda: install(press),
        "gc": lambda: desk.collect(dry_run=False),
        "start": lambda: desk.start(deep=bool(number % 2)),
    }
    try:
        acts[name]()
    finally:
        desk.store.close()


def install(press: Press) -> None:
    """A machine gets what its channel names, as the boot desk does it."""
    store = press.store()
    said = press.channels().get("vm", "stable")
    if said:
        if store.machines.get(MAC) is None:
            store.machines.add(Machine(MAC, MachineState.ARMED, profile="vm"))
        store.database.execute("UPDATE machine SET release = ? WHERE mac = ?", (said.release, MAC))
    store.close()


@settings(max_examples=15, deadline=None)
@given(st.lists(OPERATIONS, min_size=4, max_size=14))
def test_whatever_happens_every_named_release_is_whole(
    operations: list[tuple[str, int, int | None]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        press = make_press(Path(name))
        for what, number, crash in operations:
            press.clock.now += (number + 1) * 7 * HOUR
            with suppress(Problem, Crashed):
                if crash is None:
                    operate(press, what, number)
                else:
                    with crashing(press.tree.path, crash):
                        operate(press, what, number)
            check_whole(press)
        # Newer releases than gc keeps: what a machine or a pin still names is all that holds an old one.
        operate(press, "install", 0)
        for number in range(20, 23):
            press.clock.now += 3 * DAY
            operate(press, "publish", number)
            operate(press, "gc", 0)
            check_whole(press)
        press.clock.now += 99 * DAY
        press.desk().start(deep=True)
        press.desk().collect(dry_run=False)
        check_whole(press)
        assert not [one for one in directories(press) if "." in one]
        assert not gone(press.desk().collect(dry_run=True), "package")
