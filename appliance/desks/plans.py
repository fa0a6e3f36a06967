"""Plans that persons ask for: the web page wants one, the farm asks Portage, and the last one is kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.desks.backlog import flag_class
from appliance.desks.foresight import ForesightDesk
from appliance.site import find_profile
from appliance.store.errands import Errand, ErrandKind
from appliance.store.plan_views import PlanRecord
from buildfarm.decisions import PlanView, read, sentence
from buildfarm.order import Progress

NOTE_SECONDS = 0.5
"""Progress is noted no more often: each note is a transaction."""


@dataclass(frozen=True)
class KeptPlan:
    """The last plan of a profile as a person sees it."""

    at: float
    who: str
    seconds: float
    """What the build will probably take from its beginning to its end."""
    view: PlanView
    fresh: bool
    """Nothing changed since: neither the profile nor a repository."""

    @property
    def summary(self) -> str:
        return sentence(self.view) if self.view.complete else "the resolver gave up: nothing can be built"


@dataclass(frozen=True)
class PlanDesk:
    foresight: ForesightDesk
    clock: Callable[[], float]

    # the web page's side: it may only read files and write the store

    def want(self, profile: str, *, who: str | None = None, why: str = "") -> Errand:
        """Let the farm find out what a build would do. Raises Problem when there is no such profile."""
        store = self.foresight.store
        find_profile(self.foresight.planning.live.now(), profile)
        who, now = who or store.audit.who, self.clock()
        with store.database.change():
            number = store.errands.want(ErrandKind.PLAN, profile, who=who, why=why, now=now)
            store.audit.add(now, who, "plan want", profile, why)
        found = store.errands.get(number)
        assert found
        return found

    def last(self, profile: str) -> KeptPlan | None:
        """None when there was none yet. Raises Problem when there is no such profile."""
        known = find_profile(self.foresight.planning.live.now(), profile)
        record = self.foresight.store.plan_views.get(profile)
        if record is None:
            return None
        fresh = record.inputs == self.foresight.backlog.inputs(known)
        return KeptPlan(record.at, record.who, record.seconds, read(record.document), fresh)

    def asked(self, profile: str) -> Errand | None:
        """The last time somebody asked, and what became of it."""
        return self.foresight.store.errands.newest(ErrandKind.PLAN, profile)

    # the farm's side

    def make(self, errand: Errand) -> str:
        """Ask Portage and keep the answer; a sentence on it. Raises Problem when nothing can be planned."""
        planning, backlog = self.foresight.planning, self.foresight.backlog
        profile = find_profile(planning.live.now(), errand.profile)
        view, found = planning.find(errand.profile, self._noting(errand.id))
        seconds = self.foresight.expect(found, flag_class(profile)).seconds
        record = PlanRecord(
            errand.profile, backlog.inputs(profile), self.clock(), errand.who, seconds, view.document()
        )
        self.foresight.store.plan_views.put(record)
        return sentence(view) if view.complete else "the resolver gave up and has questions"

    def _noting(self, number: int) -> Callable[[Progress], None]:
        noted_at = 0.0

        def note(progress: Progress) -> None:
            nonlocal noted_at
            if time.monotonic() - noted_at >= NOTE_SECONDS:
                noted_at = time.monotonic()
                self.foresight.store.errands.note(number, str(progress))

        return note
