"""The use cases; the only thing the command line and the web page call."""

import hashlib
import logging
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.desks.accounts import AccountDesk
from appliance.desks.advisories import AdvisoryDesk
from appliance.desks.api_tokens import ApiTokenDesk
from appliance.desks.audit import AuditDesk
from appliance.desks.backlog import BacklogDesk
from appliance.desks.boot_programs import BootProgramsDesk
from appliance.desks.build_requests import BuildRequestDesk
from appliance.desks.building import BuildingDesk
from appliance.desks.builds import BuildDesk
from appliance.desks.changes import ChangesDesk
from appliance.desks.clients import ClientsDesk
from appliance.desks.cluster import ClusterDesk
from appliance.desks.consoles import ConsoleDesk
from appliance.desks.downloads import DownloadDesk
from appliance.desks.edits import EditDesk
from appliance.desks.errands import ErrandDesk
from appliance.desks.examinations import ExaminationDesk
from appliance.desks.explain import ExplainDesk
from appliance.desks.failures import FailureDesk
from appliance.desks.figures import FigureDesk
from appliance.desks.foresight import ForesightDesk
from appliance.desks.holds import HoldDesk
from appliance.desks.hosts import HostDesk
from appliance.desks.leases import LeaseDesk
from appliance.desks.machines import MachineDesk
from appliance.desks.matching import MatchDesk
from appliance.desks.media import MediaDesk
from appliance.desks.merges import MergeDesk
from appliance.desks.names import NameDesk
from appliance.desks.overview import OverviewDesk
from appliance.desks.packages import PackageDesk
from appliance.desks.planning import PlanningDesk
from appliance.desks.plans import PlanDesk
from appliance.desks.power import PowerDesk
from appliance.desks.profiles import ProfileDesk
from appliance.desks.releases import ReleaseDesk, check_channel
from appliance.desks.remote import RemoteDesk
from appliance.desks.secure_boot import SecureBootDesk
from appliance.desks.switching import SWITCHES, SwitchDesk
from appliance.desks.sync import SyncDesk
from appliance.desks.webhooks import WebhookDesk
from appliance.disk_keys import DiskKeyDesk
from appliance.errors import Problem
from appliance.facts import normal_mac
from appliance.farm_model import Job
from appliance.live import LiveSite
from appliance.model import Event, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.site import find_profile
from appliance.site_model import Profile
from appliance.store import Store
from appliance.store.errands import ErrandKind
from appliance.store.machines import Search
from buildfarm.reference import make_reference
from buildfarm.signing import Signer

log = logging.getLogger(__name__)

HEX_MAC = re.compile(r"[0-9A-Fa-f]{12}")
HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Shown:
    """A machine, what it would boot now, the fingerprint of its last plan, and its timeline."""

    machine: Machine
    boots: str
    plan: str
    events: list[tuple[int, Event]]


@dataclass(frozen=True)
class Common:
    """What was read and checked, and holds for all threads of a process."""

    channels: Channels
    live: LiveSite


class Services:
    """One per process and thread: it holds an open store."""

    def __init__(self, site_path: Path, tree: Tree, clock: Callable[[], float] = time.time) -> None:
        self.live = LiveSite(site_path, tree.path / "good-site")
        self.tree = tree
        self.clock = clock
        self.store = Store(tree.store)
        self.audit = AuditDesk(self.store, clock)
        self.accounts = AccountDesk(self.store, self.audit, clock)
        self.api_tokens = ApiTokenDesk(self.store, self.audit, clock)
        signer = Signer(tree.path / "keys")
        self.channels = channels = Channels(tree.path / "channels", signer.signed_text)
        self.desk = BootDesk(self.live, tree, self.store, channels, clock)
        self.explain = ExplainDesk(self.live, tree, self.store, channels, clock)
        self.cluster = ClusterDesk(self.live, tree, self.store, clock, signer)
        self.examinations = ExaminationDesk(self.audit, clock)
        self.hosts = HostDesk(self.cluster, self.audit)
        self.release_desk = ReleaseDesk(
            self.live, tree, self.store, channels=channels, notary=signer, clock=clock
        )
        self.edits = EditDesk(self.live, self.audit, clock)
        self.matching = MatchDesk(self.live, self.store)
        self.media = MediaDesk(self.release_desk, self.machine, public_key=signer.public_keyring)
        self.machine_desk = MachineDesk(
            self.live, self.store, channels, audit=self.audit, find=self.machine, clock=clock
        )
        lines = tree.path / "lines"
        self.power = PowerDesk(self.live, self.store, lines, clock)
        self.consoles = ConsoleDesk(self.live, self.store, lines, find=self.machine, clock=clock)
        has_controller = self.machine_desk.has_controller
        self.switching = SwitchDesk(
            self.store, self.power, find=self.machine, has_controller=has_controller, clock=clock
        )
        self.downloads = DownloadDesk(self.media, clock)
        self.disk_keys = DiskKeyDesk(tree, self.store, clock)
        self.clients = ClientsDesk(self.live, tree, self.store, channels, audit=self.audit, clock=clock)
        self.leases = LeaseDesk(self.live, self.store)
        self.boot_programs = BootProgramsDesk(tree)
        self.secure_boot = SecureBootDesk(self.live, tree)
        self.builds = BuildDesk(tree, self.store)
        self.failures = FailureDesk(self.store, clock)
        self.build_requests = BuildRequestDesk(self.live, self.store, self.failures, clock)
        self.holds = HoldDesk(self.release_desk, clock)
        self.merges = MergeDesk(self.live, tree, self.audit, clock)
        self.names = NameDesk(self.live, self.store, clock)
        self.packages = PackageDesk(tree, self.store)
        self.sync = SyncDesk(self.live, tree, self.store, clock)
        self.remote = RemoteDesk(self.store, tree, clock)
        self.advisories = AdvisoryDesk(self.live, tree, self.sync)
        self.backlog = BacklogDesk(
            self.live, self.store, clock, self.sources, self.advisories.of, self.holds.masked
        )
        self.planning = PlanningDesk(self.live, tree, self.store, clock, self.sync, masked=self.holds.masked)
        self.profile_desk = ProfileDesk(
            self.live, self.store, backlog=self.backlog, planning=self.planning, clock=clock
        )
        self.foresight = ForesightDesk(self.store, self.backlog, self.planning)
        self.plans = PlanDesk(self.foresight, clock)
        others = {**dict.fromkeys(SWITCHES, self.switching.do), ErrandKind.PLAN: self.plans.make}
        self.errands = ErrandDesk(self.release_desk, clock, others)
        self.building = BuildingDesk(
            self.release_desk,
            self.sync,
            self.cluster,
            self.backlog,
            self.planning,
            self.failures,
            self.holds,
            self.remote,
            clock,
        )
        self.changes = ChangesDesk(self.store)
        self.webhooks = WebhookDesk(self.live, self.audit, clock)
        self.figures = FigureDesk(self.live, self.store, channels, cluster=self.cluster, clock=clock)
        self.overview = OverviewDesk(
            self.live,
            self.store,
            channels,
            backlog=self.backlog,
            planning=self.planning,
            cluster=self.cluster,
            clock=clock,
        )

    # machines

    @property
    def common(self) -> Common:
        return Common(self.channels, self.live)

    def share(self, common: Common) -> None:
        """Know what another thread's services have read, and let them know."""
        self.channels.share(common.channels)
        self.live.share(common.live)

    def machines(self) -> list[Machine]:
        return self.store.machines.all()

    def find_machines(self, search: Search, *, limit: int, offset: int = 0) -> list[Machine]:
        """A part of the machines that match, those first that somebody has to look at."""
        return self.store.machines.find(search, limit=limit, offset=offset)

    def count_machines(self, search: Search) -> int:
        return self.store.machines.count(search)

    def machines_after(self, search: Search, mac: str, *, limit: int) -> list[Machine]:
        """Some of the machines that match, in the order of their MACs, after one of them."""
        return self.store.machines.after(search, mac, limit=limit)

    def mac_of(self, text: str) -> str:
        """The MAC of the machine with this name, or the MAC that the text is, of a known machine or not."""
        named = [mac for mac, name in self.store.machines.names() if name == text]
        if len(named) > 1:
            raise Problem(f"several machines have the name {text}", hint=f"say which: {', '.join(named)}")
        if named:
            return named[0]
        if HOSTNAME.fullmatch(text) and not HEX_MAC.fullmatch(text) and not normal_mac(text):
            raise Problem(
                f"there is no machine {text}", hint="`distserver machine list` shows those there are"
            )
        return read_mac(text)

    def machine(self, mac: str) -> Machine:
        """The machine with a MAC or a name. Raises Problem when there is none, or several of that name."""
        found = self.store.machines.get(self.mac_of(mac))
        if found is None:
            raise Problem(
                f"there is no machine {mac}", hint="`distserver machine list` shows those there are"
            )
        return found

    def add_machine(
        self, mac: str, *, profile: str | None = None, name: str = "", who: str | None = None
    ) -> Machine:
        """Make a machine known before it ever boots."""
        if profile:
            find_profile(self.live.now(), profile)
        state = MachineState.ASSIGNED if profile else MachineState.DISCOVERED
        machine = Machine(mac=read_mac(mac), state=state, name=check_name(name), profile=profile)
        with self.store.database.change():
            self.store.machines.add(machine)
            self._record(machine.mac, "added", f"by hand, profile {profile or 'not chosen yet'}")
            self.audit.note(who, "machine add", machine.mac, f"{name} profile {profile or 'none'}".strip())
        return machine

    def assign(self, mac: str, profile: str, *, name: str = "", who: str | None = None) -> Machine:
        """Give a machine a profile. It is disarmed by that."""
        find_profile(self.live.now(), profile)
        machine = self.machine(mac)
        with self.store.database.change():
            if name:
                self.store.machines.set_name(machine.mac, check_name(name))
            self.store.machines.set_profile(machine.mac, profile)
            self.store.machines.move(machine.mac, MachineState.ASSIGNED)
            self._end_tokens(machine.mac)
            self.media.end(machine.mac, "it was given a profile by hand")
            self._record(machine.mac, "assigned", f"profile {profile}, by hand")
            self.audit.note(who, "machine assign", machine.mac, f"{name} profile {profile}".strip())
        return self.machine(mac)

    def arm(self, mac: str, *, who: str | None = None) -> Machine:
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
            self.audit.note(who, "machine arm", machine.mac, f"profile {machine.profile}")
        return self.machine(mac)

    def disarm(self, mac: str, *, who: str | None = None) -> Machine:
        """Take the permission back; an installation that runs is told to stop."""
        machine = self.machine(mac)
        with self.store.database.change():
            self._end_tokens(machine.mac)
            self.media.end(machine.mac, "it was disarmed")
            self.store.machines.move(machine.mac, MachineState.ASSIGNED)
            self._record(machine.mac, "disarmed", "by hand")
            self.audit.note(who, "machine disarm", machine.mac)
        return self.machine(mac)

    def put_on_channel(self, mac: str, channel: str, *, who: str | None = None) -> Machine:
        """Let a machine follow another channel of its profile."""
        machine = self.machine(mac)
        with self.store.database.change():
            self.store.machines.set_channel(machine.mac, check_channel(channel))
            self._record(machine.mac, "channel", f"{channel}, by hand")
            self.audit.note(who, "machine channel", machine.mac, f"{machine.channel} -> {channel}")
        return self.machine(mac)

    def rename(self, mac: str, name: str, *, who: str | None = None) -> Machine:
        """Give a machine a host name that no other has; an empty one takes it away."""
        check_name(name)
        with self.store.database.change():
            machine = self.machine(mac)
            if name and any(name == other for at, other in self.store.machines.names() if at != machine.mac):
                raise Problem(f"there is another machine {name}", hint="choose another name")
            self.store.machines.set_name(machine.mac, name)
            self._record(machine.mac, "renamed", f"{machine.name or 'no name'} -> {name or 'no name'}")
            self.audit.note(who, "machine rename", machine.mac, f"{machine.name} -> {name}")
        return self.machine(machine.mac)

    def show_machine(self, mac: str, *, after: int = 0) -> Shown:
        machine = self.machine(mac)
        boots, plan = self.desk.explain(machine.mac), self.machine_desk.fingerprint(machine.mac)
        return Shown(machine, boots, plan, self.store.events.after(machine.mac, after))

    # profiles, builds and releases

    def profiles(self) -> list[Profile]:
        return list(self.live.now().profiles.values())

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

    def jobs_before(self, job: int | None, *, limit: int) -> list[Job]:
        """Some jobs, the newest first; with the number of a job those older than it."""
        return self.store.jobs.before(job, limit=limit)

    def events_after(self, subject: str, last: int, *, limit: int) -> list[tuple[int, Event]]:
        """Some events with their numbers, the oldest first, of a machine or job or, when empty, of all."""
        return self.store.events.page(subject, last, limit=limit)

    def reference_stage(self, variant: str, progress: Callable[[str], None]) -> Path:
        return make_reference("build" if variant == "build" else "install", self.tree, progress)

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
