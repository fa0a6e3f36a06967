"""The backlog: what is to be built, by whom now, in which order next, and when it will be done."""

import hashlib
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.backlog import Decision, Expected, Rules, Running, Task, gives_way, retry_at, schedule
from appliance.errors import Problem
from appliance.farm_model import Job
from appliance.forecast import Forecast, drained_at, forecast
from appliance.live import LiveSite
from appliance.site_model import Profile
from appliance.store import Store
from appliance.store.history import DEFAULT_BYTES
from appliance.store.jobs import Wanted
from buildfarm.order import processors

KIND = "build"
WARM = "warm"
"""A job of a worker on another host: it builds packages, and the build here reuses them."""
RECENT = 5
MEMORY_SHARE = 0.8
"""Of the machine's memory, when the site does not say how much builds may have."""
STOPPED = "stopped: newer inputs waited longer than the staleness bound"


class Unwanted(Exception):
    """A message of the queue named a job that somebody has done or replaced meanwhile."""


@dataclass(frozen=True)
class Board:
    """The backlog as a person sees it."""

    now: float
    running: tuple[Job, ...]
    waiting: tuple[Decision, ...]
    """In their order; one that `starts` is only waiting for its worker to take it."""
    forecasts: tuple[Forecast, ...]
    replaced: tuple[Job, ...]
    failed: tuple[Job, ...]

    @property
    def drained_at(self) -> float:
        return drained_at(self.forecasts, self.now)

    def ends_at(self, profile: str) -> float:
        return max(one.ends_at for one in self.forecasts if one.profile == profile)


class BacklogDesk:
    def __init__(
        self,
        live: LiveSite,
        store: Store,
        clock: Callable[[], float],
        sources: Callable[[], str],
        advisories: Callable[[Profile], Mapping[str, str]] = lambda profile: {},
        masked: Callable[[Profile], Profile] = lambda profile: profile,
    ) -> None:
        self.live = live
        self.store = store
        self.clock = clock
        self.sources = sources
        """A hash of all repositories as they are now."""
        self.advisories = advisories
        """What is vulnerable in a profile: its build goes first."""
        self.masked = masked
        """A profile of the site with what persons keep out of it."""

    def rules(self) -> Rules:
        site = self.live.now()
        return Rules(
            workers=site.farm.workers,
            memory_bytes=site.farm.memory_bytes or int(MEMORY_SHARE * machine_memory()),
            staleness_seconds=site.farm.staleness_seconds,
            jobs=site.jobs or processors(),
        )

    def inputs(self, profile: Profile, sources: str = "") -> str:
        """A hash of a profile and the repositories it is built from: another one is a reason to build."""
        text = f"{self.masked(profile)!r}\n{sources or self.sources()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def wanted(self) -> list[Wanted]:
        """Every profile with something to build: made from other inputs, interrupted, never built, failed.

        All of it is read from the state, so it is the same after the queue was lost.
        """
        sources = self.sources()
        jobs = self.rules().jobs
        found = (self._wanted(one, sources, jobs) for one in self.live.now().profiles.values())
        return [one for one in found if one]

    def due(self) -> list[str]:
        """Profiles to build now."""
        return [one.profile for one in self.wanted() if one.not_before <= self.clock()]

    def _wanted(self, profile: Profile, sources: str, jobs: int, *, again: bool = False) -> Wanted | None:
        """None when there is nothing to build; `again`: build it all the same."""
        now, inputs = self.clock(), self.inputs(profile, sources)
        recent = self.store.jobs.recent(KIND, profile.name)
        last = recent[0] if recent else None
        failed = last is not None and last.state in ("failed", "interrupted")
        # While it is built a person's wish waits: that build may be what they hoped for, and another follows.
        asked = self.store.build_requests.get(profile.name) if not last or last.state != "running" else None
        if last and last.inputs == inputs and not (failed or again or asked):
            return None
        wanted = Wanted(
            profile.name,
            inputs,
            now,
            self.store.plans.get(profile.name, inputs) or self._expected(recent, jobs),
            security=bool(self.advisories(profile)),
            work=self._work(profile, sources),
        )
        if last and failed:
            since, successor = min(last.wanted_at, now), last.successor and last.state == "interrupted"
            wanted = replace(wanted, since=since, successor=successor)
            wanted = self._retry(wanted, recent, jobs) if last.inputs == inputs else wanted
        return replace(wanted, not_before=0.0) if asked else wanted

    def _retry(self, wanted: Wanted, recent: list[Job], most: int) -> Wanted:
        """When the inputs that failed are tried again, and with how many packages at a time."""
        last, kind = recent[0], kind_of(recent[0])
        times = _row(recent, lambda one: (kind_of(one), one.inputs) == (kind, last.inputs))
        # A clock that went back must not put a retry off for ever.
        ended_at = min(last.ended_at or self.clock(), self.clock())
        jobs = max(1, (last.max_jobs or most) // 2) if kind == "memory" else last.max_jobs
        return replace(wanted, not_before=retry_at(kind, times, ended_at), jobs=jobs)

    def _expected(self, recent: Iterable[Job], jobs: int) -> Expected:
        ended = [one for one in recent if one.state in ("done", "failed") and one.ended_at is not None]
        seconds = [(one.ended_at or 0.0) - one.started_at for one in ended if one.state == "done"][:RECENT]
        peaks = [one.peak_bytes for one in ended if one.peak_bytes][:RECENT]
        return Expected(
            max(0.0, statistics.median(seconds)) if seconds else Expected().seconds,
            max(peaks) if peaks else DEFAULT_BYTES * jobs,
        )

    def _work(self, profile: Profile, sources: str) -> frozenset[str]:
        """The flag class on these repositories, until one profile of it is done.

        Then most of what its other profiles need is in the pool, and each goes on to its own packages; two
        that still need the same one find out by their claims on it.
        """
        label = f"{flag_class(profile)}:{sources[:16]}"
        return frozenset() if self.store.jobs.has_done(KIND, label) else frozenset({label})

    def refresh(self) -> None:
        """Make the waiting jobs those that the state asks for."""
        now, wanted = self.clock(), {one.profile: one for one in self.wanted()}
        with self.store.database.change():
            for one in wanted.values():
                self.store.jobs.wait(KIND, one, now=now)
            for job in self.store.jobs.waiting(KIND):
                if job.profile not in wanted:
                    self.store.jobs.end(job.id, "replaced", now=now, message="there is nothing to build")
            for job in self._running():
                if job.profile in wanted:
                    self.store.jobs.supersede(job.id, now=now)

    def decide(self, released: Iterable[int] = (), *, elsewhere: int = 0) -> list[tuple[Job, Decision]]:
        """Waiting jobs in their order, with what happens to each.

        `released`: already given to a worker. `elsewhere`: so many workers on other hosts are free, and the
        question is what starts there, each inputs once; memory here does not matter for that.
        """
        now, rules, taken = self.clock(), self.rules(), set(released)
        waiting = {job.profile: job for job in self.store.jobs.waiting(KIND)}
        warming = self.warming()
        inside = [running_of(job) for job in self._running()]
        inside += [Running(task_of(job), now) for job in waiting.values() if job.id in taken]
        inside += [Running(_weightless(task_of(job)), now) for job in warming.values()]
        rules = replace(rules, workers=rules.workers + len(warming))
        if elsewhere:
            rules = replace(rules, workers=len(inside) + elsewhere, memory_bytes=ENDLESS)
        open_ = [job for job in waiting.values() if job.id not in taken and job.profile not in warming]
        if elsewhere:
            open_ = [job for job in open_ if not self._was_elsewhere(job)]
        decisions = schedule(map(task_of, open_), inside, rules, now)
        return [(waiting[one.task.profile], one) for one in decisions]

    def _was_elsewhere(self, build: Job) -> bool:
        """Whether these inputs of a profile were with a worker on another host: now they are built here."""
        return any(job.inputs == build.inputs for job in self.store.jobs.recent(WARM, build.profile))

    def warming(self) -> dict[str, Job]:
        """Profile -> the job of a worker on another host that builds its packages, or is asked to."""
        running = [job for job in self.store.jobs.running() if job.kind == WARM]
        return {job.profile: job for job in (*self.store.jobs.waiting(WARM), *running)}

    def stale(self) -> list[Job]:
        """Running builds that must make way for newer inputs."""
        now, rules = self.clock(), self.rules()
        return [job for job in self._running() if gives_way(running_of(job), rules, now)]

    def stop(self, job: Job) -> None:
        """Note that a running build makes way; whoever started it ends its process."""
        with self.store.database.change():
            self.store.jobs.end(job.id, "replaced", now=self.clock(), message=STOPPED)
            for waiting in self.store.jobs.waiting(KIND, job.profile):
                self.store.jobs.succeed(waiting.id)

    def take(self, profile: Profile, job: int | None = None) -> Job:
        """Make the build of a profile this process's own, with the inputs as they are now.

        Raises Unwanted when `job`, from a message, is not waiting any more; Problem when it is being built.
        """
        now = self.clock()
        self.store.jobs.interrupt_dead(now=now)
        with self.store.database.change():
            asked = self.store.jobs.get(job) if job is not None else None
            if job is not None and (asked is None or asked.state != "waiting"):
                raise Unwanted(f"job {job} of profile {profile.name} is not waiting any more")
            wanted = self._wanted(profile, self.sources(), self.rules().jobs, again=True)
            assert wanted
            own = self.store.jobs.wait(KIND, wanted, now=now)
            if not self.store.jobs.claim(own, now=now):
                raise Problem(
                    f"profile {profile.name} is being built already", hint="`distserver queue` shows how far"
                )
            self.store.build_requests.remove(profile.name)
            taken = self.store.jobs.get(own)
            assert taken
            return taken

    def board(self) -> Board:
        """What `distserver queue` shows. It changes nothing and may be asked by anybody."""
        now, rules = self.clock(), self.rules()
        inside = [running_of(job) for job in self._running()]
        waiting = [one for _, one in self.decide()]
        warming = self.warming()
        waiting += [
            Decision(task_of(job), False, _elsewhere(warming[job.profile]))
            for job in self.store.jobs.waiting(KIND)
            if job.profile in warming
        ]
        jobs = self.store.jobs.all(200)
        last = {job.profile: job for job in reversed(jobs) if job.kind == KIND and job.state not in HIDDEN}
        return Board(
            now=now,
            running=tuple(self._running()),
            waiting=tuple(waiting),
            forecasts=forecast([one.task for one in waiting], inside, rules, now),
            replaced=tuple([job for job in jobs if job.kind == KIND and job.state == "replaced"][:RECENT]),
            failed=tuple(job for _, job in sorted(last.items()) if job.state in ("failed", "interrupted")),
        )

    def _running(self) -> list[Job]:
        return [job for job in self.store.jobs.running() if job.kind == KIND]


HIDDEN = ("waiting", "replaced")
ENDLESS = 1 << 62


def _weightless(task: Task) -> Task:
    """A task whose memory another host has."""
    return replace(task, expected=replace(task.expected, memory_bytes=0))


def _elsewhere(job: Job) -> str:
    if job.state == "waiting":
        return "its packages are offered to a worker on another host"
    said = f": {job.message}" if job.message else ""
    return f"{job.owner.partition('@')[0]} builds its packages{said}"


def kind_of(job: Job) -> str:
    """What the retry table calls its end; empty when it did not fail."""
    if job.state == "interrupted":
        return job.state
    return (job.failure or "unknown") if job.state == "failed" else ""


def _row(recent: Iterable[Job], alike: Callable[[Job], bool]) -> int:
    """How many of the newest are alike without a break."""
    count = 0
    for job in recent:
        if not alike(job):
            break
        count += 1
    return count


def task_of(job: Job) -> Task:
    return Task(
        profile=job.profile,
        inputs=job.inputs,
        since=job.wanted_at,
        expected=Expected(job.expected_seconds, job.expected_bytes),
        security=job.security,
        work=frozenset(job.work),
        not_before=job.not_before,
        jobs=job.max_jobs,
    )


def running_of(job: Job) -> Running:
    return Running(task_of(job), job.started_at, job.superseded_at, job.successor)


def flag_class(profile: Profile) -> str:
    """The same for profiles that start from the same stage with the same compiler settings."""
    settings = profile.portage.get("make.conf", b"").decode(errors="surrogateescape")
    parts = (profile.stage, profile.chost, profile.portage_profile, settings)
    return hashlib.sha256(repr(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def machine_memory() -> int:
    """Bytes of memory of this machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0
