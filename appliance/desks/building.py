"""One build of a profile, from current sources to a published release; and what other hosts build from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.backlog import leading_kind
from appliance.desks.backlog import BacklogDesk, flag_class
from appliance.desks.cluster import ClusterDesk
from appliance.desks.failures import FailureDesk
from appliance.desks.holds import HoldDesk
from appliance.desks.planning import PlanningDesk
from appliance.desks.releases import ReleaseDesk
from appliance.desks.remote import RemoteDesk
from appliance.desks.sync import SyncDesk
from appliance.desks.work import REFUSED, Work, failure_kind
from appliance.farm_model import Job, Release
from appliance.model import Tree
from appliance.site import find_profile
from appliance.site_model import Profile, Site
from buildfarm import reuse
from buildfarm.build import BuildResult, Progress, Tools, build_profile
from buildfarm.distfiles import fetch_reference
from buildfarm.preparing import Unresolved
from buildfarm.trial import Trials

DEBIAN_SOURCES = Path("metadata/debian-sources")


@dataclass(frozen=True)
class BuildingDesk:
    release_desk: ReleaseDesk
    sync: SyncDesk
    cluster: ClusterDesk
    backlog: BacklogDesk
    planning: PlanningDesk
    failures: FailureDesk
    holds: HoldDesk
    remote: RemoteDesk
    clock: Callable[[], float]

    def build(
        self, name: str, progress: Callable[[Progress], None], *, ticket: int | None = None, jobs: int = 0
    ) -> BuildResult:
        """Build a profile, publish the release when the gate lets it pass; one job of the farm.

        `ticket` is a waiting job that a message of the queue named: Unwanted when it does not wait any more.
        `jobs`: packages at a time, when the backlog allows less than the site.
        """
        site = self.release_desk.live.now()
        site = replace(site, jobs=jobs or site.jobs)
        profile = find_profile(site, name)
        self.sync.prepare(lambda text: progress(Progress("snapshot", text)), profile)
        job = self.backlog.take(profile, ticket).id
        jobs_of_farm = self.release_desk.store.jobs
        try:
            result = self._make(job, site, profile, progress)
        except BaseException as failure:
            if isinstance(failure, Unresolved):
                self.planning.note(name, failure.questions)
            message = f"{type(failure).__name__}: {failure}"
            kind = failure_kind(failure)
            jobs_of_farm.end(job, "failed", now=self.clock(), message=message, failure=kind)
            raise
        if result.release is not None:
            message = f"release {result.release.id}: {reuse.sentence(name, result.origins)}"
            jobs_of_farm.end(job, "done", now=self.clock(), message=message)
        else:
            cause = result.cause.value if result.cause else REFUSED
            jobs_of_farm.end(
                job,
                "failed",
                now=self.clock(),
                message="; ".join(result.reasons),
                log=result.logs.name if result.logs else "",
                failure=leading_kind([one.kind.value for one in result.failed] or [cause]),
                reasons=result.reasons,
            )
        return result

    def offer(self, job: Job, progress: Callable[[Progress], None]) -> None:
        """Make what a worker on another host builds a profile's packages from."""
        site = self.release_desk.live.now()
        profile = find_profile(site, job.profile)
        self.sync.prepare(lambda text: progress(Progress("snapshot", text)), profile)
        self._fetch_distfiles(site, progress)
        tools = Tools(
            take_snapshots=lambda repositories, room, regenerate: self.sync.snapshots(site), now=self.clock
        )
        self.remote.prepare(job.id, site, self.holds.masked(profile), progress, tools)

    def _make(
        self, job: int, site: Site, profile: Profile, progress: Callable[[Progress], None]
    ) -> BuildResult:
        """Build, and remember what came of it: a release is published when this returns one."""
        desk, name = self.release_desk, profile.name
        tools = Tools(
            take_snapshots=lambda repositories, room, regenerate: self.sync.snapshots(site),
            live_releases=desk.in_use,
            lend=self.cluster.lease,
            now=self.clock,
            not_due=self.failures.not_due,
            rehearse=self._rehearse,
        )
        with Work(desk.store, job, progress, clock=self.clock, flags=flag_class(profile)) as work:
            self._fetch_distfiles(site, work.report)
            masked = self.holds.masked(profile)
            result = build_profile(site, masked, desk.tree, work, work.report, tools=tools)
        self.failures.note(name, result.failed, keys=result.keys, built=result.built)
        if result.questions is not None:
            self.planning.note(name, result.questions)
        if result.release is not None:
            desk.publish(result.release, origins=result.origins)
            self.failures.hold(name, result.held)
            if result.fresh:
                Trials(desk.tree.room("trials")).prune(desk.in_use())
        return result

    def _rehearse(self, stage: Tree, release: Release) -> str:
        from appliance.rehearsal import rehearse  # which makes Services of its own

        return rehearse(self.release_desk.live.path, self.release_desk.tree, stage, release)

    def _fetch_distfiles(self, site: Site, progress: Callable[[Progress], None]) -> None:
        for repository in site.repositories:
            if repository.location and (repository.location / DEBIAN_SOURCES).is_file():
                fetch_reference(
                    repository.location,
                    self.release_desk.tree,
                    lambda text: progress(Progress("distfiles", text)),
                )
