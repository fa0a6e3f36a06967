"""Repositories: synchronise one or all, say what is due, name the snapshots a build takes."""

import difflib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.farm_model import RepositoryState, Snapshot
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.run import CommandFailed
from appliance.schedule import is_due
from appliance.site_model import Profile, Repository, Site, SyncKind
from appliance.store import Store
from buildfarm import stage
from buildfarm.egencache import update_cache
from buildfarm.snapshot import MasterMissing, Regenerate, git_revision, local_tree
from buildfarm.sync import Asked, refresh, synchronise
from buildfarm.sync.local import stamp

log = logging.getLogger(__name__)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of one repository."""

    repository: str
    snapshot: Snapshot | None
    """The current one afterwards, whether it was there before or not."""
    changed: bool = False
    problem: str = ""
    """Why nothing changed; empty when all went well."""
    waits: bool = False
    """The problem is that a master is not there yet."""

    def __str__(self) -> str:
        if self.problem or self.snapshot is None:
            return self.problem
        revision = self.snapshot.revision
        return f"{self.repository}: {revision}{'' if self.changed else ', nothing new'}"


class SyncDesk:
    """`take_stage` is what gets the stage whose egencache makes missing metadata caches."""

    def __init__(
        self,
        live: LiveSite,
        tree: Tree,
        store: Store,
        clock: Callable[[], float],
        take_stage: Callable[..., stage.Stage] = stage.acquire,
    ) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.clock = clock
        self.take_stage = take_stage

    # what is there

    def states(self) -> list[tuple[Repository, RepositoryState | None]]:
        """The site's repositories, main first, each with what the store knows of it."""
        known = self.store.snapshots.all()
        return [(one, known.get(one.name)) for one in self.live.now().repositories]

    def snapshots(self, site: Site) -> tuple[Snapshot, ...]:
        """The current snapshot of each repository, main first; raises Problem when one has none."""
        known = self.store.snapshots.all()
        found = [self._current(one, known.get(one.name)) for one in site.repositories]
        missing = [one for one, snapshot in zip(site.repositories, found, strict=True) if snapshot is None]
        if missing:
            state = known.get(missing[0].name)
            why = f": {state.problem}" if state and state.problem else ""
            raise Problem(
                f"repository {missing[0].name} has no snapshot{why}",
                hint=f"distserver sync {missing[0].name}",
            )
        return tuple(one for one in found if one)

    def revisions(self, site: Site) -> tuple[str, ...]:
        """`NAME REVISION IMAGE` of each repository from the store alone: another one is a reason to build."""
        known = self.store.snapshots.all()
        states = [known.get(one.name, RepositoryState(one.name)) for one in site.repositories]
        return tuple(f"{one.name} {one.revision} {one.image}" for one in states)

    def due(self) -> list[str]:
        """Repositories to synchronise now: by the schedule, and local ones whose files changed."""
        site = self.live.now()
        now = self.clock()
        known = self.store.snapshots.all()
        return [one.name for one in site.repositories if self._is_due(site, one, known.get(one.name), now)]

    # what is done

    def sync(
        self,
        names: Collection[str] = (),
        *,
        force: bool = False,
        say: Say = log.info,
        profile: Profile | None = None,
    ) -> list[Outcome]:
        """Synchronise these repositories, or all; a failure of one is its outcome and stops no other.

        `profile`: the one whose stage makes metadata caches; any of the site when not given.
        """
        site = self.live.now()
        wanted = [self._find(site, name) for name in names] or list(site.repositories)
        done: dict[str, Outcome] = {}
        for one in wanted:
            done[one.name] = self._sync(site, one, force=force, say=say, profile=profile)
        # An overlay that stands before its master in the site, or whose master came only now.
        for one in wanted:
            if done[one.name].waits:
                done[one.name] = self._sync(site, one, force=force, say=say, profile=profile)
        changed = {name for name, outcome in done.items() if outcome.changed}
        if changed:
            for one in site.repositories:
                self._follow_masters(site, one, done, say=say, profile=profile)
        return [done[one.name] for one in wanted]

    def sync_due(self, say: Say = log.info) -> list[Outcome]:
        """What the schedule asks for now; nothing most of the time."""
        names = self.due()
        return self.sync(names, say=say) if names else []

    def prepare(self, say: Say, profile: Profile | None = None) -> None:
        """Make snapshots() what a build takes: local repositories as they are now, the others as they are.

        A repository that was never synchronised is so now. One that cannot be keeps its snapshot, if any.
        """
        site = self.live.now()
        known = self.store.snapshots.all()
        names = [
            one.name
            for one in site.repositories
            if one.sync is SyncKind.LOCAL or self._current(one, known.get(one.name)) is None
        ]
        for outcome in self.sync(names, say=say, profile=profile) if names else ():
            if outcome.problem:
                say(outcome.problem)

    def _sync(
        self, site: Site, one: Repository, *, force: bool, say: Say, profile: Profile | None
    ) -> Outcome:
        asked = self._asked(site, one, force=force, say=say, profile=profile)
        try:
            done = synchronise(asked)
        except (Problem, CommandFailed, OSError) as failure:
            # A full disk is no bug either: it must not end the farm, and the next try may go well.
            problem = str(failure) if isinstance(failure, Problem) else f"repository {one.name}: {failure}"
            self.store.snapshots.failed(one.name, problem=problem, now=self.clock())
            waits = isinstance(failure, MasterMissing)
            return Outcome(one.name, self._current(one, asked.state), problem=problem, waits=waits)
        return self._note(one, done.snapshot, done.validator)

    def _follow_masters(
        self, site: Site, one: Repository, done: dict[str, Outcome], *, say: Say, profile: Profile | None
    ) -> None:
        """An overlay's metadata cache is made with its masters' eclasses."""
        asked = self._asked(site, one, force=False, say=say, profile=profile)
        if asked.image is None:
            return
        try:
            snapshot = refresh(asked)
        except (Problem, CommandFailed, OSError) as failure:
            say(f"{one.name} keeps its metadata cache: {failure}")
            return
        if snapshot.image.name != asked.state.image:
            outcome = self._note(one, snapshot, asked.state.validator)
            done[one.name] = outcome

    def _note(self, one: Repository, snapshot: Snapshot, validator: str) -> Outcome:
        now = self.clock()
        with self.store.database.change():
            changed = self.store.snapshots.succeeded(
                one.name,
                source=one.source,
                revision=snapshot.revision,
                image=snapshot.image.name,
                validator=validator,
                now=now,
            )
            if changed:
                self.store.audit.add(now, None, "sync", one.name, snapshot.revision)
        return Outcome(one.name, snapshot, changed=changed)

    def _asked(self, site: Site, one: Repository, *, force: bool, say: Say, profile: Profile | None) -> Asked:
        known = self.store.snapshots.all()
        others = [
            snapshot
            for other in site.repositories
            if other.name != one.name and (snapshot := self._current(other, known.get(other.name)))
        ]
        return Asked(
            repository=one,
            state=known.get(one.name, RepositoryState(one.name)),
            work=self.tree.room("repositories").resolve() / one.name,
            room=self._room(),
            known=others,
            main=site.repositories[0].name,
            regenerate=self._regenerate(site, say, profile),
            say=say,
            force=force,
        )

    def _regenerate(self, site: Site, say: Say, profile: Profile | None) -> Regenerate:
        """Gets a stage only when a cache really has to be made."""

        def regenerate(name: str, tree: Path, masters: Collection[Snapshot]) -> None:
            chosen = profile or next(iter(site.profiles.values()), None)
            if chosen is None:
                raise Problem("the site has no profile whose stage could make the metadata cache")
            say(f"making the metadata cache of {name}")
            place = self.take_stage(chosen.stage, self.tree, say)
            update_cache(place.root, site.repositories[0].name, name, tree, tuple(masters), say=say)

        return regenerate

    def _current(self, one: Repository, state: RepositoryState | None) -> Snapshot | None:
        if state is None or not state.image:
            return None
        image = self._room() / state.image
        there = image.exists() and image.with_suffix(".json").exists()
        return Snapshot(one.name, state.revision, image) if there else None

    def _room(self) -> Path:
        return self.tree.room("snapshots").resolve()

    def _is_due(self, site: Site, one: Repository, state: RepositoryState | None, now: float) -> bool:
        if state is None or self._current(one, state) is None or state.source != one.source:
            return is_due(site.schedule, state if state and state.problem else None, now)
        if one.sync is SyncKind.LOCAL:
            return _changed(one, state)
        return is_due(site.schedule, state, now)

    def _find(self, site: Site, name: str) -> Repository:
        names = [one.name for one in site.repositories]
        if name in names:
            return site.repositories[names.index(name)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"repositories of this site: {', '.join(names)}"
        raise Problem(f"{site.path} has no repository {name}", hint=hint)


def _changed(one: Repository, state: RepositoryState) -> bool:
    try:
        source = local_tree(one)
        return (git_revision(source) or stamp(source)) != state.validator
    except (Problem, FileNotFoundError):  # it vanished, or is being changed: synchronising says so
        return True
