"""Which snapshots are current, what is due, and what a build takes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.desks.sync import SyncDesk
from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.site_model import StageSource
from appliance.store import Store
from buildfarm.stage import Stage
from buildfarm.survey import CACHE, md5, survey
from tests.clock import Clock

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"
TOML = """
name = "test"
[[repository]]
name = "tiny"
location = "../tiny"
[[repository]]
name = "over"
location = "../over"
"""
DAY = 24 * 3600.0


def write_cache(tree: Path, eclasses: dict[str, str]) -> None:
    used = "\t".join(word for pair in eclasses.items() for word in pair)
    for ebuild in tree.glob("*/*/*.ebuild"):
        entry = tree / CACHE / ebuild.parent.parent.name / ebuild.stem
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(f"EAPI=8\n_eclasses_={used}\n_md5_={md5(ebuild)}\n")


def prepared(desk: SyncDesk, say: Callable[[str], None] = print) -> tuple[Snapshot, ...]:
    desk.prepare(say)
    return desk.snapshots(desk.live.now())


def no_stage(source: StageSource, tree: Tree, say: object) -> Stage:
    raise Problem("no cache can be made here")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with two local repositories that bring their metadata caches."""
    tiny = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    over = tmp_path / "over"
    shutil.copytree(tiny / "app-misc/witness", over / "app-misc/witness")
    for name, text in {"profiles/repo_name": "over\n", "metadata/layout.conf": "masters = tiny\n"}.items():
        (over / name).parent.mkdir()
        (over / name).write_text(text)
    for tree in (tiny, over):
        write_cache(tree, dict(survey(tiny).eclasses))
    place = Path(shutil.copytree(example_site(), tmp_path / "site"))
    (place / "appliance.toml").write_text(TOML)
    return place


@pytest.fixture
def desk(site: Path, tmp_path: Path, clock: Clock) -> SyncDesk:
    tree = Tree(tmp_path / "state")
    return SyncDesk(LiveSite(site), tree, Store(tree.store), clock, no_stage)


def test_a_snapshot_that_is_another_one_is_in_the_audit_log_once(desk: SyncDesk) -> None:
    for _ in range(2):
        desk.sync()
    notes = desk.store.audit.page(action="sync")
    assert sorted(note.subject for note in notes) == ["over", "tiny"]


def test_all_are_due_once_and_then_none(desk: SyncDesk) -> None:
    assert desk.due() == ["tiny", "over"]
    assert [(one.repository, one.changed, one.problem) for one in desk.sync_due()] == [
        ("tiny", True, ""),
        ("over", True, ""),
    ]
    assert desk.due() == []
    assert desk.sync_due() == []
    snapshots = desk.snapshots(desk.live.now())
    assert [one.repository for one in snapshots] == ["tiny", "over"]
    assert all(one.image.exists() for one in snapshots)


def test_a_changed_local_file_makes_due_and_another_snapshot(desk: SyncDesk, tmp_path: Path) -> None:
    first = prepared(desk)
    before = desk.revisions(desk.live.now())
    (tmp_path / "tiny/README").write_text("new")
    assert desk.due() == ["tiny"]
    # Nobody synchronised: the revision a build would be decided by is still the old one.
    assert desk.revisions(desk.live.now()) == before
    second = prepared(desk)
    assert second[0].revision != first[0].revision
    assert second[1] == first[1]
    assert desk.revisions(desk.live.now()) != before


def test_a_failure_keeps_the_snapshot_is_remembered_and_forgotten(
    desk: SyncDesk, tmp_path: Path, clock: Clock
) -> None:
    first = prepared(desk)
    (tmp_path / "tiny/profiles/repo_name").write_text("other\n")
    said: list[str] = []
    assert prepared(desk, said.append) == first
    assert any("it is other" in text for text in said)
    states = {one.name: state for one, state in desk.states()}
    assert states["tiny"] is not None
    assert "it is other" in states["tiny"].problem
    assert states["tiny"].revision == first[0].revision
    (tmp_path / "tiny/profiles/repo_name").write_text("tiny\n")
    assert prepared(desk, print) == first
    states = {one.name: state for one, state in desk.states()}
    assert states["tiny"] is not None
    assert states["tiny"].problem == ""


def test_a_repository_without_any_snapshot_stops_the_build(desk: SyncDesk, tmp_path: Path) -> None:
    (tmp_path / "over/profiles/repo_name").write_text("other\n")
    with pytest.raises(Problem) as caught:
        prepared(desk)
    assert "repository over has no snapshot: " in caught.value.message
    assert caught.value.hint == "distserver sync over"


def test_an_overlay_named_before_its_master_is_made_after_it(desk: SyncDesk, site: Path) -> None:
    toml = (site / "appliance.toml").read_text()
    over = toml[toml.index('[[repository]]\nname = "over"') :]
    (site / "appliance.toml").write_text(
        f'name = "test"\n{over}[[repository]]\nname = "tiny"\nlocation = "../tiny"\n'
    )
    assert [one.problem for one in desk.sync()] == ["", ""]


def test_an_overlay_follows_its_masters_eclasses(desk: SyncDesk, tmp_path: Path) -> None:
    first = prepared(desk)
    (tmp_path / "tiny/eclass/tiny.eclass").write_text("# other\n")
    write_cache(tmp_path / "tiny", dict(survey(tmp_path / "tiny").eclasses))
    said: list[str] = []
    desk.sync(["tiny"], say=said.append)
    # Its cache would have to be made again, which cannot be done here: it stays usable as it is.
    assert any("over keeps its metadata cache: no cache can be made here" in text for text in said)
    assert desk.snapshots(desk.live.now())[1] == first[1]


def test_an_unknown_repository_is_named_with_the_nearest(desk: SyncDesk) -> None:
    with pytest.raises(Problem) as caught:
        desk.sync(["tiyn"])
    assert "did you mean tiny?" in caught.value.hint


def test_a_lost_image_is_made_again(desk: SyncDesk) -> None:
    first = prepared(desk)
    first[0].image.unlink()
    assert desk.due() == ["tiny"]
    assert prepared(desk, print) == first
    assert first[0].image.exists()


def test_a_hundred_unchanged_profiles_are_seen_without_reading_a_repository(
    site: Path, tmp_path: Path, clock: Clock
) -> None:
    profiles = site / "profiles"
    for number in range(100):
        shutil.copytree(profiles / "vm", profiles / f"vm{number}")
    services = Services(site, Tree(tmp_path / "state"), clock)
    services.sync.take_stage = no_stage
    services.sync.prepare(print)
    for profile in services.profiles():
        job = services.store.jobs.start("build", profile.name, now=1.0, inputs=services.inputs(profile))
        services.store.jobs.end(job, "done", now=1.0)
    # Not even there any more: what counts is the snapshot.
    (tmp_path / "tiny").rename(tmp_path / "away")
    assert services.due() == []
