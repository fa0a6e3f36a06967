"""Which trees are the same snapshot, and the image made of one."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from appliance.site_model import Repository
from buildfarm import snapshot
from buildfarm.snapshot import Snapshot
from buildfarm.survey import CACHE, md5, survey

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(TINY, tmp_path / "tiny")
    return tmp_path / "tiny"


def no_cache(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
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

    def note(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
        calls.append(copy)

    first = snapshot.take(Repository("tiny", tree), tmp_path, regenerate=note)
    second = snapshot.take(Repository("tiny", tree), tmp_path, regenerate=note)
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


def write_cache(tree: Path, eclasses: Mapping[str, str]) -> None:
    """What egencache would write, as far as its checks go."""
    used = "\t".join(word for pair in eclasses.items() for word in pair)
    for ebuild in tree.glob("*/*/*.ebuild"):
        entry = tree / CACHE / ebuild.parent.parent.name / ebuild.stem
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(f"EAPI=8\n_eclasses_={used}\n_md5_={md5(ebuild)}\n")


def test_a_cache_entry_of_other_bytes_is_stale(tree: Path) -> None:
    eclasses = survey(tree).eclasses
    assert snapshot.stale_cache(tree, eclasses)
    write_cache(tree, eclasses)
    assert not snapshot.stale_cache(tree, eclasses)
    (tree / "eclass/tiny.eclass").write_text("# other\n")
    assert snapshot.stale_cache(tree, survey(tree).eclasses)


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="profiles/repo_name"):
        snapshot.take(Repository("x", tmp_path), tmp_path, regenerate=no_cache)


def overlay_of(main: Path, place: Path, masters: str = "tiny") -> Path:
    """A repository `over` with one ebuild."""
    shutil.copytree(main / "app-misc/witness", place / "app-misc/witness")
    for name, text in {
        "profiles/repo_name": "over\n",
        "metadata/layout.conf": f"masters = {masters}\n",
    }.items():
        (place / name).parent.mkdir()
        (place / name).write_text(text)
    return place


def test_an_overlay_is_made_after_its_master_and_again_when_its_eclasses_change(
    tree: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, list[str]]] = []

    def note(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
        seen.append((name, [master.repository for master in masters]))

    over = overlay_of(tree, tmp_path / "over")
    # Named before its master, it is still made after it; the order of the site stays.
    both = [Repository("over", over), Repository("tiny", tree)]
    first = snapshot.take_all(both, tmp_path, regenerate=note)
    assert [one.repository for one in first] == ["over", "tiny"]
    assert seen == [("tiny", []), ("over", ["tiny"])]
    (tree / "eclass/tiny.eclass").write_text("# other\n")
    second = snapshot.take_all(both, tmp_path, regenerate=note)
    assert second[0].revision == first[0].revision
    assert second[0].image != first[0].image
    assert first[0].image.exists()


def test_an_overlay_whose_cache_fits_its_masters_eclasses_is_not_stale(tree: Path, tmp_path: Path) -> None:
    over = overlay_of(tree, tmp_path / "over")
    write_cache(tree, survey(tree).eclasses)
    write_cache(over, survey(tree).eclasses)

    def never(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
        raise AssertionError(name)

    snapshot.take_all([Repository("tiny", tree), Repository("over", over)], tmp_path, regenerate=never)


@pytest.mark.parametrize("masters", ["nobody", "nobody tiny"])
def test_a_master_that_the_site_does_not_name_is_named(tree: Path, tmp_path: Path, masters: str) -> None:
    both = [Repository("tiny", tree), Repository("over", overlay_of(tree, tmp_path / "over", masters))]
    with pytest.raises(Problem, match="but nobody cannot be had"):
        snapshot.take_all(both, tmp_path, regenerate=no_cache)


def test_a_checkout_is_taken_as_committed_with_its_ignored_cache(tree: Path, tmp_path: Path) -> None:
    (tree / ".gitignore").write_text("/metadata/md5-cache\n")
    (tree / ".gitattributes").write_text("* export-ignore\n")
    git = ["git", "-C", str(tree), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        run([*git, *words])
    write_cache(tree, survey(tree).eclasses)

    def never(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
        raise AssertionError(name)

    taken = snapshot.take(Repository("tiny", tree), tmp_path, regenerate=never)
    listed = run(["unsquashfs", "-l", taken.image]).stdout
    assert "squashfs-root/metadata/md5-cache/app-misc/witness-1" in listed
    assert "squashfs-root/app-misc/witness/witness-1.ebuild" in listed
    assert "/.git/" not in listed


def test_the_cache_of_an_older_image_is_where_the_next_one_starts(tree: Path, tmp_path: Path) -> None:
    def fill(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
        write_cache(copy, survey(copy).eclasses)

    first = snapshot.take(Repository("tiny", tree), tmp_path, regenerate=fill)
    (tree / "README").write_text("new\n")
    started: list[bool] = []

    def look(name: str, copy: Path, masters: Sequence[Snapshot]) -> None:
        started.append((copy / CACHE / "app-misc/witness-1").is_file())

    (tree / "app-misc/witness/witness-2.ebuild").write_text("EAPI=8\n")
    snapshot.take(Repository("tiny", tree), tmp_path, regenerate=look, previous=first.image)
    assert started == [True]


def test_a_tree_that_says_another_name_is_refused(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="says in profiles/repo_name that it is tiny"):
        snapshot.take(Repository("gentoo", tree), tmp_path, regenerate=no_cache)
    assert list(tmp_path.glob("*.sqfs")) == []


def test_a_pipe_in_a_tree_is_refused_and_not_waited_for(tree: Path, tmp_path: Path) -> None:
    os.mkfifo(tree / "app-misc/pipe")
    with pytest.raises(Problem, match="neither a file"):
        snapshot.take(Repository("tiny", tree), tmp_path, regenerate=no_cache)


def test_a_link_out_of_the_tree_is_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("tiny")
    (tree / "profiles/repo_name").unlink()
    (tree / "profiles/repo_name").symlink_to(tmp_path / "secret")
    with pytest.raises(Problem, match="has no profiles/repo_name"):
        survey(tree)
