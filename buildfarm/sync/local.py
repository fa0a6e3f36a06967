"""A directory or checkout that somebody else keeps current."""

import hashlib
import os
from pathlib import Path

from buildfarm.snapshot import export_commit, git_revision, local_tree, seed_cache, tree_hash, walk
from buildfarm.survey import CACHE
from buildfarm.sync.base import Asked, Fetched


def fetch(asked: Asked) -> Fetched | None:
    source = local_tree(asked.repository)
    commit = git_revision(source)
    validator = commit or stamp(source)
    if validator == asked.validator:
        return None

    def fill(target: Path) -> str:
        if commit is None:
            return tree_hash(source, copy=target)[:40]
        export_commit(source / ".git", commit, target)
        seed_cache(target, source)
        return commit

    return Fetched(validator, fill, revision=commit or "")


def stamp(source: Path) -> str:
    """Changes whenever a file did, without reading one: names, sizes, modes and times of change."""
    digest = hashlib.sha256()
    for folder, names in walk(source):
        if folder.parts[:2] == CACHE.parts:
            continue
        for name in names:
            about = (source / folder / name).lstat()
            facts = (about.st_mode, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
            digest.update(b"%s %d %d %d %d\0" % (os.fsencode(folder / name), *facts))
    return f"stat {digest.hexdigest()}"
