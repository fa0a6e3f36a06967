"""The profiles of a site as a person looks at them: who inherits from whom, where each value comes from."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.backlog import span
from appliance.desks.backlog import BacklogDesk
from appliance.desks.planning import PlanningDesk
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.live import LiveSite
from appliance.model import Machine
from appliance.profile_model import Profile
from appliance.store import Store
from appliance.store.machines import Search
from appliance.whence import Whence, documents_of, heirs_of, inherited, parents_of, trace

FEW = 8


@dataclass(frozen=True)
class Branch:
    """A profile in the tree of those that inherit; it stands below its first parent."""

    name: str
    description: str
    arch: str
    is_abstract: bool
    """No machine can have it."""
    parents: tuple[str, ...]
    depth: int
    machines: int
    newest: Release | None
    waits: tuple[str, ...]
    """What is being built, waits or needs a person, a sentence each."""


@dataclass(frozen=True)
class Looked:
    """One profile. `profile` is None for one that is only a parent."""

    now: float
    name: str
    whence: Whence
    profile: Profile | None
    heirs: tuple[str, ...]
    machines: int
    first: tuple[Machine, ...]
    newest: Release | None
    releases: int
    waits: tuple[str, ...]


class ProfileDesk:
    def __init__(
        self,
        live: LiveSite,
        store: Store,
        *,
        backlog: BacklogDesk,
        planning: PlanningDesk,
        clock: Callable[[], float],
    ) -> None:
        self.live = live
        self.store = store
        self.backlog = backlog
        self.planning = planning
        self.clock = clock

    def tree(self) -> list[Branch]:
        """All profiles, each behind its first parent."""
        documents = documents_of(self.live.files())
        waits = self._waits()
        counts: dict[str, int] = {}
        for tally in self.store.machines.tallies():
            counts[tally.profile] = counts.get(tally.profile, 0) + tally.count
        return [
            Branch(
                name,
                inherited(documents, name, "description"),
                inherited(documents, name, "arch"),
                documents[name].get("abstract") is True,
                parents_of(documents[name]),
                depth,
                counts.get(name, 0),
                self.newest(name),
                tuple(waits.get(name, ())),
            )
            for name, depth in branches(documents)
        ]

    def look(self, name: str) -> Looked:
        """Raises Problem when the site that is in force has no profile of this name."""
        files = self.live.files()
        documents = documents_of(files)
        if name not in documents:
            near = difflib.get_close_matches(name, documents, n=1)
            hint = f"did you mean {near[0]}?" if near else "the page Profiles has those there are"
            raise Problem(f"there is no profile {name}", hint=hint)
        search = Search(profile=name)
        return Looked(
            self.clock(),
            name,
            trace(files, name),
            self.live.now().profiles.get(name),
            heirs_of(name, documents),
            machines=self.store.machines.count(search),
            first=tuple(self.store.machines.find(search, limit=FEW)),
            newest=self.newest(name),
            releases=self.store.releases.count(name),
            waits=tuple(self._waits().get(name, ())),
        )

    def newest(self, name: str) -> Release | None:
        return next(iter(self.store.releases.page(name, limit=1)), None)

    def _waits(self) -> dict[str, list[str]]:
        """What of each profile is not done: in the words of the backlog and of the farm's questions."""
        found: dict[str, list[str]] = {}
        board = self.backlog.board()
        for job in board.running:
            found.setdefault(job.profile, []).append(f"is being built: {job.message}".rstrip(": "))
        for one in board.waiting:
            found.setdefault(one.task.profile, []).append(f"waits to be built: {one.why}")
        for job in board.failed:
            when = f" {span(self.clock() - job.ended_at)} ago" if job.ended_at else ""
            found.setdefault(job.profile, []).append(f"the last build failed{when}: {job.message}")
        for question in self.planning.questions():
            found.setdefault(question.profile, []).append(f"question: {question.text}")
        return found


def branches(documents: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int]]:
    """(name, depth): those without a parent first, each followed by those whose first parent it is."""
    found: list[tuple[str, int]] = []

    def visit(name: str, depth: int) -> None:
        found.append((name, depth))
        for one in sorted(documents):
            if parents_of(documents[one])[:1] == (name,):
                visit(one, depth + 1)

    for name in sorted(documents):
        if not parents_of(documents[name]):
            visit(name, 0)
    return found
