"""Builds as a page shows them: jobs in parts, and the logs they left."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance import log_pages
from appliance.build_story import (
    MOST_PAST,
    Ending,
    PackageStory,
    Reason,
    log_of,
    why_built,
    why_reused,
)
from appliance.errors import Problem
from appliance.farm_model import FailureRecord, Job, JobPackage
from appliance.log_pages import Found, LogPage
from appliance.model import Tree
from appliance.store import Store
from buildfarm.index import split_cpv
from buildfarm.key import Recipe, changed

STAMP = "%Y%m%dT%H%M%SZ"
MOST_FILES = 2000
TAIL_LINES = 30
MOST_ENDINGS = 20
"""Packages whose last lines are on the page of their build."""


@dataclass(frozen=True)
class LogFile:
    name: str
    """Relative to the room of the job."""
    size_bytes: int


class BuildDesk:
    """Reads only."""

    def __init__(self, tree: Tree, store: Store) -> None:
        self.tree = tree
        self.store = store

    def page(self, profile: str, state: str, *, limit: int, offset: int) -> Sequence[Job]:
        """Newest first."""
        return self.store.jobs.page(profile, state, limit=limit, offset=offset)

    def count(self, profile: str, state: str) -> int:
        return self.store.jobs.count(profile, state)

    def job(self, number: int) -> Job:
        found = self.store.jobs.get(number)
        if found is None:
            raise Problem(f"there is no job {number}", hint="the page Builds lists those there are")
        return found

    def numbers(self) -> dict[str, int]:
        """Profile -> its build that waits."""
        return {job.profile: job.id for job in self.store.jobs.waiting("build")}

    def packages(self, job: Job, *, limit: int, offset: int = 0) -> list[PackageStory]:
        """What a build did with each package, and why: those first that failed or are being built."""
        rows = self.store.job_packages.page(job.id, limit=limit, offset=offset)
        if not rows:
            return []
        logs, failures = self._package_logs(job), self.failures(job)
        return [self._story(job, one, logs.get(one.cpv, ""), failures.get(one.cpv)) for one in rows]

    def package_counts(self, job: Job) -> dict[str, int]:
        """State -> how many of its packages; `reused`: how many were not compiled."""
        return self.store.job_packages.count(job.id)

    def failures(self, job: Job) -> dict[str, FailureRecord]:
        """What is still known of the failures of its packages, by cpv: those whose logs are its own."""
        room = self._room(job)
        found = self.store.failures.all(job.profile) if room else []
        return {one.cpv: one for one in found if room and room.name in Path(one.log).parts}

    def endings(self, job: Job, stories: Iterable[PackageStory]) -> list[Ending]:
        """Of those that failed, with their last lines: from their logs when another try is under way."""
        failed = [one for one in stories if one.entry.state == "failed"][:MOST_ENDINGS]
        return [
            Ending(
                one.entry.cpv,
                f"{one.failure.kind.value}: {one.failure.evidence}" if one.failure else one.entry.said,
                one.failure.tail if one.failure else self._tail(job, one.log),
                one.log,
            )
            for one in failed
        ]

    def reasons(self, job: Job) -> list[Reason]:
        """Why nothing of a build was published, each with the log that tells more."""
        names = [one.name for one in self.logs(job)]
        said = job.reasons or ((job.message,) if job.message else ())
        return [Reason(one, log_of(one, names)) for one in said]

    def _tail(self, job: Job, log: str) -> str:
        return "\n".join(self.read(job, log).text.splitlines()[-TAIL_LINES:]) if log else ""

    def _story(self, job: Job, one: JobPackage, log: str, failure: FailureRecord | None) -> PackageStory:
        name = split_cpv(one.cpv)[0]
        if one.reused:
            return PackageStory(one, why_reused(self.store.packages.get(one.sha256)), log, (), failure)
        before = self.store.packages.newest_of(name, before=one.begun_at, but=one.sha256)
        was = self.store.packages.recipe(before.sha256) if before else {}
        now = self.store.packages.recipe(one.sha256)
        differs = changed(Recipe(before.cpv, was), Recipe(one.cpv, now)) if before and was and now else ()
        past = self.store.history.seconds_of(name, before=one.begun_at, limit=MOST_PAST)
        return PackageStory(one, why_built(one.cpv, before, differs), log, tuple(past), failure)

    def _package_logs(self, job: Job) -> dict[str, str]:
        """cpv -> name of its newest log; Portage ends its name with the second at which it began."""
        names = sorted(one.name for one in self.logs(job) if one.name.startswith("build/"))
        return {name.removeprefix("build/").rpartition(":")[0]: name for name in names}

    def logs(self, job: Job) -> list[LogFile]:
        """The packages' own ones last; empty when gc took them or nothing was written yet."""
        room = self._room(job)
        if room is None:
            return []
        found, real = [], room.resolve()
        for place in (*sorted(room.glob("*.*")), *sorted(room.glob("build/*/*.log"))):
            # A package writes here while it is built: its links lead nowhere.
            if place.is_file() and place.resolve() == real / place.relative_to(room):
                found.append(LogFile(str(place.relative_to(room)), place.stat().st_size))
        return found[:MOST_FILES]

    def read(self, job: Job, name: str, start: int | None = None) -> LogPage:
        try:
            return log_pages.page(self._log(job, name), start)
        except OSError as failed:
            raise self._unreadable(name, failed) from failed

    def search(self, job: Job, name: str, text: str, start: int = 0) -> Found:
        try:
            return log_pages.search(self._log(job, name), text, start)
        except OSError as failed:
            raise self._unreadable(name, failed) from failed

    def _unreadable(self, name: str, failed: OSError) -> Problem:
        return Problem(f"the log {name} cannot be read: {failed.strerror}")

    def _log(self, job: Job, name: str) -> Path:
        """Only what is listed is opened: a name leads nowhere else."""
        room = self._room(job)
        if room is None or name not in {one.name for one in self.logs(job)}:
            raise Problem(f"job {job.id} has no log {name}", hint="gc removes logs of old builds")
        return room / name

    def _room(self, job: Job) -> Path | None:
        """The directory that its build made when it began; they are named by profile and second."""
        logs = self.tree.path / "logs"
        if job.log:
            place = logs / Path(job.log).name
            return place if place.is_dir() else None
        prefix = f"build-{job.profile}-"
        first, last = int(job.started_at), job.ended_at
        for place in sorted(logs.glob(f"{prefix}*Z")):
            began = _seconds(place.name.removeprefix(prefix))
            if began is not None and first <= began and (last is None or began <= last):
                return place
        return None


def _seconds(stamp: str) -> float | None:
    try:
        return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
