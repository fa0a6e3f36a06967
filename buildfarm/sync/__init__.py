"""Brings one repository up to date and makes its snapshot; whatever goes wrong changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.site_model import SyncKind
from buildfarm.reference import exclusive
from buildfarm.snapshot import clean, present, publish, staging
from buildfarm.survey import Survey, of_image
from buildfarm.sync import archive, git, local, rsync
from buildfarm.sync.base import Asked, Fetch, Fetched, refusal
from buildfarm.sync.doubt import doubt

__all__ = ["Asked", "Synchronised", "refresh", "synchronise"]

KINDS: Mapping[SyncKind, Fetch] = {
    SyncKind.LOCAL: local.fetch,
    SyncKind.GIT: git.fetch,
    SyncKind.RSYNC: rsync.fetch,
    SyncKind.SNAPSHOT: archive.fetch,
    SyncKind.SQUASHFS: archive.fetch,
}


@dataclass(frozen=True)
class Synchronised:
    snapshot: Snapshot
    validator: str
    """Goes into the state that the next synchronisation is given."""


def synchronise(asked: Asked) -> Synchronised:
    """The snapshot of the newest state of the source.

    Raises Problem, in one sentence with what to do, when the source cannot be reached, is not what the
    keyring says, or is suspicious beside what is there. Neither the current snapshot nor what makes the next
    try quick is lost by that, nor by a kill at any moment.
    """
    asked.work.mkdir(parents=True, exist_ok=True)
    clean(asked.room)
    with exclusive(asked.work / "lock"):
        fetched = KINDS[asked.repository.sync](asked)
        if fetched is None:
            return Synchronised(_unchanged(asked), asked.state.validator)
        return Synchronised(_snapshot(asked, fetched), fetched.validator)


def refresh(asked: Asked) -> Snapshot:
    """The current snapshot without asking its source: another image when its masters' eclasses changed."""
    asked.work.mkdir(parents=True, exist_ok=True)
    with exclusive(asked.work / "lock"):
        return _unchanged(asked)


def _snapshot(asked: Asked, fetched: Fetched) -> Snapshot:
    if fetched.revision:
        found = present(asked.name, fetched.revision, asked.room, known=asked.known, main=asked.main)
        if found:
            _check(asked, of_image(found.image))
            return found
    with staging(asked.room) as scratch:
        asked.say(f"making the snapshot of {asked.name}")
        tree = fetched.tree or scratch / "tree"
        revision = fetched.fill(tree)
        return _publish(asked, tree, scratch, revision, fetched.made_at)


def _unchanged(asked: Asked) -> Snapshot:
    """The current snapshot; made again from its own image when a master's eclasses are others now."""
    image = asked.image
    assert image is not None
    revision = asked.state.revision
    found = present(asked.name, revision, asked.room, known=asked.known, main=asked.main)
    if found:
        return found
    with staging(asked.room) as scratch:
        asked.say(f"the eclasses of {asked.name}'s masters changed")
        tree = scratch / "tree"
        run(["unsquashfs", "-quiet", "-no-progress", "-dest", tree, image])
        return _publish(asked, tree, scratch, revision, of_image(image).made_at)


def _publish(asked: Asked, tree: Path, scratch: Path, revision: str, made_at: float) -> Snapshot:
    return publish(
        tree,
        asked.name,
        revision,
        scratch=scratch,
        room=asked.room,
        known=asked.known,
        main=asked.main,
        regenerate=asked.regenerate,
        previous=asked.image,
        made_at=made_at,
        check=lambda found: _check(asked, found),
    )


def _check(asked: Asked, found: Survey) -> None:
    same = asked.image is not None and asked.state.source == asked.repository.source
    reason = doubt(found, of_image(asked.image)) if same and asked.image else ""
    if reason and not asked.force:
        raise refusal(
            asked,
            f"what came is suspicious: {reason}",
            hint=f"if that is right: distserver sync {asked.name} --force",
        )
