"""Replaces live files so that each is old or new at any moment, and all of a group are in the end."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distserver_client import places
from distserver_client.places import Metadata
from distserver_client.snapshots import Phase, Record, State, Step, Store
from distserver_client.threeway import LEFT_OVER
from distserver_client.triples import Kind, Version

SUFFIX = "distserver-new"
WORDS = {
    errno.EPERM: "the file or its directory may not be changed (see lsattr)",
    errno.EROFS: "its file system is read-only",
    errno.ENOSPC: "its file system is full",
    errno.EDQUOT: "the quota of its file system is used up",
}


class Refused(Exception):
    """A live path was not replaced; all paths of the group are what they were."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


@dataclass(frozen=True)
class Change:
    """What shall become of one path."""

    path: str
    """Absolute, inside the root, without links in it."""
    old: Version
    """What it was when this was decided; anything else is left alone."""
    new: Version
    like: Metadata | None = None
    """For a path at which nothing is; otherwise the metadata stays."""
    settles: str = ""
    """See Step; empty: the path itself."""
    base: str = ""
    leftovers: tuple[str, ...] = ()


def replace(root: Path, store: Store, changes: Sequence[Change], *, service: str = "") -> Record:
    """Replace all of them; the record is begun, and the caller commits or reverts it.

    `service`: one that runs and reads them.

    Raises Refused when one cannot be replaced: the others are put back. Killed anywhere, each path is
    wholly old or wholly new, and recover() puts all of them back.
    """
    for change in changes:
        if change.new.kind is Kind.FILE and LEFT_OVER.search(change.new.content):
            raise Refused(change.path, "the new content has a conflict marker")
    try:
        store.make()
        record = store.begin([_step(root, store, change) for change in changes], service)
    except OSError as failure:
        raise Refused(changes[0].path, _said(failure)) from failure
    for step in record.steps:
        try:
            _place(root, store, step.path, step.new, step.old)
        except OSError as failure:
            try:
                revert(root, store, record)
            except OSError as second:
                raise Refused(step.path, f"{_said(failure)}; to put back: {_said(second)}") from second
            raise Refused(step.path, _said(failure)) from failure
    return record


def commit(root: Path, store: Store, record: Record, settled: Callable[[Record], None]) -> Record:
    """The new files stay. `settled` notes that their questions are; it is called again after a crash."""
    return finish(root, store, store.move(record, Phase.COMMITTED), settled)


def finish(root: Path, store: Store, record: Record, settled: Callable[[Record], None]) -> Record:
    """What is to do after a commit, as often as it takes."""
    settled(record)
    for step in record.steps:
        for leftover in step.leftovers:
            places.inside(root, leftover).unlink(missing_ok=True)
    return store.move(record, Phase.FINISHED)


def revert(root: Path, store: Store, record: Record) -> list[str]:
    """Put everything back that still is what we made of it; returns the paths that are something else.

    Raises OSError when a path cannot be put back; the record is begun, then, and recover() tries again.
    """
    strange = []
    for step in reversed(record.steps):
        _partial(root, step.path).unlink(missing_ok=True)
        there = places.version(places.inside(root, step.path))
        if step.new.shows(there) and not step.old.shows(there):
            _place(root, store, step.path, step.old, step.new)
        elif not step.old.shows(there):
            strange.append(step.path)
    store.move(record, Phase.REVERTED)
    return strange


def recover(root: Path, store: Store, settled: Callable[[Record], None]) -> list[Record]:
    """After a crash: what was begun is put back, what was committed is finished. Returns those records."""
    store.make()
    found = [one for one in store.records() if one.phase in (Phase.BEGUN, Phase.COMMITTED)]
    for record in reversed(found):
        if record.phase is Phase.BEGUN:
            revert(root, store, record)
        else:
            finish(root, store, record, settled)
    return found


def _step(root: Path, store: Store, change: Change) -> Step:
    place = places.inside(root, change.path)
    there = places.version(place)
    if (there.kind, there.content) != (change.old.kind, change.old.content):
        raise Refused(change.path, "changed while it was decided")
    if there.kind in (Kind.DIRECTORY, Kind.OTHER):
        raise Refused(change.path, f"is a {there.kind.value}, which is not replaced")
    known = places.describe(place) if there.kind is not Kind.ABSENT else None
    # A link's own permissions mean nothing, and a file in its place has those of theirs.
    like = known if known and there.kind is change.new.kind else change.like
    return Step(
        change.path,
        _state(store, there, known),
        _state(store, change.new, like or Metadata(change.new.mode, 0, 0)),
        change.settles or change.path,
        change.base,
        change.leftovers,
    )


def _state(store: Store, version: Version, known: Metadata | None) -> State:
    if version.kind is Kind.FILE:
        return State(Kind.FILE, store.keep(version.content), "", known)
    if version.kind is Kind.LINK:
        return State(Kind.LINK, "", os.fsdecode(version.content), known)
    return State(version.kind)


def _place(root: Path, store: Store, path: str, new: State, old: State) -> None:
    """Make a path what a state says, in one step; the disk has it when this returns."""
    place, partial = places.inside(root, path), _partial(root, path)
    partial.unlink(missing_ok=True)
    try:
        if new.kind is Kind.ABSENT:
            _unchanged(place, old)
            place.unlink(missing_ok=True)
        else:
            _prepare(store, partial, new)
            _unchanged(place, old)
            partial.rename(place)
    finally:
        partial.unlink(missing_ok=True)
    places.sync(place.parent)


def _unchanged(place: Path, old: State) -> None:
    if not old.is_at(place):
        raise OSError(errno.EBUSY, "changed at the last moment")


def _prepare(store: Store, partial: Path, new: State) -> None:
    if new.kind is Kind.LINK:
        partial.symlink_to(new.target)
        if new.metadata:
            os.chown(partial, new.metadata.uid, new.metadata.gid, follow_symlinks=False)
        return
    content = store.content(new.sha256)
    if content is None or new.metadata is None:
        raise OSError(errno.EIO, "its content is not in the snapshots any more")
    places.write(partial, content, new.metadata)


def _partial(root: Path, path: str) -> Path:
    place = places.inside(root, path)
    return place.with_name(f".{place.name}.{SUFFIX}")


def _said(failure: OSError) -> str:
    return WORDS.get(failure.errno or 0, failure.strerror or str(failure))
