"""A publication that is killed before any change of the disk, or finds the disk full, shows nothing half."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.farm_model import Release
from appliance.model import Tree
from appliance.overlays import HOME, example_site
from appliance.run import run
from appliance.statement import RELEASE_ID
from buildfarm.inspection import Inspector
from buildfarm.pool import Pool, sums
from buildfarm.release import Content
from tests.crash import killed
from tests.fake_notary import FakeNotary
from tests.press import HOUR, Press

WITNESS = HOME / "tests/data/portage/witness-1-1.gpkg.tar"


@pytest.fixture
def press(tmp_path: Path) -> Press:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    file = site / "appliance.toml"
    file.write_text(file.read_text().replace("keep = 5", "keep = 2").replace('"14 d"', '"1 d"'))
    return Press(Tree(tmp_path / "state"), site, FakeNotary())


def stable(press: Press) -> str:
    said = press.channels().get("vm", "stable")
    assert said is not None
    return said.release


def check_shelf(press: Press) -> None:
    """Whatever has the name of a release is one, byte for byte."""
    inspector = Inspector(press.pool(), press.notary)
    for place in press.tree.room("releases").iterdir():
        if RELEASE_ID.fullmatch(place.name):
            assert inspector.reasons(place) == []


def killed_everywhere(press: Press, work: Callable[[], object], check: Callable[[], None]) -> int:
    """Kill `work` before each of its changes in turn, `check` after each; how often it died."""
    number = 0
    while killed(press.tree.path, number, work):
        check()
        number += 1
    return number


def new_content(press: Press, number: int) -> Content:
    press.clock.now += HOUR
    return press.content((press.package("app-misc/a-1", f"content {number}".encode()),))


def publish(press: Press, content: Content) -> Release:
    sealed = press.seal(content)
    press.desk().publish(sealed)
    return sealed


def test_a_publication_that_is_killed_shows_the_old_release_or_the_new_one_and_the_next_goes_on(
    press: Press,
) -> None:
    before = publish(press, new_content(press, -1)).id
    number, serial = 0, 1
    while True:
        content = new_content(press, number)
        died = killed(press.tree.path, number, lambda made=content: publish(press, made))  # type: ignore[misc]
        check_shelf(press)
        now = stable(press)
        press.desk().start(deep=False)
        assert stable(press) == now
        after = publish(press, content)
        assert now in (before, after.id)
        assert stable(press) == after.id
        assert not (press.tree.room("releases") / f"{after.id}.partial").exists()
        said = press.channels().get("vm", "stable")
        assert said is not None
        assert said.serial > serial
        newest = press.desk().history("vm", "stable")[0]
        assert (newest.serial, newest.release, newest.state) == (said.serial, after.id, "done")
        before, serial, number = after.id, said.serial, number + 1
        if not died:
            break
    assert number > 30


def test_a_rollback_that_is_killed_shows_one_of_the_two(press: Press) -> None:
    one, two = (publish(press, new_content(press, number)) for number in range(2))

    def back() -> object:
        return press.desk().rollback("vm", one.id, who="ann")

    def forth() -> None:
        assert stable(press) in (one.id, two.id)
        check_shelf(press)
        if stable(press) == one.id:
            press.desk().rollback("vm", two.id, who="ann")

    assert killed_everywhere(press, back, forth) > 3
    assert stable(press) == one.id


def test_a_killed_gc_removes_nothing_that_is_named_and_the_next_one_all_the_rest(press: Press) -> None:
    for number in range(5):
        press.clock.now += 72 * HOUR
        publish(press, new_content(press, number))
    newest = stable(press)

    def check() -> None:
        inspector = Inspector(press.pool(), press.notary)
        assert inspector.reasons(press.tree.room("releases") / newest) == []
        press.desk().rollback("vm", who="ann")
        press.desk().rollback("vm", newest, who="ann")

    died = killed_everywhere(press, lambda: press.desk().collect(dry_run=False), check)
    assert died > 20
    assert len(list(press.tree.room("releases").iterdir())) == 2
    assert len(list(press.pool().path.glob("*/*.gpkg.tar"))) == 2


def test_a_package_that_was_being_taken_in_is_there_whole_or_not_at_all(press: Press, tmp_path: Path) -> None:
    built = tmp_path / "built.gpkg.tar"
    shutil.copyfile(WITNESS, built)
    sha256 = sums(WITNESS).sha256
    pool = press.pool()

    def check() -> None:
        assert built.read_bytes() == WITNESS.read_bytes()
        for path in pool.path.glob("*/*.gpkg.tar"):
            if not path.name.startswith("."):
                assert sums(path).sha256 == sha256 == path.name.removesuffix(".gpkg.tar")
                path.unlink()

    assert killed_everywhere(press, lambda: Pool(pool.path).add(built), check) >= 3
    assert pool.holds(sha256)


def test_a_full_disk_publishes_nothing_loses_nothing_and_the_next_attempt_goes_on(tmp_path: Path) -> None:
    """On a small file system of its own, with more room at each attempt."""
    script = HOME / "tests" / "integration" / "small_disk.py"
    private = ["unshare", "--mount", "--propagation=private"]
    env = {"PYTHONPATH": str(HOME)}
    said = run([sys.executable, script, tmp_path], prefix=private, env=env).stdout.splitlines()
    assert [line.partition(":")[0] for line in said] == ["pool", "release", "channel"]
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
