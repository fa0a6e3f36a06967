"""Makes one immutable image of an ebuild repository, named by its revision."""

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from appliance.durable import sync
from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.site_model import Repository
from buildfarm.survey import CACHE, Survey, masters_of, md5, of_image, own, survey, write

__all__ = ["MasterMissing", "Regenerate", "Snapshot", "publish", "take", "take_all"]

LEFT_OUT = frozenset({".git"})
GIT = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
"""The checkout may belong to somebody else; nothing it configures is run."""
STAGING = ".snapshot-"
NO_FILE = "exclude@type(b)||type(c)||type(p)||type(s)"
Regenerate = Callable[[str, Path, Sequence[Snapshot]], None]
"""Brings metadata/md5-cache of a repository (name, private copy, its masters) up to date."""


class MasterMissing(Problem):
    """A repository cannot be used before another one is there."""


def take_all(
    repositories: Sequence[Repository], room: Path, *, regenerate: Regenerate
) -> tuple[Snapshot, ...]:
    """Snapshots of local repositories as they are now, in the given order."""
    taken: dict[str, Snapshot] = {}
    waiting = list(repositories)
    main = repositories[0].name
    while waiting:
        ready = next((one for one in waiting if _masters(one, main) <= taken.keys()), None)
        if ready is None:
            names = ", ".join(sorted(set().union(*(_masters(one, main) for one in waiting)) - taken.keys()))
            raise Problem(
                f"repository {waiting[0].name} waits for its masters, but {names} cannot be had before it",
                hint="name each master of metadata/layout.conf as a [[repository]] of the site",
            )
        waiting.remove(ready)
        taken[ready.name] = take(ready, room, known=tuple(taken.values()), main=main, regenerate=regenerate)
    return tuple(taken[one.name] for one in repositories)


def _masters(repository: Repository, main: str) -> set[str]:
    return masters_of(local_tree(repository), repository.name, main)


def take(
    repository: Repository,
    room: Path,
    *,
    known: Sequence[Snapshot] = (),
    main: str = "",
    regenerate: Regenerate,
    previous: Path | None = None,
) -> Snapshot:
    """The snapshot of a local repository as it is now; made only when this revision has none yet."""
    source = local_tree(repository)
    commit = git_revision(source)
    if commit and (
        found := present(repository.name, commit, room, known=known, main=main or repository.name)
    ):
        return found
    with staging(room) as scratch:
        copy = scratch / "tree"
        if commit:
            export_commit(source / ".git", commit, copy)
            seed_cache(copy, source)
        taken = commit or tree_hash(source, copy=copy)[:40]
        return publish(
            copy,
            repository.name,
            taken,
            scratch=scratch,
            room=room,
            known=known,
            main=main or repository.name,
            regenerate=regenerate,
            previous=previous,
        )


def local_tree(repository: Repository) -> Path:
    """Where a local repository is; raises Problem when there is none."""
    source = repository.location
    if source is None:
        raise Problem(
            f"repository {repository.name} is not local and was never synchronised",
            hint=f"distserver sync {repository.name}",
        )
    if not (source / "profiles" / "repo_name").is_file():
        raise Problem(
            f"repository {repository.name} at {source} has no profiles/repo_name",
            hint="name the directory that holds profiles/ and metadata/ as its location",
        )
    return source


@contextmanager
def staging(room: Path) -> Iterator[Path]:
    """A scratch directory on the file system of the images; clean() removes it when we are killed."""
    with _locked(room / ".staging.lock"):
        place = Path(tempfile.mkdtemp(prefix=STAGING, dir=room))
        held = os.open(place, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield place
    finally:
        shutil.rmtree(place)
        os.close(held)


def clean(room: Path) -> None:
    """Remove the scratch directories of processes that were killed."""
    with _locked(room / ".staging.lock"):
        for left in room.glob(f"{STAGING}*"):
            if _is_nobodys(left):
                shutil.rmtree(left)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _is_nobodys(place: Path) -> bool:
    """The kernel lets go of a lock when its holder dies."""
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def publish(
    tree: Path,
    name: str,
    revision: str,
    *,
    scratch: Path,
    room: Path,
    known: Sequence[Snapshot],
    main: str,
    regenerate: Regenerate,
    previous: Path | None = None,
    made_at: float = 0.0,
    check: Callable[[Survey], None] = lambda found: None,
) -> Snapshot:
    """Turn a tree of ours into an image. `previous`: an older image whose md5-cache is a start.

    `made_at` is when the tree was made, if something better than the tree itself says so. `check` may
    raise a Problem for what was found; nothing is published then.
    """
    found = survey(tree)
    if made_at:
        found = replace(found, made_at=made_at)
    if found.name != name:
        raise Problem(
            f"the tree of repository {name} says in profiles/repo_name that it is {found.name}",
            hint=f"is its location or uri right? else name it {found.name} in appliance.toml",
        )
    check(found)
    masters = find_masters(found, known, main)
    image = room / image_name(revision, masters)
    if not image.exists() or not _surveyed(image):
        if previous and not (tree / CACHE).exists():
            _unpack_cache(previous, tree)
        if stale_cache(tree, eclasses(found, masters)):
            regenerate(name, tree, masters)
        squash(tree, image, found, scratch)
    return Snapshot(name, revision, image)


def present(name: str, revision: str, room: Path, *, known: Sequence[Snapshot], main: str) -> Snapshot | None:
    """The image that publish() would make of this revision, when it is there already."""
    for image in sorted(room.glob(f"{revision}*.sqfs")):
        if _surveyed(image):
            masters = find_masters(of_image(image), known, main)
            if image.name == image_name(revision, masters):
                return Snapshot(name, revision, image)
    return None


def find_masters(found: Survey, known: Sequence[Snapshot], main: str) -> tuple[Snapshot, ...]:
    """The snapshots of a repository's masters; raises Problem when the site has no such repository."""
    by_name = {one.repository: one for one in known}
    wanted = found.masters_in(main)
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise MasterMissing(
            f"repository {found.name} needs its master {', '.join(missing)} (metadata/layout.conf), "
            "which is not there",
            hint=f"name {missing[0]} as a [[repository]] of the site and synchronise it first",
        )
    return tuple(by_name[name] for name in wanted)


def image_name(revision: str, masters: Sequence[Snapshot]) -> str:
    """With masters the md5-cache in the image depends on their eclasses, so the name does, too."""
    if not masters:
        return f"{revision}.sqfs"
    digest = hashlib.sha256()
    for master in masters:
        digest.update(repr((master.repository, sorted(of_image(master.image).eclasses.items()))).encode())
    return f"{revision}-{digest.hexdigest()[:8]}.sqfs"


def eclasses(found: Survey, masters: Sequence[Snapshot]) -> dict[str, str]:
    """Every eclass an ebuild of this repository may inherit; its own win over its masters'."""
    merged: dict[str, str] = {}
    for master in masters:
        merged |= of_image(master.image).eclasses
    return {**merged, **found.eclasses}


def git_revision(source: Path) -> str | None:
    """The commit, when `source` is the top of a git checkout without any change."""
    if not (source / ".git").exists():
        return None
    asked = run([*GIT, "-C", source, "status", "--porcelain", "--ignored=no"], ok=range(256))
    if asked.status != 0 or asked.stdout.strip():
        return None
    return run([*GIT, "-C", source, "rev-parse", "HEAD"]).stdout.strip()


def export_commit(repository: Path, commit: str, target: Path) -> None:
    """Write the files of a commit, without attributes' export rules; submodules stay empty directories."""
    target.mkdir(parents=True)
    git = [*GIT, f"--git-dir={_git_dir(repository)}", f"--work-tree={target}"]
    env = {"GIT_INDEX_FILE": str(target.with_name("index"))}
    run([*git, "read-tree", commit], env=env)
    run([*git, "checkout-index", "--all", "--force", "--quiet"], env=env, cwd=target)
    target.with_name("index").unlink()


def check_out(clone: Path, commit: str, tree: Path, index: Path) -> None:
    """Make `tree` the files of a commit and nothing else but an ignored or untracked md5-cache.

    Only what differs is written, so a day's changes of a large repository take seconds. --reset looks at the
    times of every file, so one that a killed check-out left in the tree is put right, too.
    """
    index.with_name(f"{index.name}.lock").unlink(missing_ok=True)
    tree.mkdir(exist_ok=True)
    git = [*GIT, f"--git-dir={clone}", f"--work-tree={tree}"]
    env = {"GIT_INDEX_FILE": str(index)}
    run([*git, "read-tree", "--reset", "-u", commit], env=env, cwd=tree)
    run([*git, "clean", "-ffdxq", f"--exclude=/{CACHE}"], env=env, cwd=tree)


def _git_dir(repository: Path) -> Path:
    """A worktree's .git is a file that names the directory."""
    if repository.is_file():
        return Path(run([*GIT, "-C", repository.parent, "rev-parse", "--absolute-git-dir"]).stdout.strip())
    return repository


def tree_hash(source: Path, *, copy: Path | None = None) -> str:
    """sha256 over names, executable bits and bytes, sorted; md5-cache is derived and does not count.

    With `copy`, every file is written there from the same reading, so the hash is that of the copy whatever
    happens to the source meanwhile. Raises Problem when the source changes its shape while it is read.
    """
    digest = hashlib.sha256()
    try:
        for folder, names in walk(source):
            place = None if copy is None else copy / folder
            if place is not None:
                place.mkdir(parents=True, exist_ok=True)
            derived = folder.parts[:2] == CACHE.parts
            if derived and place is None:
                continue
            for name in names:
                line = _entry(source / folder / name, folder / name, place)
                if not derived:
                    digest.update(line)
    except FileNotFoundError as gone:
        raise Problem(f"{gone.filename} vanished while {source} was read", hint="try again") from gone
    return digest.hexdigest()


def _entry(path: Path, relative: Path, place: Path | None) -> bytes:
    """One file's or link's line of the hash; its bytes also go to `place`."""
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
        kind, content = b"link", os.fsencode(path.readlink())
        if place is not None:
            (place / path.name).symlink_to(path.readlink())
    elif stat.S_ISREG(about.st_mode):
        kind = b"program" if about.st_mode & 0o111 else b"file"
        data = path.read_bytes()
        content = hashlib.sha256(data).digest()
        if place is not None:
            (place / path.name).write_bytes(data)
            if kind == b"program":
                (place / path.name).chmod(0o755)
    else:
        raise Problem(f"{path} is neither a file, a directory nor a link", hint="a repository has only those")
    name = os.fsencode(relative)
    return b"%s %d %s %d %s" % (kind, len(name), name, len(content), content)


def walk(top: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders relative to `top` with their files and links, all sorted; .git is no part of a tree."""
    for folder, folders, names in os.walk(top, onerror=_raise):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        yield here.relative_to(top), sorted((set(names) | set(links)) - LEFT_OUT)


def _raise(failure: OSError) -> None:
    raise failure


def stale_cache(tree: Path, eclass_md5: Mapping[str, str]) -> bool:
    """Is there an ebuild without a md5-cache entry that was made from just these bytes and eclasses?"""
    for ebuild in tree.glob("*/*/*.ebuild"):
        entry = tree / CACHE / ebuild.parent.parent.name / ebuild.stem
        if not entry.is_file() or entry.is_symlink() or not own(tree, ebuild):
            return True
        fields = dict(line.partition("=")[::2] for line in entry.read_text(errors="replace").splitlines())
        words = fields.get("_eclasses_", "").split("\t")
        used = zip(words[::2], words[1::2], strict=False)
        if fields.get("_md5_") != md5(ebuild) or any(eclass_md5.get(name) != one for name, one in used):
            return True
    return False


def seed_cache(copy: Path, source: Path) -> None:
    """A checkout may have an md5-cache that git ignores: a start is better than none."""
    if not (copy / CACHE).exists() and (source / CACHE).is_dir():
        (copy / CACHE).parent.mkdir(exist_ok=True)
        run(["cp", "-R", "--no-dereference", source / CACHE, copy / CACHE])


def _unpack_cache(image: Path, tree: Path) -> None:
    """Ebuilds change a few a day: what an older image has spares egencache nearly everything."""
    run(["unsquashfs", "-quiet", "-no-progress", "-force", "-dest", tree, image, CACHE], ok=range(256))


def _surveyed(image: Path) -> bool:
    return image.with_suffix(".json").exists()


def squash(tree: Path, image: Path, found: Survey, scratch: Path) -> None:
    """gzip, because every kernel with squashfs reads it; modes, times and owners are fixed: bytes repeat.

    Devices, pipes and sockets have no place in a repository and none in the image.
    """
    part = scratch / "image"
    fixed = ["-all-root", "-all-time", "0", "-mkfs-time", "0", "-reproducible", "-no-xattrs"]
    modes = ["-action", "chmod(u=rwX,go=rX)@type(f)||type(d)", "-action", NO_FILE]
    quiet = ["-noappend", "-quiet", "-no-progress"]
    run(["mksquashfs", tree, part, *quiet, *fixed, *modes, "-wildcards", "-e", "... .git"])
    sync(part)
    # The survey first: an image without one is made again.
    write(found, image, scratch / "survey")
    part.rename(image)
