"""What booting machines and installers ask and report: the use cases behind DHCP, TFTP and HTTP."""

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from appliance.channels import Channels
from appliance.decision import decide, lends_now, may_install
from appliance.errors import Problem
from appliance.facts import parse_facts
from appliance.followed import Followed
from appliance.install import Refused, plan_install, render
from appliance.journal import Journal
from appliance.lending import Lending
from appliance.live import LiveSite
from appliance.match import Choice, choose
from appliance.model import (
    BootTarget,
    Event,
    Facts,
    Firmware,
    LocalBoot,
    Machine,
    MachineState,
    NetBoot,
    Tree,
)
from appliance.net_settings import NetSettings
from appliance.secure_boot import SIGNED_KERNEL
from appliance.statement import RELEASE_ID
from appliance.store import Store
from appliance.strategies import Preference, Strategy

log = logging.getLogger(__name__)

INSTALL_SECONDS = 3600.0
REPORT_SECONDS = 24 * 3600.0
POLL_SECONDS = 3
MESSAGE_CHARACTERS = 8000
STATUSES = ("begin", "done", "failed", "note")
STAGE = re.compile(r"[a-z][a-z0-9-]{0,30}")
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Report:
    """One event as an installer posts it."""

    secret: str
    stage: str
    status: str
    seconds: float | None
    size_bytes: int | None
    message: str


class BootDesk:
    """Answers every question of the boot server from the store and the site."""

    def __init__(
        self, live: LiveSite, tree: Tree, store: Store, channels: Channels, clock: Callable[[], float]
    ) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.channels = channels
        self.clock = clock
        self.journal = Journal(store.events)
        self.lending = Lending(live, tree, store, clock)
        self.followed = Followed(live, store, clock)

    def boot_target(self, mac: str, firmware: Firmware | None) -> BootTarget:
        """What this machine boots; changes nothing."""
        recall = self.store.recall
        machine = recall.machine(mac)
        newest = recall.newest_sound()
        any_release = newest.id if newest else None
        if machine is None:
            return _for_strangers(any_release)
        return decide(machine, own_release=self._own_release(machine), any_release=any_release)

    def moment(self) -> AbstractContextManager[None]:
        """For answers to what had come when it began: the store is looked at for changes once."""
        return self.store.recall.moment()

    def script_target(self, mac: str, firmware: Firmware | None, here: str) -> BootTarget:
        """Like boot_target, with the installer's kernel arguments and, for an armed machine, its token."""
        target = self.boot_target(mac, firmware)
        if not isinstance(target, NetBoot):
            return target
        machine = self.store.machines.get(mac)
        profile = self.live.now().profiles.get(machine.profile) if machine and machine.profile else None
        words = [f"distserver={here}", f"BOOTIF=01-{mac.replace(':', '-')}"]
        if machine and may_install(machine):
            words.append(f"distserver.token={self._token(mac)}")
        elif machine and lends_now(machine):
            name = machine.name or default_name(mac)
            words += [f"distserver.name={name}", f"distserver.token={self.lending.token(mac)}"]
            words.append("distserver.mode=compile-node")
        words.append(profile.kernel_arguments if profile else "console=tty0 console=ttyS0,115200")
        return NetBoot(target.release, " ".join(words), target.reason)

    def record(
        self,
        mac: str,
        stage: str,
        *,
        status: str = "done",
        size_bytes: int | None = None,
        seconds: float | None = None,
        message: str = "",
    ) -> None:
        """Add one entry to a machine's timeline: with the change that is under way, or else soon."""
        event = Event(mac, self.clock(), stage, status, seconds, size_bytes, message[:MESSAGE_CHARACTERS])
        if self.store.database.changing:
            self.store.events.add(event)
        else:
            self.journal.add(event)

    def saw_address(self, mac: str, address: str) -> None:
        """Note where a machine is; DNS answers with it."""
        self.store.addresses.saw(mac, address, now=self.clock())

    def reserved(self, mac: str, network: IPv4Network) -> IPv4Address | None:
        """A machine's address on a network: of [net] rarp, of [[dhcp.fixed]], or of its lease."""
        site, now = self.live.now(), self.clock()
        leases = (one.address for one in self.store.leases.of_machine(mac) if one.live(now))
        said = (site.net.rarp.get(mac), site.dhcp.fixed.get(mac), *leases)
        return next((one for one in said if one is not None and one in network), None)

    def hello(self, facts_text: str, here: str) -> str:
        """An installer says what it runs on; the answer: `install TOKEN`, `wait N ...` or `local ...`."""
        facts = parse_facts(facts_text)
        with self.store.database.change():
            machine = self._meet(facts)
            if machine.state is MachineState.DISCOVERED:
                machine, reason = self._match(machine, facts)
            else:
                reason = machine.problem or f"it is {machine.state.value}, not armed"
        if may_install(machine):
            if self._own_release(machine) is None:
                return f"wait {POLL_SECONDS} profile {machine.profile} has no release yet"
            return f"install {self._token(machine.mac)}"
        if machine.state is MachineState.INSTALLED:
            return f"local release {machine.release} is installed"
        return f"wait {POLL_SECONDS} {reason}"

    def plan(self, body: str, here: str) -> str:
        """Trade a one-time token and facts for the plan, or for `refused ...` / `again ...`."""
        first, _, facts_text = body.partition("\n")
        word, _, token = first.strip().partition(" ")
        if word != "token" or not token:
            raise Problem(f"line 1 is {first[:80]!r}, expected `token <token>`")
        facts = parse_facts(facts_text)
        with self.store.database.change():
            mac = self.store.tokens.use(token, "install", now=self.clock())
            if mac is None:
                return self._stale_token(token)
            return self._plan(mac, facts, here)

    def event(self, body: str) -> str:
        """A step an installer reports; `stop ...` tells it that nobody wants it to go on."""
        report = parse_report(body)
        with self.store.database.change():
            mac = self.store.tokens.owner(report.secret, "report", now=self.clock())
            if mac is None:
                return "stop this installation was ended on the server"
            return self._note(mac, report)

    def release_file(self, release: str, name: str) -> Path | None:
        """A file of a sealed release, None when there is none or when it does not verify."""
        if not RELEASE_ID.fullmatch(release) or name in ("", ".", "..") or "/" in name or "\0" in name:
            return None
        if self.store.releases.fault(release):
            return None
        directory = self.tree.path / "releases" / release
        # A signed kernel boots everywhere, and a machine with Secure Boot boots no other.
        signed = directory / SIGNED_KERNEL
        file = signed if name == "kernel" and signed.is_file() else directory / name
        return file if file.is_file() else None

    def pool_file(self, relative: str) -> Path | None:
        """A package of the pool: `ab/<sha256>.gpkg.tar`."""
        directory, _, name = relative.partition("/")
        digest = name.removesuffix(".gpkg.tar")
        if not HEX.fullmatch(digest) or directory != digest[:2] or name == digest:
            return None
        file = self.tree.path / "pool" / directory / name
        return file if file.is_file() else None

    def distfile(self, name: str) -> Path | None:
        """A distfile. A link is none: builds write there, and it could lead anywhere."""
        file = self.tree.path / "distfiles" / name
        return file if "/" not in name and file.is_file() and not file.is_symlink() else None

    def channel_text(self, profile: str, channel: str) -> bytes | None:
        """The signed statement of a channel, None when there is none that is good."""
        return self.channels.signed(profile, channel)

    def cluster_hello(self, body: str, address: str) -> str:
        """What a compile host says, and what it is to do next."""
        return self.lending.hello(body, address)

    def cluster_orders(self, name: str) -> Path | None:
        return self.lending.orders(name)

    def toolchain_file(self, name: str) -> Path | None:
        return self.lending.toolchain(name)

    def net(self) -> NetSettings:
        return self.followed.settings()

    def strategy_of(self, mac: str, kind: str) -> Preference | None:
        return self.followed.strategy_of(mac, kind)

    def strategy_won(self, mac: str, kind: str, strategy: Strategy) -> None:
        self.followed.strategy_won(mac, kind, strategy)

    def explain(self, mac: str) -> str:
        """What this machine would boot now and why, as a sentence."""
        return explain(self.boot_target(mac, None))

    def _own_release(self, machine: Machine) -> str | None:
        """What the channel names that the machine follows, unless that does not verify.

        A machine whose installation did not end keeps its release: it booted that one's kernel and installer.
        """
        begun = machine.release if machine.state is MachineState.INSTALLING else None
        if begun and self.store.releases.get(begun) and not self.store.releases.fault(begun):
            return begun
        said = self.channels.of_machine(machine.profile, machine.channel) if machine.profile else None
        return said.release if said and not self.store.recall.fault(said.release) else None

    def _token(self, mac: str) -> str:
        now = self.clock()
        return self.store.tokens.issue(mac, "install", now=now, lifetime_seconds=INSTALL_SECONDS)

    def _meet(self, facts: Facts) -> Machine:
        """Remember a machine and what it says; one that is new is discovered."""
        known = self.store.machines.get(facts.mac)
        if known is None:
            self.store.machines.add(Machine(mac=facts.mac, state=MachineState.DISCOVERED, facts=facts))
            hardware = f"{facts.vendor} {facts.product}".strip()
            self.record(facts.mac, "discovered", message=f"{hardware}, {len(facts.disks)} disks")
        elif known.facts != facts:
            self.store.machines.set_facts(facts.mac, facts)
        return self._known(facts.mac)

    def _match(self, machine: Machine, facts: Facts) -> tuple[Machine, str]:
        """Let the site's rules choose a profile for a machine nobody assigned."""
        choice = choose(facts, self.live.now().profiles)
        if not isinstance(choice, Choice):
            return machine, choice.reason
        mac = machine.mac
        self.store.machines.set_profile(mac, choice.profile)
        self.store.machines.move(mac, MachineState.ASSIGNED)
        self.record(mac, "assigned", message=f"profile {choice.profile} by {choice.reason}")
        if choice.rule.arm:
            self.store.machines.move(mac, MachineState.ARMED)
            self.record(mac, "armed", message=f"by {choice.rule.source}")
        return self._known(mac), f"profile {choice.profile}, not armed"

    def _stale_token(self, token: str) -> str:
        mac = self.store.tokens.was_used(token, "install")
        if mac:
            # Either an answer got lost, or somebody else on the network asked first: a person should know.
            self.record(mac, "plan", status="note", message="a token that was used already came again")
            return "again this token was used already"
        return "again this token is not valid or too old"

    def _plan(self, mac: str, facts: Facts, here: str) -> str:
        machine = self._known(mac)
        profile = self.live.now().profiles.get(machine.profile or "")
        own = self._own_release(machine)
        release = self.store.releases.get(own) if own else None
        if not may_install(machine) or profile is None or release is None:
            why = f"machine {mac} is {machine.state.value}, profile {machine.profile}, release {own}"
            self.record(mac, "plan", status="note", message=why)
            return f"again {why}"
        self.store.machines.set_facts(mac, facts)
        try:
            plan = plan_install(facts, profile, release, hostname=machine.name or default_name(mac))
        except Refused as refusal:
            self.record(mac, "plan", status="failed", message=str(refusal))
            self.store.machines.move(mac, MachineState.FAILED, problem=str(refusal))
            return "refused " + str(refusal).replace("\n", " ")
        self.store.machines.move(mac, MachineState.INSTALLING, release=release.id)
        now = self.clock()
        secret = self.store.tokens.issue(mac, "report", now=now, lifetime_seconds=REPORT_SECONDS)
        self.record(mac, "plan", message=f"release {release.id} on {facts.firmware.value}")
        return render(plan, report=secret, base=f"{here}/r/{release.id}", pool=here)

    def _note(self, mac: str, report: Report) -> str:
        machine = self._known(mac)
        finished = (report.stage, report.status) == ("finish", "done")
        if machine.state is MachineState.INSTALLED and finished:
            return "ok"  # the first answer got lost
        if machine.state is not MachineState.INSTALLING:
            return f"stop machine {mac} is {machine.state.value} now"
        self.record(
            mac,
            report.stage,
            status=report.status,
            size_bytes=report.size_bytes,
            seconds=report.seconds,
            message=report.message,
        )
        if report.status == "failed":
            lines = [line for line in report.message.splitlines() if line.strip()]
            problem = f"{report.stage} failed: {lines[-1] if lines else 'no output'}"
            self.store.machines.move(mac, MachineState.FAILED, problem=problem[:500])
        elif finished:
            self.store.machines.move(mac, MachineState.INSTALLED)
            self.store.tokens.revoke(mac, "install")
        return "ok"

    def _known(self, mac: str) -> Machine:
        machine = self.store.machines.get(mac)
        assert machine is not None
        return machine


@lru_cache(maxsize=4)
def _for_strangers(any_release: str | None) -> BootTarget:
    """The same for all of them, and most of those that ask twice a second."""
    return decide(None, own_release=None, any_release=any_release)


def default_name(mac: str) -> str:
    """A host name for a machine nobody named."""
    return "m" + mac.replace(":", "")[-6:]


def explain(target: BootTarget) -> str:
    """One sentence for a person."""
    match target:
        case NetBoot():
            return f"boots the installer of release {target.release} from the network: {target.reason}"
        case LocalBoot():
            return f"boots from its own disk: {target.reason}"
        case _:
            return f"gets no answer: {target.reason}"


def parse_report(body: str) -> Report:
    """Read what an installer posts; raises Problem that says which line is wrong."""
    head, _, message = body.partition("\n\n")
    fields: dict[str, str] = {}
    for number, line in enumerate(head.splitlines(), 1):
        key, _, value = line.partition(" ")
        if key not in ("report", "stage", "status", "seconds", "bytes"):
            raise Problem(
                f"line {number} starts with {key[:40]!r}, expected report, stage, status, seconds or bytes"
            )
        fields[key] = value.strip()
    for key in ("report", "stage", "status"):
        if not fields.get(key):
            raise Problem(f"the report has no line `{key}`")
    if not STAGE.fullmatch(fields["stage"]):
        raise Problem(f"stage is {fields['stage'][:40]!r}, expected a short lower-case word")
    if fields["status"] not in STATUSES:
        raise Problem(f"status is {fields['status'][:40]!r}, expected {', '.join(STATUSES)}")
    try:
        seconds = float(fields["seconds"]) if "seconds" in fields else None
        size = int(fields["bytes"]) if "bytes" in fields else None
    except ValueError as bad:
        raise Problem(f"seconds and bytes are numbers, got {bad}") from bad
    if (seconds is not None and not 0 <= seconds < 1e7) or (size is not None and not 0 <= size < 2**53):
        raise Problem("seconds or bytes is out of range")
    return Report(fields["report"], fields["stage"], fields["status"], seconds, size, message)
