"""What a build is given: the profile, its stages, the snapshots, where packages are known, whom to tell."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from appliance.farm_model import FailureRecord, Held, Package, Release, Snapshot
from appliance.model import Tree
from appliance.profile_model import AGENT, Cross
from appliance.sandbox import Sandbox
from appliance.site_model import Profile, Repository, Site, StageSource
from buildfarm import client_package, crossing, emulation, kernel_source, lease, root, small_installer, stage
from buildfarm.egencache import regenerator
from buildfarm.installer import build_installer
from buildfarm.lease import Lease
from buildfarm.pool import Pool
from buildfarm.snapshot import Regenerate, take, take_all
from buildfarm.storage import build_storage


class PackageLedger(Protocol):
    """Which packages are in the pool, and the keys they are known under."""

    def known(self, keys: Mapping[str, str]) -> Sequence[Package]:
        """Every package that is known under one of these keys: build key -> neutral key of what is needed."""
        ...

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        """Note a package that is in the pool, and the parts of its recipe."""
        ...

    def forget(self, sha256: str) -> None:
        """Its file is gone or damaged."""
        ...


@dataclass(frozen=True)
class Progress:
    """Something worth showing while a build runs."""

    step: str
    """stage, snapshot, plan, packages, gate or release."""
    message: str
    package: str = ""
    number: int = 0
    total: int = 0
    status: str = "note"
    """begin, done, failed or note."""
    seconds: float | None = None

    def __str__(self) -> str:
        """One line: `packages: (3/16) sys-apps/sed-4.9 Completed in 42 s`."""
        count = f"({self.number}/{self.total}) " if self.total else ""
        subject = f"{self.package} " if self.package else ""
        took = f" in {self.seconds:.0f} s" if self.seconds is not None else ""
        return f"{self.step}: {count}{subject}{self.message}{took}"


Report = Callable[[Progress], None]
Say = Callable[[str], None]


class MakeInstaller(Protocol):
    def __call__(
        self,
        build_root: Path,
        target_root: Path,
        public_key: bytes,
        output: Path,
        shelf: Path,
        enrolment: Mapping[str, bytes],
        /,
    ) -> object: ...


def leave(names: Sequence[str], /) -> None:
    """The distfiles are there already, or their packages fail and say so."""


class TakeSnapshots(Protocol):
    def __call__(
        self, repositories: Sequence[Repository], room: Path, /, *, regenerate: Regenerate
    ) -> tuple[Snapshot, ...]: ...


class Lend(Protocol):
    def __call__(
        self, sandbox: Sandbox, processors: int, *, identity: str = "", cross: Sandbox | None = None
    ) -> AbstractContextManager[Lease]: ...


@contextmanager
def lend_none(
    sandbox: Sandbox, processors: int, *, identity: str = "", cross: Sandbox | None = None
) -> Iterator[Lease]:
    """No compile hosts at all."""
    yield lease.empty(processors)


@dataclass(frozen=True)
class Tools:
    """What a build calls besides Portage; a test gives its own."""

    take_stage: Callable[[StageSource, Tree, Say], stage.Stage] = stage.acquire
    take_snapshots: TakeSnapshots = take_all
    make_installer: MakeInstaller = build_installer
    make_small_installer: Callable[[Path, Path], object] = small_installer.build
    """For machines whose root is a second one: from that root, to a file."""
    make_storage: Callable[[Path, Path, Path], None] = build_storage
    """Only called for profiles whose disks need it."""
    lend: Lend = lend_none
    """Compile hosts for one run of emerge in this sandbox."""
    get_distfiles: Callable[[Sequence[str]], None] = leave
    """Called with the names that missing packages are made from, before they are built."""
    now: Callable[[], float] = time.time
    not_due: Callable[[str, Mapping[str, str]], Sequence[FailureRecord]] = lambda profile, keys: ()
    """What failed in a profile under just these keys (cpv -> key) and is not to be compiled again yet."""
    live_releases: Callable[[str], Sequence[Path]] = lambda profile: ()
    """Directories of the releases of a profile that a channel or a machine still names."""
    rehearse: Callable[[Tree, Release], str] | None = None
    """Let a virtual machine install what is sealed in a state directory of its own; why it could not."""


@dataclass(frozen=True)
class Order:
    """One build of one profile."""

    site: Site
    profile: Profile
    tree: Tree
    ledger: PackageLedger
    report: Report
    tools: Tools
    build_stage: stage.Stage
    install_stage: stage.Stage
    snapshots: tuple[Snapshot, ...]
    """One for each repository, the main one first."""
    configuration: Mapping[str, root.Content]
    """Files of every machine of this profile, relative to /."""
    logs: Path
    started: float
    held: tuple[Held, ...] = ()
    """What stays at an older version; the configuration says so."""
    cross_stage: stage.Stage | None = None
    """Of an emulated profile: where the native cross compiler is."""

    @property
    def pool(self) -> Pool:
        return Pool(self.tree.room("pool").resolve())

    @property
    def target(self) -> PurePosixPath | None:
        """The second root that packages are installed into; None: it is /."""
        return crossing.target(self.profile)

    @property
    def jobs(self) -> int:
        return self.site.jobs or processors()

    def without_hosts(self) -> "Order":
        """The same, to be compiled on this machine alone."""
        return replace(self, tools=replace(self.tools, lend=lend_none))


def processors() -> int:
    return len(os.sched_getaffinity(0))


def take_order(
    site: Site, profile: Profile, tree: Tree, *, ledger: PackageLedger, report: Report, tools: Tools
) -> Order:
    """Get the stages and the snapshots; raises Problem when the site or profile cannot be built at all."""
    started = tools.now()
    crossing.check(profile)
    if profile.cross is Cross.EMULATED:
        emulation.provide(profile.chost)

    def take_stage(source: StageSource) -> stage.Stage:
        return tools.take_stage(source, tree, lambda text: report(Progress("stage", text)))

    build_stage, install_stage = take_stage(profile.stage), take_stage(profile.install_stage)
    cross_stage = take_stage(profile.cross_stage) if profile.cross_stage else None
    regenerate = regenerator(
        build_stage.root, site.repositories[0].name, lambda text: report(Progress("snapshot", text))
    )
    room = tree.room("snapshots").resolve()
    taken = tools.take_snapshots(site.repositories, room, regenerate=regenerate)
    repositories = site.repositories
    if AGENT in profile.world:
        names = [one.name for one in repositories]
        agent = client_package.write_repository(tree.room("agents").resolve() / profile.name, masters=names)
        taken = (*taken, take(agent, room, known=taken, main=names[0], regenerate=regenerate))
        repositories = (*repositories, agent)
    configuration = root.configuration(profile, repositories, taken)
    if profile.kernel_source:
        kernels = kernel_source.make_repository(
            profile,
            tree.room("kernels").resolve(),
            stage=build_stage.root,
            snapshots=taken,
            configuration=configuration,
        )
        main = site.repositories[0].name
        taken = (*taken, take(kernels, room, known=taken, main=main, regenerate=regenerate))
        configuration = root.configuration(profile, (*repositories, kernels), taken)
    for one in taken:
        report(Progress("snapshot", f"{one.repository} {one.revision[:12]}", status="done"))
    stamp = datetime.fromtimestamp(started, UTC).strftime("%Y%m%dT%H%M%SZ")
    logs = tree.room("logs").resolve() / f"build-{profile.name}-{stamp}"
    logs.mkdir(parents=True, exist_ok=True)
    return Order(
        site=site,
        profile=profile,
        tree=tree,
        ledger=ledger,
        report=report,
        tools=tools,
        build_stage=build_stage,
        install_stage=install_stage,
        snapshots=taken,
        configuration=configuration,
        logs=logs,
        started=started,
        cross_stage=cross_stage,
    )
