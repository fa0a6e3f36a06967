"""Publishing, promoting, rolling back and pinning, over real files and a real store."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import statement
from appliance.channels import CANARY, STABLE
from appliance.client_order import Rollout, RolloutState, go_on
from appliance.errors import Problem
from appliance.farm_model import Origin, Release
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.statement import Statement
from appliance.store import Store
from appliance.store.migrations import channels
from tests.fake_notary import FakeNotary
from tests.press import HOUR, Press, origins_of

MAC = "52:54:00:00:00:01"


@pytest.fixture
def press(tmp_path: Path) -> Press:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Press(Tree(tmp_path / "state"), site, FakeNotary())


def named(press: Press, channel: str = STABLE) -> str | None:
    said = press.channels().get("vm", channel)
    return said.release if said else None


def canary_first(press: Press, promote_after: str = "") -> None:
    with (press.site / "profiles/vm/profile.toml").open("a") as file:
        after = f'promote_after = "{promote_after}"\n' if promote_after else ""
        file.write(f'\n[release]\nchannel = "canary"\n{after}')


def kernel_of(press: Press, release: Release) -> Path:
    return press.tree.path / "releases" / release.id / "kernel"


def alter(path: Path) -> None:
    """Other bytes of the same length under the same name; what was linked to it stays."""
    text = path.read_bytes()
    path.unlink()
    path.write_bytes(text[:-1] + bytes([text[-1] ^ 1]))


def test_publishing_moves_stable_and_the_serial_only_grows(press: Press) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    assert named(press) == two.id
    press.desk().rollback("vm", who="ann", why="it smells")
    said = press.channels().get("vm", STABLE)
    assert said is not None
    assert (said.release, said.serial) == (one.id, 3)
    moves = press.desk().history("vm", STABLE)
    assert [(m.serial, m.kind, m.release_before, m.release, m.who) for m in moves] == [
        (3, "rollback", two.id, one.id, "ann"),
        (2, "publish", one.id, two.id, "farm"),
        (1, "publish", None, one.id, "farm"),
    ]
    assert moves[0].why == "it smells"


def test_the_same_release_again_moves_nothing(press: Press) -> None:
    one = press.published(b"1")
    assert press.desk().publish(one).moved == ()
    assert len(press.desk().history("vm")) == 1


def test_what_was_rolled_back_does_not_come_back_by_itself_but_something_newer_does(press: Press) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    press.desk().rollback("vm", who="ann")
    again = press.desk().publish(two)
    assert again.moved == ()
    assert "was rolled back by ann" in again.held[0]
    assert named(press) == one.id
    three = press.published(b"3")
    assert named(press) == three.id


def test_rolling_back_again_goes_further_back_and_ends_with_a_sentence(press: Press) -> None:
    one, two, _ = press.published(b"1"), press.published(b"2"), press.published(b"3")
    press.desk().rollback("vm", who="ann")
    assert named(press) == two.id
    press.desk().rollback("vm", who="ann")
    assert named(press) == one.id
    with pytest.raises(Problem, match="named no release before"):
        press.desk().rollback("vm", who="ann")
    press.desk().rollback("vm", two.id, who="ann")
    assert named(press) == two.id


def test_a_pinned_channel_stays_and_says_so(press: Press) -> None:
    one = press.published(b"1")
    press.desk().pin("vm", one.id, who="ann", why="the audit")
    press.clock.now += HOUR
    two = press.release(b"2")
    done = press.desk().publish(two)
    assert done.moved == ()
    assert f"pinned to {one.id}" in done.held[0]
    with pytest.raises(Problem, match=r"is pinned to .*: the audit"):
        press.desk().promote("vm", two.id, who="bob")
    assert named(press) == one.id
    assert [listed.pins for listed in press.desk().releases("vm")] == [(), (STABLE,)]
    press.desk().unpin("vm", who="ann")
    assert press.desk().publish(two).moved == (STABLE,)


def test_pinning_moves_the_channel_first(press: Press) -> None:
    one, _ = press.published(b"1"), press.published(b"2")
    press.desk().pin("vm", one.id, who="ann")
    assert named(press) == one.id


def test_new_releases_go_to_canary_and_a_person_promotes_them(press: Press) -> None:
    canary_first(press)
    one = press.published(b"1")
    assert (named(press), named(press, CANARY)) == (None, one.id)
    press.desk().promote("vm", who="ann")
    two = press.published(b"2")
    assert (named(press), named(press, CANARY)) == (one.id, two.id)
    assert press.desk().promote_due() == []


def test_a_release_is_promoted_after_its_time_on_canary(press: Press) -> None:
    canary_first(press, "24 h")
    one = press.published(b"1")
    press.clock.now += 23 * HOUR
    assert press.desk().promote_due() == []
    press.clock.now += HOUR
    assert [done.release for done in press.desk().promote_due()] == [one]
    assert named(press) == one.id
    assert press.desk().history("vm", STABLE)[0].why == "24 h on canary"
    assert press.desk().promote_due() == []


def test_a_machine_that_failed_with_a_canary_release_stops_its_promotion(press: Press) -> None:
    canary_first(press, "24 h")
    one = press.published(b"1")
    press.store().machines.add(
        Machine(MAC, MachineState.FAILED, profile="vm", release=one.id, channel=CANARY)
    )
    press.clock.now += 25 * HOUR
    assert press.desk().promote_due() == []
    assert named(press) is None


def test_a_rollout_on_canary_that_was_stopped_stops_its_promotion_until_a_person_says_so(
    press: Press,
) -> None:
    canary_first(press, "24 h")
    one = press.published(b"1")
    stopped = Rollout("vm", CANARY, one.id, 1, RolloutState.STOPPED, press.clock.now, why="no sshd")
    press.store().rollouts.put(stopped)
    press.clock.now += 25 * HOUR
    assert press.desk().promote_due() == []
    press.store().rollouts.put(go_on(stopped, who="cli ann", why="", now=press.clock.now))
    assert [done.release for done in press.desk().promote_due()] == [one]


def test_a_clock_that_goes_back_promotes_nothing_and_the_serial_grows_all_the_same(press: Press) -> None:
    canary_first(press, "24 h")
    press.published(b"1")
    press.clock.now -= 1000 * HOUR
    assert press.desk().promote_due() == []
    press.desk().promote("vm", who="ann")
    press.clock.now -= 1000 * HOUR
    two = press.release(b"2")
    press.desk().publish(two)
    said = press.channels().get("vm", CANARY)
    assert said is not None
    assert (said.release, said.serial) == (two.id, 2)


def test_a_canary_that_is_not_used_any_more_follows_stable(press: Press) -> None:
    text = (press.site / "profiles/vm/profile.toml").read_text()
    canary_first(press)
    press.published(b"1")
    (press.site / "profiles/vm/profile.toml").write_text(text)
    two = press.published(b"2")
    assert (named(press), named(press, CANARY)) == (two.id, two.id)


def test_a_release_with_an_altered_byte_is_not_moved_to(press: Press) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    alter(kernel_of(press, one))
    with pytest.raises(Problem, match="kernel has other bytes than its manifest says"):
        press.desk().rollback("vm", who="ann")
    assert named(press) == two.id


def test_a_package_with_an_altered_byte_is_found_before_the_channel_moves(press: Press) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    (item,) = [origin.sha256 for origin in origins_of((press.package("app-misc/a-1", b"1"),), "built", "vm")]
    alter(press.pool().file(item))
    with pytest.raises(Problem, match="package app-misc/a-1-1 has other bytes"):
        press.desk().rollback("vm", one.id, who="ann")
    assert named(press) == two.id


@pytest.mark.parametrize("name", ["manifest", "manifest.sig"])
def test_a_tampered_manifest_is_reported_at_the_start_and_the_release_is_not_served(
    press: Press, name: str
) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    alter(press.tree.path / "releases" / one.id / name)
    found = press.desk().start(deep=False)
    assert len(found) == 1
    assert found[0].startswith(f"release {one.id} does not verify and is not served: its manifest cannot")
    assert press.store().releases.fault(one.id)
    with pytest.raises(Problem, match="named no release before"):
        press.desk().rollback("vm", who="ann")
    with pytest.raises(Problem, match="does not verify"):
        press.desk().rollback("vm", one.id, who="ann")
    assert named(press) == two.id


def test_the_manifest_of_another_release_is_not_enough(press: Press) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    for name in ("manifest", "manifest.sig"):
        here, there = (press.tree.path / "releases" / release.id / name for release in (one, two))
        here.unlink()
        here.write_bytes(there.read_bytes())
    assert f"that of release {two.id}" in press.desk().start(deep=False)[0]


def test_a_file_nobody_signed_makes_a_release_bad_and_taking_it_away_makes_it_good(press: Press) -> None:
    one = press.published(b"1")
    stranger = press.tree.path / "releases" / one.id / "stranger"
    stranger.touch()
    assert "holds stranger" in press.desk().start(deep=True)[0]
    stranger.unlink()
    assert press.desk().start(deep=True) == []
    assert press.store().releases.fault(one.id) == ""


def test_a_lost_channel_is_restored_with_a_greater_serial(press: Press) -> None:
    one = press.published(b"1")
    file = press.tree.path / "channels/vm/stable"
    file.unlink()
    assert "names" in press.desk().start(deep=False)[0]
    said = press.channels().get("vm", STABLE)
    assert said is not None
    assert (said.release, said.serial) == (one.id, 2)


def test_a_channel_somebody_else_signed_is_replaced_by_what_the_history_knows(press: Press) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    other = replace(press, notary=FakeNotary("another key"))
    said = Statement("vm", STABLE, one.id, 99, "2026-01-01T00:00:00Z")
    signed = other.notary.clearsign(statement.write(said))
    (press.tree.path / "channels/vm/stable").write_bytes(signed)
    assert named(press) is None
    press.desk().start(deep=False)
    assert named(press) == two.id


def test_a_move_that_was_killed_before_its_rename_never_happened_and_its_serial_is_not_used_again(
    press: Press,
) -> None:
    one, two = press.published(b"1"), press.published(b"2")
    move = replace(
        press.desk().history("vm")[0], serial=3, release_before=two.id, release=one.id, state="begun"
    )
    press.store().releases.begin_move(move)
    press.desk().start(deep=False)
    assert [m.state for m in press.desk().history("vm")] == ["abandoned", "done", "done"]
    press.desk().rollback("vm", who="ann")
    said = press.channels().get("vm", STABLE)
    assert said is not None
    assert said.serial == 4


def test_a_move_whose_row_was_lost_is_found_again(press: Press) -> None:
    press.published(b"1")
    two = press.published(b"2")
    press.store().database.execute("DELETE FROM channel_move WHERE serial = 2")
    press.desk().start(deep=False)
    newest = press.desk().history("vm")[0]
    assert (newest.serial, newest.kind, newest.release) == (2, "found", two.id)


def test_a_store_from_before_channels_were_files_becomes_one_with_files(press: Press) -> None:
    one = press.published(b"1")
    shutil.rmtree(press.tree.path / "channels")
    press.desk().start(deep=False)
    assert named(press) == one.id


def test_it_is_known_who_built_a_package_first(press: Press) -> None:
    package = press.package("app-misc/a-1", b"1")
    first = press.seal(press.content((package,), profile="other"))
    press.desk().publish(first, origins=[Origin(package.sha256, package.cpv, "built", "other")])
    second = press.seal(press.content((package,)))
    press.desk().publish(second, origins=[Origin(package.sha256, package.cpv, "reused", "")])
    assert press.desk().origins(second.id) == [Origin(package.sha256, package.cpv, "reused", "other")]
    (shown,) = press.desk().releases("vm")
    assert (shown.built, shown.reused, shown.channels) == (0, 1, (STABLE,))


def test_a_list_says_which_release_needs_a_reboot_and_where_it_is_installed(press: Press) -> None:
    press.published(b"1")
    press.clock.now += HOUR
    two = press.release(b"1", kernel=b"another")
    press.desk().publish(two)
    press.store().machines.add(Machine(MAC, MachineState.INSTALLED, profile="vm", release=two.id))
    newest, oldest = press.desk().releases("vm")
    assert (newest.reboot, oldest.reboot) == (True, False)
    assert newest.machines == (MAC,)


def test_a_difference_names_packages_files_world_kernel_and_snapshot(press: Press) -> None:
    hello = press.package("app-misc/hello-1", b"1")
    old = press.content(
        (hello, press.package("app-misc/gone-1", b"2")),
        configuration={"etc/portage/make.conf": b"a", "var/lib/portage/world": b"app-misc/gone\n"},
    )
    one = press.seal(old)
    new = press.content(
        (press.package("app-misc/hello-1.1", b"3", build_id=2), press.package("app-misc/new-3-r1", b"4")),
        kernel=b"another",
        tree=b"another",
        configuration={
            "etc/portage/make.conf": b"b",
            "etc/portage/package.use/x": b"",
            "var/lib/portage/world": b"",
        },
    )
    two = press.seal(new)
    for release in (one, two):
        press.desk().publish(release)
    found = press.desk().diff(one.id, two.id)
    assert found.reboot
    text = "\n".join(found.lines())
    for line in (
        "+ app-misc/new 3-r1 (build 1)",
        "- app-misc/gone 1 (build 1)",
        "~ app-misc/hello 1 (build 1) -> 1.1 (build 2)",
        "world -app-misc/gone",
        "portage ~etc/portage/make.conf",
        "portage +etc/portage/package.use/x",
        "tree-gentoo.sqfs is another one",
        "kernel is another one: reboot needed",
        f"snapshot {one.snapshot} -> {two.snapshot}",
    ):
        assert line in text
    same = press.desk().diff(one.id, one.id)
    assert (same.added, same.removed, same.changed, same.reboot, same.files) == ((), (), (), False, ())


def test_a_release_of_another_profile_is_no_target(press: Press) -> None:
    press.published(b"1")
    other = press.seal(press.content((), profile="other"))
    press.desk().publish(other)
    with pytest.raises(Problem, match="of profile other, not of vm"):
        press.desk().rollback("vm", other.id, who="ann")
    with pytest.raises(Problem, match="there is no release"):
        press.desk().promote("vm", "20260101-00000000000a", who="ann")


def test_the_history_of_an_old_store_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "old.sqlite"
    store = Store(place)
    store.database.execute("DROP TABLE channel_move")
    store.database.execute("CREATE TABLE channel (profile TEXT, name TEXT, release TEXT, moved_at REAL)")
    store.database.execute("INSERT INTO channel VALUES ('vm', 'stable', '20260101-00000000000a', 5.0)")
    for step in channels.STEP[:3]:
        store.database.execute(step)
    (move,) = store.releases.moves("vm", STABLE)
    assert (move.release, move.serial, move.at, move.state) == ("20260101-00000000000a", 1, 5.0, "done")
