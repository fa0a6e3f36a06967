"""What a build would do, shown before it runs; and the questions only a person can answer."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from appliance.desks.sync import SyncDesk
from appliance.farm_model import OpenQuestion, Package
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.site import find_profile
from appliance.site_model import Profile, Site
from appliance.store import Store
from appliance.store.history import DEFAULT, Subject
from appliance.store.packages import Packages
from buildfarm.complaints import Question, QuestionKind
from buildfarm.decisions import PlanView, decide
from buildfarm.index import split_cpv
from buildfarm.key import Recipe, changed
from buildfarm.order import Progress, Report, Tools, take_order
from buildfarm.preview import Preview, preview


@dataclass(frozen=True)
class OnlyLooking:
    """The ledger of a plan: it knows what the pool has, and neither claims nor notes anything."""

    packages: Packages

    def known(self, keys: Mapping[str, str]) -> Sequence[Package]:
        return self.packages.known({*keys, *keys.values()})

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        raise AssertionError(f"a plan builds nothing, but {package.cpv} is there")

    def forget(self, sha256: str) -> None:
        raise AssertionError(f"a plan removes nothing, but {sha256} is to go")


class PlanningDesk:
    def __init__(
        self,
        live: LiveSite,
        tree: Tree,
        store: Store,
        clock: Callable[[], float],
        sync: SyncDesk,
        *,
        masked: Callable[[Profile], Profile] = lambda profile: profile,
    ) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.clock = clock
        self.sync = sync
        self.masked = masked
        """A profile of the site with what persons keep out of it."""

    def plan(self, name: str, progress: Report) -> PlanView:
        """Ask the profile's own Portage; root, pool and releases stay as they are, a build may run meanwhile.

        Its questions are remembered. Raises Problem when the profile cannot be planned at all: no stage.
        """
        return self.find(name, progress)[0]

    def find(self, name: str, progress: Report) -> tuple[PlanView, Preview]:
        """The same, and all that was found out for it."""
        site = self.live.now()
        profile = find_profile(site, name)
        self.sync.prepare(lambda text: progress(Progress("snapshot", text)), profile)
        found = self._preview(site, profile, progress, self._tools(site))
        return self._seen(profile, found), found

    def foresee(self, profile: Profile) -> Preview:
        """What a build from the current snapshots would do; its questions are noted before it runs."""
        site = self.live.now()
        found = self._preview(site, profile, lambda progress: None, self._tools(site))
        if found.asked:
            self.note(profile.name, found.resolution.questions)
        return found

    def look(self, site: Site, profile: Profile, progress: Report, *, tools: Tools) -> PlanView:
        """The same for a site that was read already."""
        return self._seen(profile, self._preview(site, profile, progress, tools))

    def _seen(self, profile: Profile, found: Preview) -> PlanView:
        """For a person, with its questions, which are remembered."""
        view = self.view(found)
        if not found.asked:
            return replace(view, questions=tuple(_question(one) for one in self.questions(profile.name)))
        self.note(profile.name, view.questions)
        return view

    def _tools(self, site: Site) -> Tools:
        """What a plan calls: the current snapshots, and never a compile host."""
        return Tools(
            take_snapshots=lambda repositories, room, regenerate: self.sync.snapshots(site), now=self.clock
        )

    def _preview(self, site: Site, profile: Profile, progress: Report, tools: Tools) -> Preview:
        ledger = OnlyLooking(self.store.packages)
        order = take_order(site, self.masked(profile), self.tree, ledger=ledger, report=progress, tools=tools)
        try:
            return preview(order)
        finally:
            if not any(order.logs.iterdir()):
                order.logs.rmdir()

    def view(self, found: Preview) -> PlanView:
        return decide(
            found.resolution,
            found.installed,
            found.known,
            again=found.again,
            why=self.why(found),
            seconds=self.expected(found.keys),
        )

    def why(self, found: Preview) -> dict[str, list[str]]:
        """cpv -> what changed since the package of the same version was built that is in the root."""
        same = {choice.cpv for choice in found.resolution.choices if choice.replaces == choice.cpv}
        before = {one.cpv: one for one in found.packages if one.cpv in same | set(found.again)}
        parts = {cpv: self.store.packages.recipe(one.sha256) for cpv, one in before.items()}
        return {
            cpv: changed(Recipe(cpv, parts[cpv]), found.recipes[cpv])
            for cpv in before
            if parts[cpv] and cpv in found.recipes
        }

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
