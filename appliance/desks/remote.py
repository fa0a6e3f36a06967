"""Workers on other hosts: what they are offered, what they claim, and what is taken from them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.desks.backlog import WARM, Unwanted
from appliance.errors import Problem
from appliance.farm_model import Figures, Job, Package
from appliance.model import Tree
from appliance.site_model import Profile, Site
from appliance.store import Store
from appliance.store.history import Effort, Subject
from appliance.store.jobs import Wanted
from appliance.wire import pack
from buildfarm import gpkg, index, neutral, warming
from buildfarm.key import Recipe, build_key, neutral_key
from buildfarm.order import PackageLedger, Report, Tools, take_order
from buildfarm.pool import Pool

LEASE_SECONDS = 60.0
"""A worker that is not heard of for so long has lost its job."""
HEX = re.compile(r"[0-9a-f]{64}")
DISTFILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.@~-]*")


@dataclass(frozen=True)
class Known:
    """What a worker need not build: packages of the pool, and whom it waits for."""

    packages: tuple[Package, ...]
    waits_for: str = ""


class Refused(Exception):
    """Something a worker sent that does not enter the pool, and why."""


class RemoteDesk:
    def __init__(self, store: Store, tree: Tree, clock: Callable[[], float]) -> None:
        self.store = store
        self.tree = tree
        self.clock = clock

    @property
    def pool(self) -> Pool:
        return Pool(self.tree.room("pool").resolve())

    # the farm's side

    def active(self) -> list[Job]:
        """Jobs that are offered to workers or with one of them."""
        running = [job for job in self.store.jobs.running() if job.kind == WARM]
        return [*running, *self.store.jobs.waiting(WARM)]

    def free(self) -> int:
        """Workers that have nothing to do."""
        return max(0, len(self.store.workers.alive(now=self.clock())) - len(self.active()))

    def open(self, build: Job) -> int:
        """A job for a worker, beside a build that waits."""
        wanted = Wanted(build.profile, build.inputs, build.wanted_at, work=frozenset(build.work))
        return self.store.jobs.wait(WARM, wanted, now=self.clock())

    def prepare(
        self, job: int, site: Site, profile: Profile, report: Report, tools: Tools | None = None
    ) -> None:
        """Make the bundle of a job: stage, snapshots and configuration as they are now."""
        order = take_order(site, profile, self.tree, ledger=_Nobody(), report=report, tools=tools or Tools())
        offered = warming.offer(order)
        files = {sha256: str(file) for sha256, file in offered.files.items()}
        _write(self._room / f"{job}.files", json.dumps(files).encode())
        _write(self._room / f"{job}.bundle", pack(offered.bundle))

    def is_prepared(self, job: int) -> bool:
        return (self._room / f"{job}.bundle").exists()

    def close_idle(self) -> None:
        """End jobs that nobody will take, and forget the bundles of those that ended."""
        if not self.store.workers.alive(now=self.clock()):
            for job in self.store.jobs.waiting(WARM):
                self.store.jobs.end(job.id, "replaced", now=self.clock(), message="no worker is there")
        active = {job.id for job in self.active()}
        for file in self._room.iterdir():
            if file.suffix in (".files", ".bundle") and int(file.stem) not in active:
                file.unlink(missing_ok=True)

    # the workers' side; `worker` is the name it signed with

    def beat(self, worker: str, job: int) -> bool:
        """It is there, and still at this job (0: none); False when the job is not its own any more."""
        now = self.clock()
        self.store.workers.seen(worker.partition("@")[0], now=now)
        self.store.claims.renew(worker, until=now + LEASE_SECONDS)
        return not job or self.store.jobs.lease(job, worker, until=now + LEASE_SECONDS)

    def take(self, worker: str, job: int) -> bytes:
        """Make a job the worker's own; returns its bundle. Raises Unwanted."""
        now = self.clock()
        bundle = self._room / f"{job}.bundle"
        row = self.store.jobs.get(job)
        if row is None or row.kind != WARM or not bundle.exists():
            raise Unwanted(f"job {job} is not offered")
        content = bundle.read_bytes()
        with self.store.database.change():
            if not self.store.jobs.claim(job, now=now, owner=worker):
                raise Unwanted(f"job {job} is {row.state}")
            self.store.jobs.lease(job, worker, until=now + LEASE_SECONDS)
        return content

    def known(self, worker: str, job: int, keys: Mapping[str, str]) -> Known:
        """Packages that will do (build key -> neutral key). The worker has claims on the others then."""
        self._own(worker, job)
        now = self.clock()
        found = self.store.packages.known({*keys, *keys.values()})
        there = {key for one in found for key in (one.build_key, one.neutral_key) if key}
        missing = {key for key, neutral in keys.items() if there.isdisjoint((key, neutral))}
        others = self.store.claims.take(missing, worker, now=now, until=now + LEASE_SECONDS)
        return Known(tuple(found), ", ".join(sorted(set(others.values()))))

    def blob(self, sha256: str) -> Path | None:
        """A file that some offered bundle names, or a package."""
        if not HEX.fullmatch(sha256):
            return None
        for listing in sorted(self._room.glob("*.files")):
            files: dict[str, str] = json.loads(listing.read_text())
            if sha256 in files:
                return Path(files[sha256])
        return self.pool.file(sha256) if self.pool.holds(sha256) else None

    def distfile(self, name: str) -> Path | None:
        file = self.tree.room("distfiles").resolve() / name
        return file if DISTFILE.fullmatch(name) and file.is_file() and not file.is_symlink() else None

    def sweep(self) -> None:
        """Remove what a killed door had half received."""
        for file in self.incoming().glob("*"):
            file.unlink(missing_ok=True)

    def incoming(self) -> Path:
        """Where what a worker sends is written before it is looked at; on the pool's file system."""
        return self.tree.room("pool").resolve() / ".incoming"

    def enter(self, package: Package, parts: Mapping[str, str], file: Path) -> Package:
        """Look at a finished package and put it into the pool; raises Refused. The store is not touched."""
        check_package(package, parts, file)
        try:
            sums = self.pool.add(file)
        except Problem as broken:
            raise Refused(broken.message) from broken
        fields = index.parse_paragraph(package.index_entry)
        entry = index.without_path(fields, sums.fields())
        recipe = Recipe(package.cpv, parts)
        return replace(
            package,
            sha256=sums.sha256,
            size_bytes=sums.size_bytes,
            index_entry=entry,
            neutral_key="" if neutral.why_not(file, recipe) else neutral_key(recipe),
        )

    def remember(
        self, worker: str, job: int, package: Package, parts: Mapping[str, str], effort: Effort
    ) -> None:
        """Note what entered the pool and what it cost. The same package again changes nothing."""
        self._own(worker, job)
        self.store.packages.remember(package, parts)
        figures = Figures(effort.seconds, effort.cpu_seconds, effort.peak_bytes)
        self.store.packages.measured(package.sha256, figures)
        if not effort.seconds:
            # Left over from a build that was killed: nobody saw how long it took, and 0 is no estimate.
            return
        subject = Subject(index.split_cpv(package.cpv)[0], build_key=package.build_key)
        self.store.history.record(subject, effort, at=self.clock())

    def note(self, worker: str, job: int, message: str) -> None:
        self._own(worker, job)
        self.store.jobs.note(job, message[:1000])

    def end(self, worker: str, job: int, state: str, message: str) -> None:
        """The worker is done with a job: `done` or `failed`. The build itself happens here in any case."""
        self._own(worker, job)
        if state not in ("done", "failed"):
            raise Refused(f"a job ends as done or failed, not as {state!r}")
        with self.store.database.change():
            self.store.claims.release(worker)
            self.store.jobs.end(job, state, now=self.clock(), message=message[:1000])

    def _own(self, worker: str, job: int) -> Job:
        row = self.store.jobs.get(job)
        if row is None or row.kind != WARM or row.state != "running" or row.owner != worker:
            raise Unwanted(f"job {job} is not with {worker} any more")
        return row

    @property
    def _room(self) -> Path:
        return self.tree.room("orders").resolve()


def check_package(package: Package, parts: Mapping[str, str], file: Path) -> None:
    """Compare what a worker says of a package with the package; raises Refused."""
    if build_key(Recipe(package.cpv, parts)) != package.build_key:
        raise Refused(f"{package.cpv}: its build key is not that of its recipe")
    why = gpkg.check(file)
    if why:
        raise Refused(f"{package.cpv} {why}")
    inside = gpkg.read_metadata(file, keys=["CATEGORY", "PF", "BUILD_TIME", "BUILD_ID"])
    named = f"{inside.get('CATEGORY')}/{inside.get('PF')}"
    fields = index.parse_paragraph(package.index_entry)
    if not named == package.cpv == fields.get("CPV"):
        raise Refused(f"it is {named}, but is said to be {package.cpv}")
    if not inside.get("BUILD_TIME") == fields.get("BUILD_TIME") == str(int(package.built_at)):
        raise Refused(f"{package.cpv}: another build time than it is said to have")


class _Nobody(PackageLedger):
    """An order that is only looked at needs no ledger."""

    def known(self, keys: Mapping[str, str]) -> list[Package]:
        return []

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        raise AssertionError(package)

    def forget(self, sha256: str) -> None:
        raise AssertionError(sha256)


def _write(place: Path, content: bytes) -> None:
    part = place.with_name(f".{place.name}.partial")
    part.write_bytes(content)
    part.rename(place)
