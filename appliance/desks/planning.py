"""What a build would do, shown before it runs; and the questions only a person can answer."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from appliance.live import LiveSite
from appliance.model import OpenQuestion, Profile, Site, Tree
from appliance.site import find_profile
from appliance.store import Store
from appliance.store.history import DEFAULT, Subject
from buildfarm.complaints import Question, QuestionKind
from buildfarm.decisions import PlanView, decide
from buildfarm.index import split_cpv
from buildfarm.order import Report, Tools, take_order
from buildfarm.preview import Preview, preview


class PlanningDesk:
    def __init__(self, live: LiveSite, tree: Tree, store: Store, clock: Callable[[], float]) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.clock = clock

    def plan(self, name: str, progress: Report, *, tools: Tools | None = None) -> PlanView:
        """Ask the profile's own Portage; root, pool and releases stay as they are, a build may run meanwhile.

        Its questions are remembered. Raises Problem when the profile cannot be planned at all: no stage.
        """
        site = self.live.now()
        return self.look(site, find_profile(site, name), progress, tools=tools or Tools(now=self.clock))

    def look(self, site: Site, profile: Profile, progress: Report, *, tools: Tools) -> PlanView:
        """The same for a site that was read already."""
        ledger = self.store.packages
        order = take_order(site, profile, self.tree, ledger=ledger, report=progress, tools=tools)
        try:
            found = preview(order)
        finally:
            if not any(order.logs.iterdir()):
                order.logs.rmdir()
        view = self.view(found)
        if not found.asked:
            return replace(view, questions=tuple(_question(one) for one in self.questions(profile.name)))
        self.note(profile.name, view.questions)
        return view

    def view(self, found: Preview) -> PlanView:
        seconds = self.expected(found.keys)
        return decide(found.resolution, found.installed, found.known, again=found.again, seconds=seconds)

    def expected(self, keys: Mapping[str, str]) -> dict[str, float]:
        """Seconds that builds will probably take, of packages about which anything is known."""
        subjects = {cpv: Subject(split_cpv(cpv)[0], key) for cpv, key in keys.items()}
        efforts = {cpv: self.store.history.estimate(subject) for cpv, subject in subjects.items()}
        return {cpv: effort.seconds for cpv, effort in efforts.items() if effort != DEFAULT}

    def note(self, name: str, questions: Iterable[Question]) -> None:
        """After a plan of this profile: what it asks is open, what it asks no more is closed."""
        rows = [(one.kind.value, one.subject, one.text, one.suggestion) for one in questions]
        self.store.questions.update(name, rows, now=self.clock())

    def questions(self, profile: str | None = None, *, settled: bool = False) -> Collection[OpenQuestion]:
        """Open ones, the oldest first; or those a plan asked once and asks no more."""
        if settled:
            return self.store.questions.closed(profile)
        return self.store.questions.open(profile)


def _question(one: OpenQuestion) -> Question:
    return Question(QuestionKind(one.kind), one.subject, one.text, one.suggestion)
