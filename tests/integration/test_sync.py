"""Repositories from real servers: what is taken, what is refused, and what a failure leaves."""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.overlays import HOME
from appliance.run import run
from appliance.site_model import SyncKind
from buildfarm.sync import synchronise
from tests.crash import killed
from tests.integration.mirrors import Keys, Mirror, make_mirror, repository
from tests.integration.syncyard import DAY, NOW, Yard, change, listing

REMOTE = [SyncKind.GIT, SyncKind.RSYNC, SyncKind.SNAPSHOT, SyncKind.SQUASHFS]


@pytest.fixture(params=REMOTE, ids=lambda kind: kind.value)
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mirror]:
    made = make_mirror(request.param, tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def yard(mirror: Mirror, tmp_path: Path) -> Yard:
    (tmp_path / "state").mkdir()
    return Yard(tmp_path / "state", repository(mirror))


@pytest.fixture
def signed(yard: Yard, mirror_keys: tuple[Keys, Keys]) -> Yard:
    yard.repository = replace(yard.repository, keyring=mirror_keys[0].keyring)
    return yard


def test_a_source_becomes_a_snapshot_and_only_a_change_another(mirror: Mirror, yard: Yard) -> None:
    mirror.release(at=NOW)
    first = yard.sync()
    assert "app-misc/witness/witness-1.ebuild" in listing(first)
    assert first.image.name.startswith(first.revision)
    before = first.image.stat().st_mtime_ns
    assert yard.sync() == first
    assert first.image.stat().st_mtime_ns == before
    change(mirror)
    (mirror.tree / "app-misc/slow/slow-1.ebuild").unlink()
    mirror.release(at=NOW + 60)
    second = yard.sync()
    assert second.revision != first.revision
    assert "README" in listing(second)
    assert "app-misc/slow/slow-1.ebuild" not in listing(second)
    assert first.image.exists()


def test_what_the_keyring_signed_is_taken_and_nothing_else(
    mirror: Mirror, signed: Yard, mirror_keys: tuple[Keys, Keys]
) -> None:
    own, stranger = mirror_keys
    mirror.release(own, at=NOW)
    first = signed.sync()
    for number, signer in enumerate((None, stranger), 1):
        change(mirror, f"bad {number}")
        mirror.release(signer, at=NOW + number * DAY)
        assert "tiny was not synchronised" in signed.refused(force=True)
    change(mirror, "good again")
    mirror.release(own, at=NOW + 3 * DAY)
    assert signed.sync().revision != first.revision


def test_a_server_that_is_away_changes_nothing(mirror: Mirror, yard: Yard) -> None:
    mirror.release(at=NOW)
    first = yard.sync()
    mirror.stop()
    assert "tiny was not synchronised" in yard.refused()
    mirror.start()
    assert yard.sync() == first


def test_a_tree_of_another_name_or_none_is_refused_even_when_forced(mirror: Mirror, yard: Yard) -> None:
    mirror.release(at=NOW)
    first = yard.sync()
    name = mirror.tree / "profiles/repo_name"
    name.write_text("other\n")
    mirror.release(at=NOW + DAY)
    with pytest.raises(Problem, match="it is other"):
        yard.sync(force=True)
    name.unlink()
    mirror.release(at=NOW + 2 * DAY)
    with pytest.raises(Problem, match="has no profiles/repo_name"):
        yard.sync(force=True)
    name.write_text("tiny\n")
    change(mirror)
    mirror.release(at=NOW + 3 * DAY)
    assert yard.sync().revision != first.revision


def test_a_tree_that_lost_nearly_all_ebuilds_is_taken_only_when_forced(mirror: Mirror, yard: Yard) -> None:
    for number in range(300):
        (mirror.tree / f"app-misc/slow/slow-{number + 2}.ebuild").write_text("EAPI=8\n")
    mirror.release(at=NOW)
    yard.sync()
    for ebuild in mirror.tree.glob("app-misc/*/*.ebuild"):
        ebuild.unlink()
    mirror.release(at=NOW + DAY)
    assert "distserver sync tiny --force" in yard.refused()
    assert "app-misc/slow/slow-9.ebuild" not in listing(yard.sync(force=True))


def test_an_older_tree_is_taken_only_when_forced(mirror: Mirror, yard: Yard) -> None:
    mirror.release(at=NOW)
    first = yard.sync()
    change(mirror)
    mirror.release(at=NOW - DAY)
    assert "distserver sync tiny --force" in yard.refused()
    assert yard.sync(force=True).revision != first.revision
    # From somewhere else, age says nothing.
    yard.state = replace(yard.state, source="elsewhere")
    mirror.release(at=NOW - 9 * DAY)
    yard.sync()


def test_a_kill_while_the_snapshot_is_made_leaves_nothing_half_done(mirror: Mirror, yard: Yard) -> None:
    mirror.release(at=NOW)
    reached = yard.path / "reached"

    def wait_for_the_end(name: str, tree: Path, masters: Sequence[Snapshot]) -> None:
        reached.touch()
        signal.pause()

    child = os.fork()
    if child == 0:
        try:
            synchronise(replace(yard.asked(), regenerate=wait_for_the_end))
        finally:
            os._exit(1)
    try:
        wait_until(lambda: reached.exists() or None, seconds=60, what="the cache is being made")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    snapshots = yard.path / "snapshots"
    assert list(snapshots.glob("*.sqfs")) == []
    assert len(list(snapshots.glob(".snapshot-*"))) == 1
    assert yard.sync().image.exists()
    assert list(snapshots.glob(".snapshot-*")) == []


@pytest.mark.parametrize("mirror", [SyncKind.GIT, SyncKind.SNAPSHOT], indirect=True, ids=["git", "snapshot"])
def test_a_kill_before_any_change_of_the_state_keeps_the_old_snapshot(mirror: Mirror, yard: Yard) -> None:
    mirror.release(at=NOW)
    first = yard.sync()
    for number in (*range(22), 40):
        change(mirror, f"change {number}")
        mirror.release(at=NOW + number)
        died = killed(yard.path, number, yard.sync)
        assert "app-misc/witness/witness-1.ebuild" in listing(first)
        second = yard.sync()
        assert second.revision != first.revision
        assert "README" in listing(second)
        assert list(yard.path.glob("snapshots/.snapshot-*")) == []
        first = second
        if not died:
            break
    assert number > 8


def test_a_full_disk_keeps_the_old_snapshot_and_the_next_synchronisation_goes_on(tmp_path: Path) -> None:
    """On a small file system of its own."""
    script = HOME / "tests" / "integration" / "full_sync.py"
    private = ["unshare", "--mount", "--propagation=private"]
    env = {"PYTHONPATH": str(HOME)}
    said = run([sys.executable, script, tmp_path], prefix=private, env=env).stdout.splitlines()
    assert said[-1] == "held"
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
