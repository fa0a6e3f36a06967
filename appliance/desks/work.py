"""A build under way: its claims on packages, how far it is, and what each package cost."""

import errno
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from appliance import farm_model
from appliance.backlog import span
from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.process import own_name
from appliance.run import CommandFailed
from appliance.store import Store
from appliance.store.history import Effort, Subject
from buildfarm.index import split_cpv
from buildfarm.meter import Figures, Meter, Tally
from buildfarm.order import Progress, Report
from buildfarm.preparing import Unresolved
from buildfarm.root import Busy

LOOK_AGAIN_SECONDS = 1.0
REFUSED = "gate"
"""The kind of a failure when every package is there, and the gate or a trial says no."""


class Work:
    """The ledger of one build: what another build makes right now is waited for and then reused."""

    def __init__(
        self,
        store: Store,
        job: int,
        report: Report,
        *,
        clock: Callable[[], float],
        flags: str = "",
        look_again_seconds: float = LOOK_AGAIN_SECONDS,
    ) -> None:
        """`flags` is the flag class of the profile: what its packages cost is remembered under it."""
        self.store = store
        self.job = job
        self.clock = clock
        self.owner = own_name()
        self._report = report
        self._look_again_seconds = look_again_seconds
        self._claimed: set[str] = set()
        self.made: dict[str, Package] = {}
        """cpv -> package of everything this build put into the pool."""
        self._flags = flags
        self._seconds: dict[str, float] = {}
        self._offered: dict[str, str] = {}
        """cpv -> sha256 of what was known under the wanted keys."""
        self._meter = Meter()

    def __enter__(self) -> "Work":
        self._meter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._meter.__exit__(kind, error, trace)
        with self.store.database.change():
            self.store.claims.release(self.owner)
            self.account(self._meter.tally)

    def known(self, keys: Mapping[str, str]) -> Sequence[Package]:
        """Packages of the pool that will do; returns when nobody else is building one that is missing.

        Only build keys are claimed: a neutral key may turn out to be nobody's, and whoever shares no flags
        would wait for nothing.
        """
        begun, told, idle = self.clock(), "", threading.Event()
        while True:
            found = self.store.packages.known({*keys, *keys.values()})
            there = {key for one in found for key in (one.build_key, one.neutral_key) if key}
            missing = {key for key, neutral in keys.items() if there.isdisjoint((key, neutral))}
            others = self.store.claims.take(missing, self.owner, now=self.clock())
            self._offered |= {one.cpv: one.sha256 for one in found}
            if not others:
                self._claimed |= missing
                if told:
                    waited = f"the other build is done, waited {span(self.clock() - begun)}"
                    self.report(Progress("plan", waited))
                return found
            if self._claimed:
                # Waiting with claims of one's own, two builds could wait for each other for ever.
                return found
            if told != (told := self._whose(others)):
                self.report(Progress("plan", f"waiting: {told} builds {len(others)} of the same packages"))
            idle.wait(self._look_again_seconds)

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        self.store.packages.remember(package, parts)
        self.made[package.cpv] = package
        self.store.job_packages.made(self.job, package.cpv, package.sha256)

    def forget(self, sha256: str) -> None:
        self.store.packages.forget(sha256)

    def report(self, progress: Progress) -> None:
        """Pass it on, and keep it where `distserver queue` finds it."""
        if progress.package and progress.seconds is not None:
            self._seconds[progress.package] = progress.seconds
        with self.store.database.change():
            self._note(progress)
            self.store.jobs.note(self.job, str(progress))
        self._report(progress)

    def _note(self, progress: Progress) -> None:
        """Keep what emerge does with each package."""
        cpv, status = progress.package, progress.status
        if progress.step != "packages" or not cpv:
            return
        rows, now = self.store.job_packages, self.clock()
        if status == "begin":
            reused = progress.message.endswith("binary")
            sha256 = self._offered.get(cpv, "") if reused else ""
            rows.begin(self.job, cpv, reused=reused, sha256=sha256, now=now)
        elif status in ("done", "failed"):
            said = progress.message if status == "failed" else ""
            rows.end(self.job, cpv, status, seconds=progress.seconds, said=said, now=now)

    def account(self, tally: Tally) -> None:
        """Remember what the build and each package it made cost."""
        self.store.jobs.measure(self.job, tally.peak_bytes)
        seen = tally.figures()
        for cpv, package in sorted(self.made.items()):
            figures = seen.get(cpv, Figures(0.0, 0.0, 0, ""))
            effort = Effort(self._seconds.get(cpv, figures.seconds), figures.cpu_seconds, figures.peak_bytes)
            noted = farm_model.Figures(effort.seconds, effort.cpu_seconds, effort.peak_bytes)
            self.store.packages.measured(package.sha256, noted)
            subject = Subject(split_cpv(cpv)[0], build_key=package.build_key, flags=self._flags)
            self.store.history.record(subject, effort, at=self.clock())

    def _whose(self, others: dict[str, str]) -> str:
        owners = set(others.values())
        names = sorted({job.profile for job in self.store.jobs.running() if job.owner in owners})
        return ", ".join(names) or ", ".join(sorted(owners))


def failure_kind(failure: BaseException) -> str:
    """The kind of a failure that was no package's."""
    if isinstance(failure, KeyboardInterrupt):
        return "interrupted"
    if isinstance(failure, Unresolved):
        return "resolver"
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return "disk"
    if isinstance(failure, MemoryError):
        return "memory"
    if isinstance(failure, Problem):
        return "busy" if isinstance(failure, Busy) else "problem"
    if isinstance(failure, CommandFailed) and "No space left on device" in failure.output:
        return "disk"
    return "unknown"
