"""The farm's loop: finds what is due, releases it in order, keeps workers busy, stops what is stale."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

from appliance.backlog import GIB
from appliance.process import parent_of, process_id
from appliance.queue import BUILDS, WARM, Queue, Workers, farm_secret, open_huey
from appliance.run import run
from appliance.services import Services

log = logging.getLogger(__name__)

STEP_SECONDS = 1.0
LOST_SECONDS = 10.0
"""A released job that is neither in the queue nor with a worker for so long is released again."""
HEALTH_SECONDS = 10.0
ANY_STATUS = range(-255, 256)
FIRST_COLLECT_SECONDS = 3600.0
COLLECT_SECONDS = 24 * 3600.0


class Foreman:
    """One for each state directory. What it knows besides the store may be lost at any moment."""

    def __init__(
        self,
        services: Services,
        argv: Callable[[int, int], Sequence[str]],
        *,
        look_seconds: float,
        lost_seconds: float = LOST_SECONDS,
        plan: Callable[[int], Sequence[str]] | None = None,
    ) -> None:
        """`argv(job, jobs)` is the program that does one job, in a process of its own.

        For the job of a worker on another host it makes the bundle, or ends the job as failed. `plan(job)` is
        the program that finds out what a waiting build will take.
        """
        self.services = services
        self.argv = argv
        self.plan = plan
        self.look_seconds = look_seconds
        self.lost_seconds = lost_seconds
        self.bell = threading.Event()
        self._in_hand: set[int] = set()
        self.foreseeing = False
        self._foreseen: set[int] = set()
        self._released: dict[int, float] = {}
        self._ended = False
        self._look_at = 0.0
        self._asked = 0
        self._collect_at = time.monotonic() + FIRST_COLLECT_SECONDS
        tree, settings = services.tree, services.live.now().farm
        self.huey = open_huey(settings.queue, tree, farm_secret(tree))
        self.queue = Queue(self.huey, BUILDS, self._do)
        self.workers = Workers(self.huey, settings.workers)
        self._offered: dict[int, float] = {}
        self._preparing: set[int] = set()
        self.warm: Queue | None = None
        if settings.port and settings.queue != "sqlite":
            # Nobody does these here: the workers on other hosts have the other end of this queue.
            self.warm = Queue(open_huey(settings.queue, tree, farm_secret(tree), WARM), WARM, self._do)

    def run(self) -> None:
        """Work until the process is ended; its children end with it."""
        self.workers.start()
        healthy_at = time.monotonic()
        while True:
            self.step()
            if time.monotonic() - healthy_at > HEALTH_SECONDS:
                healthy_at = time.monotonic()
                self.workers.check_worker_health()
            self.bell.wait(STEP_SECONDS)
            self.bell.clear()

    def look(self) -> None:
        """Find what is due now and not at the next look; from any thread."""
        self._ended = True
        self.bell.set()

    def step(self) -> None:
        """Compare what should be with what is, once; whatever goes wrong is logged and tried again."""
        try:
            dead = self.services.store.jobs.interrupt_dead(now=self.services.clock())
            # A person who asks for a build does not wait for the next look.
            before, self._asked = self._asked, self.services.store.build_requests.newest()
            asked = self._asked not in (0, before)
            if dead or asked or self._ended or time.monotonic() >= self._look_at:
                self._ended = False
                self._look_at = time.monotonic() + self.look_seconds
                self.services.backlog.refresh()
                self.services.release_desk.promote_due()
            self._stop_stale()
            self._release()
            self._foresee()
            self._collect()
            if self.warm:
                self._offer(self.warm)
        except Exception:
            log.exception("the farm goes on")

    def _foresee(self) -> None:
        """Plan the first build that waits for a worker: what it will take decides its place in the order."""
        if self.plan is None or self.foreseeing:
            return
        job = self.services.foresight.unforeseen(self._released, self._foreseen)
        if job:
            self._foreseen.add(job.id)
            self.foreseeing = True
            threading.Thread(target=self._plan, args=(self.plan(job.id),), daemon=True).start()

    def _plan(self, argv: Sequence[str]) -> None:
        """In a process of its own, beside the loop: Portage's resolver takes its time."""
        try:
            run(argv, on_line=lambda line: log.info("%s", line), ok=ANY_STATUS)
        finally:
            self.foreseeing = False
            self.look()

    def _collect(self) -> None:
        """Once a day, while nothing is built, remove what nothing names any more."""
        if time.monotonic() < self._collect_at or self._in_hand:
            return
        self._collect_at = time.monotonic() + COLLECT_SECONDS
        gone = [fate for fate in self.services.release_desk.collect(dry_run=False) if fate.goes]
        if gone:
            log.info("gc removed %d things, %.1f GiB", len(gone), sum(one.size_bytes for one in gone) / GIB)

    def _release(self) -> None:
        """Give those that may start to the queue."""
        backlog, now = self.services.backlog, time.monotonic()
        waiting = {job.id for job in self.services.store.jobs.waiting("build")}
        self._released = {job: at for job, at in self._released.items() if job in waiting}
        old = {job for job, at in self._released.items() if now - at >= self.lost_seconds}
        for lost in sorted(old - self.queue.pending() - self._in_hand if old else ()):
            log.warning("the queue lost job %d, it is put in again", lost)
            del self._released[lost]
        for place, (job, decision) in enumerate(backlog.decide(self._released)):
            if decision.starts:
                log.info("%s: starting, %s", job.profile, decision.why)
                self.queue.put(job.id, decision.jobs, priority=-place)
                self._released[job.id] = now

    def _offer(self, queue: Queue) -> None:
        """Give workers on other hosts what nobody here is free for; they build packages, not releases."""
        remote, now = self.services.remote, time.monotonic()
        remote.close_idle()
        free = remote.free()
        for build, decision in self.services.backlog.decide(self._released, elsewhere=free) if free else ():
            if decision.starts:
                log.info("%s: offered to workers on other hosts", build.profile)
                remote.open(build)
        waiting = {job.id for job in self.services.store.jobs.waiting(WARM)}
        self._offered = {job: at for job, at in self._offered.items() if job in waiting}
        old = {job for job, at in self._offered.items() if now - at >= self.lost_seconds}
        for lost in old - queue.pending() if old else ():
            del self._offered[lost]
        for job in sorted(waiting - set(self._offered) - self._preparing):
            if remote.is_prepared(job):
                queue.put(job, 0, priority=-job)
                self._offered[job] = now
            else:
                self._preparing.add(job)
                threading.Thread(target=self._prepare, args=(job,), daemon=True).start()

    def _prepare(self, job: int) -> None:
        """Stage and snapshots may have to be made first: in a process of its own, beside the loop."""
        try:
            run(self.argv(job, 0), on_line=lambda line: log.info("%s", line), ok=ANY_STATUS)
        finally:
            self._preparing.discard(job)
            self.bell.set()

    def _stop_stale(self) -> None:
        for job in self.services.backlog.stale():
            pid = process_id(job.owner)
            if pid is None or parent_of(pid) != os.getpid():
                continue  # a person started it
            log.info("%s: stopped for newer inputs", job.profile)
            self.services.backlog.stop(job)
            os.kill(pid, signal.SIGTERM)

    def _do(self, job: int, jobs: int) -> None:
        """One job, in a worker's thread: a process of its own may crash or run out of memory alone."""
        self._in_hand.add(job)
        try:
            finished = run(self.argv(job, jobs), on_line=lambda line: log.info("%s", line), ok=ANY_STATUS)
            if finished.status < 0:
                log.warning("the process of job %d was ended by signal %d", job, -finished.status)
        finally:
            self._in_hand.discard(job)
            self._ended = True
            self.bell.set()
