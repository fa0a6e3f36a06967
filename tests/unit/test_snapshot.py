"""Which trees are the same snapshot, and the image made of one."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.model import Repository
from appliance.run import run
from buildfarm import snapshot

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(TINY, tmp_path / "tiny")
    return tmp_path / "tiny"


def no_cache(copy: Path) -> None:
    """Leaves the copy as it is."""


def test_times_owners_and_umasks_do_not_matter(tree: Path) -> None:
    before = snapshot.tree_hash(tree)
    layout = tree / "metadata/layout.conf"
    layout.chmod(0o600)
    os.utime(layout, (1, 1))
    (tree / "metadata/md5-cache/app-misc").mkdir(parents=True)
    (tree / "metadata/md5-cache/app-misc/witness-1").write_text("derived")
    assert snapshot.tree_hash(tree) == before


@pytest.mark.parametrize("change", ["bytes", "name", "program", "new", "link"])
def test_every_other_change_matters(tree: Path, change: str) -> None:
    before = snapshot.tree_hash(tree)
    layout = tree / "metadata/layout.conf"
    match change:
        case "bytes":
            layout.write_text(layout.read_text() + " ")
        case "name":
            layout.rename(layout.with_name("layout"))
        case "program":
            layout.chmod(0o755)
        case "new":
            layout.with_name("new").touch()
        case "link":
            layout.with_name("link").symlink_to("layout.conf")
    assert snapshot.tree_hash(tree) != before


def test_two_images_of_one_tree_are_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    images = []
    for name in ("one", "two"):
        room = tmp_path / name
        room.mkdir()
        taken = snapshot.take(Repository("tiny", tree), room, regenerate=no_cache)
        images.append(taken.image.read_bytes())
        for path in tree.rglob("*"):
            os.utime(path, (5, 5))
    assert images[0] == images[1]


def test_an_image_is_made_once_per_revision(tree: Path, tmp_path: Path) -> None:
    calls: list[Path] = []
    first = snapshot.take(Repository("tiny", tree), tmp_path, regenerate=calls.append)
    second = snapshot.take(Repository("tiny", tree), tmp_path, regenerate=calls.append)
    assert first == second
    assert len(calls) == 1
    assert [path.name for path in tmp_path.glob("*.sqfs")] == [f"{first.revision}.sqfs"]


def test_a_clean_git_checkout_is_named_by_its_commit_and_a_changed_one_is_not(tree: Path) -> None:
    git = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        run([*git, *words])
    commit = run([*git, "rev-parse", "HEAD"]).stdout.strip()
    assert snapshot.git_revision(tree) == commit
    (tree / "new").touch()
    assert snapshot.git_revision(tree) is None


def test_a_cache_entry_of_other_bytes_is_stale(tree: Path) -> None:
    assert snapshot.stale_cache(tree)
    eclass = snapshot._md5(tree / "eclass/tiny.eclass")
    for ebuild in tree.glob("*/*/*.ebuild"):
        entry = tree / snapshot.CACHE / ebuild.parent.parent.name / ebuild.stem
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(f"EAPI=8\n_eclasses_=tiny\t{eclass}\n_md5_={snapshot._md5(ebuild)}\n")
    assert not snapshot.stale_cache(tree)
    (tree / "eclass/tiny.eclass").write_text("# other\n")
    assert snapshot.stale_cache(tree)


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="profiles/repo_name"):
        snapshot.take(Repository("x", tmp_path), tmp_path, regenerate=no_cache)
