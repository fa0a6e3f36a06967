"""The use cases; the only thing the command line and the web page call."""

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.backlog import leading_kind
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.desks.advisories import AdvisoryDesk
from appliance.desks.backlog import BacklogDesk, flag_class
from appliance.desks.boot_programs import BootProgramsDesk
from appliance.desks.cluster import ClusterDesk
from appliance.desks.explain import ExplainDesk
from appliance.desks.failures import FailureDesk
from appliance.desks.foresight import ForesightDesk
from appliance.desks.leases import LeaseDesk
from appliance.desks.names import NameDesk
from appliance.desks.packages import PackageDesk
from appliance.desks.planning import PlanningDesk
from appliance.desks.power import PowerDesk
from appliance.desks.releases import ReleaseDesk, check_channel
from appliance.desks.remote import RemoteDesk
from appliance.desks.secure_boot import SecureBootDesk
from appliance.desks.sync import SyncDesk
from appliance.desks.work import Work, failure_kind
from appliance.errors import Problem
from appliance.facts import normal_mac
from appliance.farm_model import FailureKind, Job, Release
from appliance.live import LiveSite
from appliance.model import Event, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.site import find_profile
from appliance.site_model import Profile, Site
from appliance.store import Store
from buildfarm import reuse
from buildfarm.build import BuildResult, Progress, Tools, build_profile
from buildfarm.distfiles import fetch_reference
from buildfarm.preparing import Unresolved
from buildfarm.reference import make_reference
from buildfarm.signing import Signer
from buildfarm.trial import Trials

log = logging.getLogger(__name__)

HEX_MAC = re.compile(r"[0-9A-Fa-f]{12}")
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
DEBIAN_SOURCES = Path("metadata/debian-sources")


@dataclass(frozen=True)
class Shown:
    """A machine, what it would boot now, and its timeline."""

    machine: Machine
    boots: str
    events: list[tuple[int, Event]]


class Services:
    """One per process and thread: it holds an open store."""

    def __init__(self, site_path: Path, tree: Tree, clock: Callable[[], float] = time.time) -> None:
        self.live = LiveSite(site_path)
        self.tree = tree
        self.clock = clock
        self.store = Store(tree.store)
        signer = Signer(tree.path / "keys")
        channels = Channels(tree.path / "channels", signer.signed_text)
        self.desk = BootDesk(self.live, tree, self.store, channels, clock)
        self.explain = ExplainDesk(self.live, tree, self.store, channels, clock)
        self.cluster = ClusterDesk(self.live, tree, self.store, clock, signer)
        self.release_desk = ReleaseDesk(
            self.live, tree, self.store, channels=channels, notary=signer, clock=clock
        )
        self.leases = LeaseDesk(self.live, self.store)
        self.boot_programs = BootProgramsDesk(tree)
        self.secure_boot = SecureBootDesk(self.live, tree)
        self.failures = FailureDesk(self.store, clock)
        self.names = NameDesk(self.live, self.store, clock)
        self.power = PowerDesk(self.live, self.store, clock)
        self.packages = PackageDesk(tree, self.store)
        self.sync = SyncDesk(self.live, tree, self.store, clock)
        self.remote = RemoteDesk(self.store, tree, clock)
        self.advisories = AdvisoryDesk(self.live, tree, self.sync)
        self.backlog = BacklogDesk(self.live, self.store, clock, self.sources, self.advisories.of)
        self.planning = PlanningDesk(self.live, tree, self.store, clock, self.sync)
        self.foresight = ForesightDesk(self.store, self.backlog, self.planning)

    # machines

    def machines(self) -> list[Machine]:
        return self.store.machines.all()

    def mac_of(self, text: str) -> str:
        """The MAC of the machine with this name, or the MAC that the text is, of a known machine or not."""
        named = [one.mac for one in self.store.machines.all() if one.name == text]
        if len(named) > 1:
            raise Problem(f"several machines have the name {text}", hint=f"say which: {', '.join(named)}")
        return named[0] if named else read_mac(text)

    def machine(self, mac: str) -> Machine:
        """The machine with a MAC or a name. Raises Problem when there is none, or several of that name."""
        found = self.store.machines.get(self.mac_of(mac))
        if found is None:
            raise Problem(
                f"there is no machine {mac}", hint="`distserver machine list` shows those there are"
            )
        return found

    def add_machine(self, mac: str, *, profile: str | None = None, name: str = "") -> Machine:
        """Make a machine known before it ever boots."""
        if profile:
            find_profile(self.live.now(), profile)
        state = MachineState.ASSIGNED if profile else MachineState.DISCOVERED
        machine = Machine(mac=read_mac(mac), state=state, name=check_name(name), profile=profile)
        with self.store.database.change():
            self.store.machines.add(machine)
            self._record(machine.mac, "added", f"by hand, profile {profile or 'not chosen yet'}")
        return machine

    def assign(self, mac: str, profile: str, *, name: str = "") -> Machine:
        """Give a machine a profile. It is disarmed by that."""
        find_profile(self.live.now(), profile)
        machine = self.machine(mac)
        with self.store.database.change():
            if name:
                self.store.machines.set_name(machine.mac, check_name(name))
            self.store.machines.set_profile(machine.mac, profile)
            self.store.machines.move(machine.mac, MachineState.ASSIGNED)
            self._end_tokens(machine.mac)
            self._record(machine.mac, "assigned", f"profile {profile}, by hand")
        return self.machine(mac)

    def arm(self, mac: str) -> Machine:
        """Allow one installation, which wipes the one disk that matches the profile."""
        machine = self.machine(mac)
        if machine.profile is None:
            raise Problem(
                f"machine {machine.mac} has no profile",
                hint=f"distserver machine assign {machine.mac} PROFILE",
            )
        find_profile(self.live.now(), machine.profile)
        with self.store.database.change():
            self._end_tokens(machine.mac)
            self.store.machines.move(machine.mac, MachineState.ARMED)
            self._record(machine.mac, "armed", "by hand")
        return self.machine(mac)

    def disarm(self, mac: str) -> Machine:
        """Take the permission back; an installation that runs is told to stop."""
        machine = self.machine(mac)
        with self.store.database.change():
            self._end_tokens(machine.mac)
            self.store.machines.move(machine.mac, MachineState.ASSIGNED)
            self._record(machine.mac, "disarmed", "by hand")
        return self.machine(mac)

    def put_on_channel(self, mac: str, channel: str) -> Machine:
        """Let a machine follow another channel of its profile."""
        machine = self.machine(mac)
        with self.store.database.change():
            self.store.machines.set_channel(machine.mac, check_channel(channel))
            self._record(machine.mac, "channel", f"{channel}, by hand")
        return self.machine(mac)

    def show_machine(self, mac: str, *, after: int = 0) -> Shown:
        machine = self.machine(mac)
        return Shown(machine, self.desk.explain(machine.mac), self.store.events.after(machine.mac, after))

    # profiles, builds and releases

    def profiles(self) -> list[Profile]:
        return list(self.live.now().profiles.values())

    def build(
        self, name: str, progress: Callable[[Progress], None], *, ticket: int | None = None, jobs: int = 0
    ) -> BuildResult:
        """Build a profile, publish the release when the gate lets it pass; one job of the farm.

        `ticket` is a waiting job that a message of the queue named: Unwanted when it does not wait any more.
        `jobs`: packages at a time, when the backlog allows less than the site.
        """
        site = self.live.now()
        site = replace(site, jobs=jobs or site.jobs)
        profile = find_profile(site, name)
        self.sync.prepare(lambda text: progress(Progress("snapshot", text)), profile)
        tools = Tools(
            take_snapshots=lambda repositories, room, regenerate: self.sync.snapshots(site),
            live_releases=self.release_desk.in_use,
            lend=self.cluster.lease,
            now=self.clock,
            not_due=self.failures.not_due,
            rehearse=self._rehearse,
        )
        job = self.backlog.take(profile, ticket).id
        try:
            with Work(self.store, job, progress, clock=self.clock, flags=flag_class(profile)) as work:
                self._fetch_distfiles(site, work.report)
                result = build_profile(site, profile, self.tree, work, work.report, tools=tools)
            self.failures.note(name, result.failed, keys=result.keys, built=result.built)
            if result.questions is not None:
                self.planning.note(name, result.questions)
            if result.release is not None:
                self.release_desk.publish(result.release, origins=result.origins)
                self.failures.hold(name, result.held)
                if result.fresh:
                    Trials(self.tree.room("trials")).prune(self.release_desk.in_use())
        except BaseException as failure:
            if isinstance(failure, Unresolved):
                self.planning.note(name, failure.questions)
            message = f"{type(failure).__name__}: {failure}"
            kind = failure_kind(failure)
            self.store.jobs.end(job, "failed", now=self.clock(), message=message, failure=kind)
            raise
        if result.release is not None:
            message = f"release {result.release.id}: {reuse.sentence(name, result.origins)}"
            self.store.jobs.end(job, "done", now=self.clock(), message=message)
        else:
            message = "; ".join(result.reasons)
            log_name = result.logs.name if result.logs else ""
            kinds = [one.kind for one in result.failed] or [result.cause or FailureKind.UNKNOWN]
            kind = leading_kind(one.value for one in kinds)
            self.store.jobs.end(job, "failed", now=self.clock(), message=message, log=log_name, failure=kind)
        return result

    def offer(self, job: Job, progress: Callable[[Progress], None]) -> None:
        """Make what a worker on another host builds a profile's packages from."""
        site = self.live.now()
        profile = find_profile(site, job.profile)
        self.sync.prepare(lambda text: progress(Progress("snapshot", text)), profile)
        self._fetch_distfiles(site, progress)
        tools = Tools(
            take_snapshots=lambda repositories, room, regenerate: self.sync.snapshots(site), now=self.clock
        )
        self.remote.prepare(job.id, site, profile, progress, tools)

    def _rehearse(self, stage: Tree, release: Release) -> str:
        from appliance.rehearsal import rehearse  # which makes Services of its own

        return rehearse(self.live.path, self.tree, stage, release)

    def _fetch_distfiles(self, site: Site, progress: Callable[[Progress], None]) -> None:
        for repository in site.repositories:
            if repository.location and (repository.location / DEBIAN_SOURCES).is_file():
                fetch_reference(
                    repository.location, self.tree, lambda text: progress(Progress("distfiles", text))
                )

    def sources(self) -> str:
        """A hash of the current snapshots and what signs releases; no repository is read for it."""
        revisions = [*self.sync.revisions(self.live.now()), *self.secure_boot.inputs()]
        return hashlib.sha256("\n".join(revisions).encode()).hexdigest()

    def inputs(self, profile: Profile) -> str:
        """A hash of a profile and the repositories it is built from: another one is a reason to build."""
        return self.backlog.inputs(profile)

    def due(self) -> list[str]:
        """Profiles to build now."""
        return self.backlog.due()

    def jobs(self) -> list[Job]:
        return self.store.jobs.all()

    def reference_stage(self, variant: str, progress: Callable[[str], None]) -> Path:
        if variant == "build":
            return make_reference("build", self.tree, progress)
        return make_reference("install", self.tree, progress)

    # the web page's door

    def login_token(self) -> str:
        """A one-time secret that opens a session on the web page, good for an hour."""
        return self.store.tokens.issue("web", "login", now=self.clock(), lifetime_seconds=3600.0)

    def log_in(self, token: str) -> bool:
        return self.store.tokens.use(token, "login", now=self.clock()) is not None

    def _record(self, mac: str, stage: str, message: str) -> None:
        self.store.events.add(Event(mac, self.clock(), stage, message=message))

    def _end_tokens(self, mac: str) -> None:
        for purpose in ("install", "report"):
            self.store.tokens.revoke(mac, purpose)


def read_mac(text: str) -> str:
    """Lower case with colons, from any usual way to write one; raises Problem."""
    plain = text.strip()
    if HEX_MAC.fullmatch(plain):
        plain = ":".join(plain[place : place + 2] for place in range(0, 12, 2))
    mac = normal_mac(plain)
    if mac is None:
        raise Problem(f"{text!r} is no MAC address, expected six pairs such as 52:54:00:12:34:56")
    return mac


def check_name(name: str) -> str:
    if name and not HOSTNAME.fullmatch(name):
        raise Problem(f"{name!r} is no host name, expected lower-case letters, digits and -, at most 63")
    return name


def init_site(path: Path) -> None:
    """Write the commented example site into a directory that is new or empty."""
    if path.exists() and any(path.iterdir()):
        raise Problem(f"{path} is not empty", hint="name a new directory")
    shutil.copytree(example_site(), path, dirs_exist_ok=True)
