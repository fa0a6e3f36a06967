"""Repositories from real servers: what is taken, what is refused, and what a failure leaves."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.farm_model import RepositoryState, Snapshot
from appliance.overlays import HOME
from appliance.run import run
from appliance.site_model import Repository, SyncKind
from buildfarm.sync import Asked, synchronise
from tests.crash import killed
from tests.integration.mirrors import (
    GEMATO,
    ArchiveMirror,
    GitMirror,
    Keys,
    Mirror,
    make_keys,
    make_mirror,
    repository,
)

DAY = 24 * 3600.0
NOW = 1_795_000_000.0
REMOTE = [SyncKind.GIT, SyncKind.RSYNC, SyncKind.SNAPSHOT, SyncKind.SQUASHFS]


def no_cache(name: str, tree: Path, masters: Sequence[Snapshot]) -> None:
    """The tiny repository has no metadata cache; these tests need none."""


@dataclass
class Yard:
    """A state directory and what the store would remember of one repository."""

    path: Path
    repository: Repository
    state: RepositoryState = field(default_factory=lambda: RepositoryState("tiny"))
    said: list[str] = field(default_factory=list)

    def asked(self, *, force: bool = False) -> Asked:
        (self.path / "snapshots").mkdir(exist_ok=True)
        return Asked(
            repository=self.repository,
            state=self.state,
            work=self.path / "repositories/tiny",
            room=self.path / "snapshots",
            known=(),
            main="tiny",
            regenerate=no_cache,
            say=self.said.append,
            force=force,
        )

    def sync(self, *, force: bool = False) -> Snapshot:
        done = synchronise(self.asked(force=force))
        self.state = replace(
            self.state,
            source=self.repository.source,
            revision=done.snapshot.revision,
            image=done.snapshot.image.name,
            validator=done.validator,
        )
        return done.snapshot

    def refused(self, *, force: bool = False) -> str:
        """The Problem's text; the current snapshot and nothing else is there afterwards."""
        with pytest.raises(Problem) as caught:
            self.sync(force=force)
        assert sorted(path.name for path in self.path.glob("snapshots/.snap*")) == []
        if self.state.image:
            assert (self.path / "snapshots" / self.state.image).exists()
            assert f"the snapshot {self.state.revision[:12]} stays" in str(caught.value)
        assert caught.value.hint
        return str(caught.value)


def listing(snapshot: Snapshot) -> list[str]:
    lines = run(["unsquashfs", "-l", snapshot.image]).stdout.split()
    return [line.removeprefix("squashfs-root/") for line in lines]


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[Keys, Keys]]:
    """The mirror's key, and that of somebody else."""
    with make_keys("mirror") as own, make_keys("stranger") as other:
        yield own, other


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
def signed(yard: Yard, keys: tuple[Keys, Keys]) -> Yard:
    yard.repository = replace(yard.repository, keyring=keys[0].keyring)
    return yard


def change(mirror: Mirror, text: str = "new") -> None:
    (mirror.tree / "README").write_text(text)


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
    mirror: Mirror, signed: Yard, keys: tuple[Keys, Keys]
) -> None:
    own, stranger = keys
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


# git


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
    git: GitMirror, git_yard: Yard, keys: tuple[Keys, Keys]
) -> None:
    wanted = git.git("rev-parse", "HEAD")
    git.git("branch", "stable")
    git.git("tag", f"--local-user={keys[0].name}", "-m", "tagged", "v1", env=keys[0].env)
    git.git("push", "--quiet", "origin", "stable", "v1")
    change(git)
    git.release(at=NOW + DAY)
    git_yard.repository = replace(git_yard.repository, branch="stable")
    assert git_yard.sync().revision == wanted
    git_yard.repository = replace(git_yard.repository, branch="v1", keyring=keys[0].keyring)
    assert git_yard.sync().revision == wanted
    git_yard.repository = replace(git_yard.repository, keyring=keys[1].keyring)
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


# one file


@pytest.fixture(params=[SyncKind.SNAPSHOT, SyncKind.SQUASHFS], ids=lambda kind: kind.value)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveMirror]:
    made = make_mirror(request.param, tmp_path)
    assert isinstance(made, ArchiveMirror)
    # Bytes that do not shrink: half of a file is worth going on from.
    (made.tree / "noise").write_bytes(os.urandom(200_000))
    made.release(at=NOW)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def archive_yard(archive: ArchiveMirror, tmp_path: Path) -> Yard:
    (tmp_path / "state").mkdir()
    return Yard(tmp_path / "state", repository(archive))


def test_an_unchanged_file_is_not_sent_again(archive: ArchiveMirror, archive_yard: Yard) -> None:
    first = archive_yard.sync()
    assert archive.server
    archive.server.requests.clear()
    assert archive_yard.sync() == first
    ((path, headers),) = archive.server.requests
    assert path == f"/{archive.name}"
    assert headers["If-None-Match"]


def test_a_broken_download_is_refused_and_continued(archive: ArchiveMirror, archive_yard: Yard) -> None:
    assert archive.server
    archive.server.cut_after = 100_000
    assert "100000 of" in archive_yard.refused()
    archive.server.cut_after = None
    archive_yard.sync()
    headers = [headers for path, headers in archive.server.requests if path == f"/{archive.name}"][-1]
    assert headers["Range"] == "bytes=100000-"


def test_a_part_of_another_file_is_not_mixed_in(archive: ArchiveMirror, archive_yard: Yard) -> None:
    assert archive.server
    archive.server.cut_after = 100_000
    archive_yard.refused()
    archive.server.cut_after = None
    (archive.tree / "noise").write_bytes(os.urandom(200_000))
    archive.release(at=NOW)
    assert "noise" in listing(archive_yard.sync())


def test_a_file_that_is_no_archive_is_refused(archive: ArchiveMirror, archive_yard: Yard) -> None:
    first = archive_yard.sync()
    good = (archive.place / archive.name).read_bytes()
    (archive.place / archive.name).write_bytes(good[:90_000])
    assert "cannot be unpacked" in archive_yard.refused()
    (archive.place / archive.name).write_bytes(good)
    assert archive_yard.sync().revision == first.revision


def test_a_tarball_without_signature_may_hold_a_signed_manifest(
    tmp_path: Path, keys: tuple[Keys, Keys]
) -> None:
    made = make_mirror(SyncKind.SNAPSHOT, tmp_path)
    words = ["--hashes", "BLAKE2B SHA512", "--openpgp-id", keys[0].name, "--sign"]
    run([*GEMATO, "create", *words, made.tree], env=keys[0].env)
    made.release()
    made.start()
    yard = Yard(tmp_path / "state", repository(made, keys[0].keyring))
    yard.path.mkdir()
    first = yard.sync()
    change(made)
    made.release()
    assert "its Manifest does not verify" in yard.refused()
    assert yard.state.revision == first.revision
    made.stop()


def test_a_wrong_checksum_beside_the_file_is_found(archive: ArchiveMirror, archive_yard: Yard) -> None:
    (archive.place / f"{archive.name}.md5sum").write_text(f"{'0' * 32}  {archive.name}\n")
    assert "its md5 is" in archive_yard.refused()


def test_a_file_url_works_like_any_other(archive: ArchiveMirror, archive_yard: Yard) -> None:
    archive_yard.repository = replace(archive_yard.repository, uri=(archive.place / archive.name).as_uri())
    first = archive_yard.sync()
    assert archive_yard.sync() == first
    (archive.place / archive.name).unlink()
    assert "tiny was not synchronised" in archive_yard.refused()


# rsync


def test_a_mirror_that_lost_its_files_does_not_empty_the_working_copy(tmp_path: Path) -> None:
    made = make_mirror(SyncKind.RSYNC, tmp_path)
    for number in range(300):
        (made.tree / f"app-misc/slow/slow-{number + 2}.ebuild").write_text("EAPI=8\n")
    made.release(at=NOW)
    made.start()
    yard = Yard(tmp_path / "state", repository(made))
    yard.path.mkdir()
    yard.sync()
    kept = yard.path / "repositories/tiny/tree/app-misc/slow"
    before = len(list(kept.iterdir()))
    shutil.rmtree(tmp_path / "served/module/app-misc")
    (tmp_path / "served/module/metadata/timestamp.chk").write_text("Thu, 01 Jan 2099 00:00:00 +0000\n")
    assert "lost more than 25%" in yard.refused()
    assert len(list(kept.iterdir())) > before / 2
    made.stop()


def test_a_file_with_wrong_bytes_of_the_right_size_is_fetched_again(
    tmp_path: Path, keys: tuple[Keys, Keys]
) -> None:
    made = make_mirror(SyncKind.RSYNC, tmp_path)
    made.release(keys[0], at=NOW)
    made.start()
    yard = Yard(tmp_path / "state", repository(made, keys[0].keyring))
    yard.path.mkdir()
    file = tmp_path / "served/module/profiles/arch.list"
    good, times = file.read_bytes(), file.stat()
    file.write_bytes(b"#" * len(good))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "does not verify" in yard.refused()
    file.write_bytes(good)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert yard.sync().image.exists()
    made.stop()
