"""Makes one immutable image of an ebuild repository, named by its revision."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Repository
from appliance.run import run

LEFT_OUT = frozenset({".git"})
CACHE = Path("metadata/md5-cache")


@dataclass(frozen=True)
class Snapshot:
    repository: str
    revision: str
    """A git commit, or the first 40 digits of the hash of the tree."""
    image: Path


def take(repository: Repository, snapshots: Path, *, regenerate: Callable[[Path], None]) -> Snapshot:
    """The snapshot of a repository as it is now; made only when this revision has none yet.

    `regenerate` is called with a private copy of the repository when its metadata/md5-cache is missing or
    stale, and brings it up to date there.
    """
    source = repository.location
    if not (source / "profiles" / "repo_name").is_file():
        raise Problem(
            f"repository {repository.name} at {source} has no profiles/repo_name",
            hint="name the directory that holds profiles/ and metadata/ as its location",
        )
    taken = revision(source)
    image = snapshots / f"{taken}.sqfs"
    if not image.exists():
        with tempfile.TemporaryDirectory(prefix=".snapshot-", dir=snapshots) as scratch:
            copy = Path(scratch) / "tree"
            copy_tree(source, copy)
            if stale_cache(copy):
                regenerate(copy)
            _squash(copy, image)
    return Snapshot(repository.name, taken, image)


def revision(source: Path) -> str:
    """What a snapshot of this directory would be named by."""
    return git_revision(source) or tree_hash(source)[:40]


def git_revision(source: Path) -> str | None:
    """The commit, when `source` is the top of a git checkout without any change."""
    if not (source / ".git").exists():
        return None
    asked = run(["git", "-C", source, "status", "--porcelain", "--ignored=no"], ok=range(256))
    if asked.status != 0 or asked.stdout.strip():
        return None
    return run(["git", "-C", source, "rev-parse", "HEAD"]).stdout.strip()


def tree_hash(source: Path) -> str:
    """sha256 over names, executable bits and bytes, sorted; md5-cache is derived and does not count."""
    digest = hashlib.sha256()
    for path in walk(source):
        relative = path.relative_to(source)
        if relative.parts[:2] == CACHE.parts:
            continue
        if path.is_symlink():
            kind, content = "link", os.fsencode(path.readlink())
        else:
            kind = "program" if path.stat().st_mode & 0o111 else "file"
            content = hashlib.sha256(path.read_bytes()).digest()
        name = os.fsencode(relative)
        digest.update(b"%s %d %s %d %s" % (kind.encode(), len(name), name, len(content), content))
    return digest.hexdigest()


def walk(top: Path) -> Iterator[Path]:
    """All files and links below, sorted by name; .git and Portage's own leftovers are no part of a tree."""
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        yield from (here / name for name in sorted(set(names) | set(links)) if name not in LEFT_OUT)


def copy_tree(source: Path, target: Path) -> None:
    """Copy with plain modes: the image must not depend on somebody's umask."""
    for path in walk(source):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            place.symlink_to(path.readlink())
        else:
            shutil.copyfile(path, place)
            place.chmod(0o755 if path.stat().st_mode & 0o111 else 0o644)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)


def stale_cache(tree: Path) -> bool:
    """Is there an ebuild without a md5-cache entry that was made from just these bytes and eclasses?"""
    eclasses = {path.stem: _md5(path) for path in (tree / "eclass").glob("*.eclass")}
    for ebuild in sorted(tree.glob("*/*/*.ebuild")):
        entry = tree / CACHE / ebuild.parent.parent.name / ebuild.stem
        if not entry.is_file():
            return True
        fields = dict(line.partition("=")[::2] for line in entry.read_text().splitlines())
        words = fields.get("_eclasses_", "").split("\t")
        used = dict(zip(words[::2], words[1::2], strict=False))
        if fields.get("_md5_") != _md5(ebuild) or any(eclasses.get(n) != md5 for n, md5 in used.items()):
            return True
    return False


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _squash(tree: Path, image: Path) -> None:
    """gzip, because every kernel with squashfs reads it; times and owners are zero, so bytes repeat."""
    part = image.with_name(f".{image.name}.partial")
    part.unlink(missing_ok=True)
    fixed = ["-all-root", "-all-time", "0", "-mkfs-time", "0", "-reproducible", "-no-xattrs"]
    run(["mksquashfs", tree, part, "-noappend", "-quiet", "-no-progress", *fixed])
    descriptor = os.open(part, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    part.rename(image)
