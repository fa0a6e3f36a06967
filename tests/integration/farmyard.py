"""A small farm for tests: the tiny repository, one profile, a ledger in a file."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from appliance.farm_model import FailureRecord, Package, Release
from appliance.model import Tree
from appliance.site_model import DiskLayout, FarmSettings, Profile, Repository, Site, StageSource
from buildfarm.build import BuildResult, Progress, Tools, build_profile
from buildfarm.order import Lend, lend_none
from buildfarm.stage import Stage

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"
MAKE_CONF = 'CFLAGS="{cflags}"\nFEATURES="-sandbox -usersandbox {features}"\n'


@dataclass(frozen=True)
class FileLedger:
    """Packages as lines of JSON, so that a killed process's notes are found again."""

    path: Path

    def packages(self) -> list[Package]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [Package(**json.loads(line)) for line in lines]

    def known(self, keys: Mapping[str, str]) -> Sequence[Package]:
        every = {*keys, *keys.values()}
        return [one for one in self.packages() if not every.isdisjoint((one.build_key, one.neutral_key))]

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        assert parts
        with self.path.open("a") as notes:
            notes.write(json.dumps(asdict(package)) + "\n")

    def forget(self, sha256: str) -> None:
        kept = [one for one in self.packages() if one.sha256 != sha256]
        self.path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in kept))


@dataclass
class Farmyard:
    """Everything below one directory; `cflags`, `features` and `world` may be changed between builds."""

    path: Path
    build_stage: Stage
    install_stage: Stage
    cflags: str = "-O2"
    features: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """More of /etc/portage."""
    name: str = "one"
    world: tuple[str, ...] = ("app-misc/witness", "app-misc/slow", "sys-kernel/tiny-kernel")
    overlays: tuple[Repository, ...] = ()
    """Repositories beside the tiny one."""
    hold: bool = True
    boot: bool = False
    processor: bool = False
    dispatched: tuple[str, ...] = ()
    rehearse: Callable[[Tree, Release], str] | None = None
    lend: Lend = lend_none
    not_due: Callable[[str, Mapping[str, str]], Sequence[FailureRecord]] = lambda profile, keys: ()
    now: Callable[[], float] = time.time
    watch: Callable[[Progress], None] | None = None
    """Called with every progress, beside `seen`."""
    live: tuple[str, ...] = ()
    """Releases that machines still have."""
    settings: FarmSettings = field(default_factory=FarmSettings)
    seen: list[Progress] = field(default_factory=list)

    @classmethod
    def make(cls, path: Path, build_stage: Stage, install_stage: Stage) -> Self:
        shutil.copytree(TINY, path / "tiny")
        return cls(path, build_stage, install_stage)

    @property
    def tree(self) -> Tree:
        return Tree(self.path / "state")

    @property
    def ledger(self) -> FileLedger:
        return FileLedger(self.path / "ledger")

    @property
    def repository(self) -> Path:
        return self.path / "tiny"

    @property
    def make_conf(self) -> bytes:
        return MAKE_CONF.format(cflags=self.cflags, features=self.features).encode()

    def profile(self) -> Profile:
        return Profile(
            name=self.name,
            description="",
            arch="amd64",
            chost="x86_64-pc-linux-gnu",
            portage_profile="tiny:base",
            stage=StageSource("build"),
            install_stage=StageSource("install"),
            kernel_package="sys-kernel/tiny-kernel",
            kernel_arguments="",
            kernel_config="CONFIG_TINY=y\n",
            portage={**self.files, "make.conf": self.make_conf},
            world=self.world,
            disk=DiskLayout((), 0),
            lineage=(self.name,),
            hold=self.hold,
            boot=self.boot,
            processor=self.processor,
            dispatched=self.dispatched,
        )

    def tools(self) -> Tools:
        stages = {"build": self.build_stage, "install": self.install_stage}
        return Tools(
            take_stage=lambda source, tree, say: stages[source.location],
            make_installer=lambda build_root, target_root, key, output, *_: output.write_bytes(
                b"an installer"
            ),
            now=self.now,
            not_due=self.not_due,
            rehearse=self.rehearse,
            lend=self.lend,
            live_releases=lambda profile: [self.tree.room("releases") / name for name in self.live],
        )

    def site(self) -> Site:
        repositories = (Repository("tiny", self.repository), *self.overlays)
        profiles = {self.name: self.profile()}
        return Site(self.path / "site", "test", repositories, profiles, farm=self.settings)

    def build(self) -> BuildResult:
        place = self.path / "site" / "profiles" / self.name
        place.mkdir(parents=True, exist_ok=True)
        (place / "world").write_text("\n".join(self.world))
        site = self.site()
        profile = site.profiles[self.name]
        self.seen.clear()

        def report(progress: Progress) -> None:
            self.seen.append(progress)
            if self.watch:
                self.watch(progress)

        return build_profile(site, profile, self.tree, self.ledger, report, tools=self.tools())

    def releases(self) -> list[str]:
        return sorted(path.name for path in self.tree.room("releases").iterdir())
