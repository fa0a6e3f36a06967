"""What a waiting build will probably take: planned while it waits, by Portage's resolver and by history."""

from collections.abc import Container, Iterable
from dataclasses import dataclass

from appliance.backlog import Expected, build_seconds
from appliance.desks.backlog import BacklogDesk, flag_class
from appliance.desks.planning import PlanningDesk
from appliance.errors import Problem
from appliance.farm_model import Job
from appliance.site import find_profile
from appliance.store import Store
from appliance.store.history import Subject
from buildfarm.fetching import dists_of
from buildfarm.index import split_cpv
from buildfarm.preview import Preview


@dataclass(frozen=True)
class ForesightDesk:
    store: Store
    backlog: BacklogDesk
    planning: PlanningDesk

    def unforeseen(self, released: Iterable[int] = (), asked: Container[int] = ()) -> Job | None:
        """The first waiting build that cannot start yet, has no plan and is not among those `asked` for."""
        for job, decision in self.backlog.decide(released):
            if (
                decision.crowded
                and job.id not in asked
                and self.store.plans.get(job.profile, job.inputs) is None
            ):
                return job
        return None

    def foresee(self, number: int) -> Expected | None:
        """Plan a waiting build and note what it will probably take; None when it waits no more."""
        job = self.store.jobs.get(number)
        if job is None or job.state != "waiting":
            return None
        profile = find_profile(self.planning.live.now(), job.profile)
        try:
            found = self.planning.foresee(profile)
        except Problem:
            expected = Expected()  # the build itself will say what is wrong
        else:
            expected = self.expect(found, flag_class(profile))
        self.store.plans.put(job.profile, job.inputs, expected.seconds, expected.memory_bytes)
        return expected

    def expect(self, found: Preview, flags: str) -> Expected:
        """The longer of its critical path and its work divided by the packages at a time."""
        jobs = self.backlog.rules().jobs
        keys = found.keys
        chosen = {choice.cpv: choice.needs for choice in found.resolution.choices}
        build = [cpv for cpv in keys if cpv not in found.known and (cpv in chosen or cpv in found.again)]
        efforts = {
            cpv: self.store.history.estimate(
                Subject(split_cpv(cpv)[0], keys[cpv], flags, _source_bytes(found, cpv))
            )
            for cpv in build
        }
        seconds = {cpv: effort.seconds for cpv, effort in efforts.items()}
        peaks = sorted((effort.peak_bytes for effort in efforts.values()), reverse=True)
        return Expected(build_seconds(seconds, chosen, jobs), sum(peaks[:jobs]))


def _source_bytes(found: Preview, cpv: str) -> int:
    return sum(dist.size_bytes for dist in dists_of(found.recipes[cpv]))
