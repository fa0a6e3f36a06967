"""Repositories from git: commits, branches and tags, and what a killed git leaves."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.run import run
from appliance.site_model import SyncKind
from tests.integration.mirrors import GitMirror, Keys, make_mirror, repository
from tests.integration.syncyard import DAY, NOW, Yard, change, listing


@pytest.fixture
def git(tmp_path: Path) -> Iterator[GitMirror]:
    made = make_mirror(SyncKind.GIT, tmp_path)
    assert isinstance(made, GitMirror)
    made.start()
    made.release(at=NOW)
    yield made
    made.stop()


@pytest.fixture
def git_yard(git: GitMirror, tmp_path: Path) -> Yard:
    (tmp_path / "state").mkdir()
    return Yard(tmp_path / "state", repository(git))


def test_the_revision_is_the_commit_and_the_copy_is_shallow(git: GitMirror, git_yard: Yard) -> None:
    git.release(at=NOW)
    assert git_yard.sync().revision == git.git("rev-parse", "HEAD")
    clone = git_yard.path / "repositories/tiny/git"
    assert run(["git", f"--git-dir={clone}", "rev-list", "--count", "refs/sync/new"]).stdout.strip() == "1"


def test_a_branch_and_a_signed_tag_are_names_of_a_state(
    git: GitMirror, git_yard: Yard, mirror_keys: tuple[Keys, Keys]
) -> None:
    wanted = git.git("rev-parse", "HEAD")
    git.git("branch", "stable")
    git.git("tag", f"--local-user={mirror_keys[0].name}", "-m", "tagged", "v1", env=mirror_keys[0].env)
    git.git("push", "--quiet", "origin", "stable", "v1")
    change(git)
    git.release(at=NOW + DAY)
    git_yard.repository = replace(git_yard.repository, branch="stable")
    assert git_yard.sync().revision == wanted
    git_yard.repository = replace(git_yard.repository, branch="v1", keyring=mirror_keys[0].keyring)
    assert git_yard.sync().revision == wanted
    git_yard.repository = replace(git_yard.repository, keyring=mirror_keys[1].keyring)
    assert "not in the keyring" in git_yard.refused()


def test_locks_of_a_killed_git_are_not_in_the_way(git: GitMirror, git_yard: Yard) -> None:
    first = git_yard.sync()
    clone = git_yard.path / "repositories/tiny/git"
    for name in ("shallow.lock", "refs/sync/new.lock", "packed-refs.lock"):
        (clone / name).touch()
    change(git)
    git.release(at=NOW + DAY)
    assert git_yard.sync().revision != first.revision


def test_what_a_killed_check_out_left_is_put_right(git: GitMirror, git_yard: Yard) -> None:
    first = git_yard.sync()
    tree = git_yard.path / "repositories/tiny/tree"
    (tree / "app-misc/witness/witness-9.ebuild").write_text("of a commit that never became a snapshot")
    (tree / "profiles/arch.list").write_text("half")
    (tree.parent / "index.lock").touch()
    change(git)
    git.release(at=NOW + DAY)
    second = git_yard.sync()
    assert "app-misc/witness/witness-9.ebuild" not in listing(second)
    cat = ["unsquashfs", "-cat"]
    before, after = (run([*cat, one.image, "profiles/arch.list"]).stdout for one in (first, second))
    assert before == after


def test_a_damaged_copy_is_fetched_afresh(git: GitMirror, git_yard: Yard) -> None:
    git_yard.sync()
    clone = git_yard.path / "repositories/tiny/git"
    for place in [*clone.glob("objects/pack/*"), *(p for p in clone.glob("objects/??/*"))]:
        place.chmod(0o644)
        place.write_bytes(b"damaged")
    change(git)
    git.release(at=NOW + DAY)
    assert git_yard.sync().revision == git.git("rev-parse", "HEAD")
    assert any("afresh" in said for said in git_yard.said)
