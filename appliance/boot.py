"""What booting machines and installers ask and report: the use cases behind DHCP, TFTP and HTTP."""

import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from appliance.arrivals import Arrivals
from appliance.channels import STABLE, Channels
from appliance.clients import ClientDesk
from appliance.decision import decide, in_words, lends_now, may_install
from appliance.discovery import installers
from appliance.disk_contents import note_contents
from appliance.errors import Problem
from appliance.facts import chosen_in, parse_facts, rescue_in
from appliance.followed import Followed
from appliance.install import Refused, default_name, fingerprint, plan_install, planned, render
from appliance.journal import Journal
from appliance.lending import Lending
from appliance.live import LiveSite
from appliance.match import Choice, choose
from appliance.model import (
    BootTarget,
    Event,
    Facts,
    Firmware,
    Machine,
    MachineState,
    NetBoot,
    Tree,
)
from appliance.net_settings import NetSettings
from appliance.offering import listing
from appliance.rescue import Rescue
from appliance.secure_boot import SIGNED_KERNEL
from appliance.statement import RELEASE_ID
from appliance.step_report import StepReport, parse_report
from appliance.store import Store
from appliance.strategies import Preference, Strategy
from appliance.wiping import Wiping

log = logging.getLogger(__name__)

INSTALL_SECONDS = 3600.0
REPORT_SECONDS = 24 * 3600.0
POLL_SECONDS = 3
MESSAGE_CHARACTERS = 8000
HEX = re.compile(r"[0-9a-f]{64}")


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
        self.arrivals = Arrivals(tree, store, clock)
        self.rescue = Rescue(store, clock)
        self.wiping = Wiping(store, clock)
        self.followed = Followed(live, store, clock)
        self.clients = ClientDesk(live, store, channels, clock)

    def boot_target(self, mac: str, firmware: Firmware | None) -> BootTarget:
        """What this machine boots; changes nothing."""
        newest = self.store.recall.newest_sound()
        return self._decide(mac, newest.id if newest else None)

    def _decide(self, mac: str, any_release: str | None) -> BootTarget:
        machine = self.store.recall.machine(mac)
        if machine is None:
            return _for_strangers(any_release)
        return decide(machine, own_release=self._own_release(machine), any_release=any_release)

    def moment(self) -> AbstractContextManager[None]:
        """For answers to what had come when it began: the store is looked at for changes once."""
        return self.store.recall.moment()

    def script_target(self, mac: str, firmware: Firmware | None, here: str) -> BootTarget:
        """Like boot_target, with the installer's kernel arguments and, for an armed machine, its token.

        It counts as one of the starts into the rescue shell.
        """
        newest = installers(self.live.now().profiles, self.store.releases.newest_sound)
        target = self._decide(mac, newest.wide)
        if not isinstance(target, NetBoot):
            return target
        machine = self.store.machines.get(mac)
        own = self._own_release(machine) if machine else None
        of_strangers = target.release == newest.wide != own
        narrow, arm64 = (newest.narrow, newest.arm64) if of_strangers else ("", "")
        profile = self.live.now().profiles.get(machine.profile) if machine and machine.profile else None
        words = [f"distserver={here}", f"BOOTIF=01-{mac.replace(':', '-')}"]
        if machine and machine.rescue:
            words += self.rescue.arguments(machine)
        elif machine and may_install(machine):
            words.append(f"distserver.token={self._token(mac)}")
        elif machine and lends_now(machine):
            name = machine.name or default_name(mac)
            words += [f"distserver.name={name}", f"distserver.token={self.lending.token(mac)}"]
            words.append("distserver.mode=compile-node")
        words.append(profile.kernel_arguments if profile else "console=tty0 console=ttyS0,115200")
        return NetBoot(target.release, " ".join(words), target.reason, narrow, arm64)

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

    def recent_events(self, seconds: float) -> list[tuple[float, Event]]:
        """What came to the timelines lately: how many seconds ago, and what."""
        now = self.clock()
        return [(now - event.at, event) for event in self.store.events.since(now - seconds)]

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
        """An installer says what it runs on; the answer: `install TOKEN`, `wait N ...` or `local ...`.

        A rescue shell says so in a line `rescue TOKEN`, and nothing is decided for it.
        """
        facts = parse_facts(facts_text)
        with self.store.database.change():
            if token := rescue_in(facts_text):
                return self.rescue.began(token, facts)
            machine = self._meet(facts)
            if machine.state is MachineState.DISCOVERED:
                machine, reason = self._match(machine, facts, chosen_in(facts_text))
            else:
                reason = machine.problem or f"it is {machine.state.value}, not armed"
        if may_install(machine):
            if self._own_release(machine) is None and not machine.wipes:
                return f"wait {POLL_SECONDS} profile {machine.profile} has no release yet"
            return f"install {self._token(machine.mac)}"
        if machine.state is MachineState.INSTALLED:
            return f"local release {machine.release} is installed"
        return f"wait {POLL_SECONDS} {reason}"

    def profiles(self) -> str:
        """What a person at a console may choose from: `NAME<TAB>DESCRIPTION` lines."""
        return listing(self._offered())

    def plan(self, body: str, here: str) -> str:
        """Trade a one-time token and facts for the plan, or for `refused ...` / `again ...`."""
        first, _, facts_text = body.partition("\n")
        word, _, token = first.strip().partition(" ")
        if word != "token" or not token:
            raise Problem(f"line 1 is {first[:80]!r}, expected `token <token>`")
        facts = parse_facts(facts_text)
        with self.store.database.change():
            mac = self.store.tokens.use(token, "install", now=self.clock())
            mac = mac or self.arrivals.armed_by(token, facts)
            if mac is None:
                return self._stale_token(token, facts)
            return self._plan(mac, facts, here)

    def event(self, body: str) -> str:
        """A step an installer reports; `stop ...` tells it that nobody wants it to go on."""
        report = parse_report(body)
        with self.store.database.change():
            mac = self.store.tokens.owner(report.secret, "report", now=self.clock())
            if mac is None:
                return "stop this installation was ended on the server"
            return self._note(mac, report)

    def installed(self, body: str) -> str:
        """A machine was installed from a medium and reaches its server now."""
        return self.arrivals.installed(body)

    def enroll(self, body: str) -> str:
        """The signing request of a machine that is being installed."""
        return self.clients.enroll(body, self.arrivals.reported)

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
        return in_words(self.boot_target(mac, None))

    def _own_release(self, machine: Machine) -> str | None:
        """What the channel names that the machine follows, unless that does not verify.

        A machine whose installation did not end keeps its release: it booted that one's kernel and installer.
        """
        installing = machine.state is MachineState.INSTALLING and not machine.wipes
        begun = machine.release if installing else None
        if begun and self.store.releases.get(begun) and not self.store.releases.fault(begun):
            return begun
        return self._release_on(machine.profile, machine.channel) if machine.profile else None

    def _release_on(self, profile: str, channel: str) -> str | None:
        said = self.channels.of_machine(profile, channel)
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

    def _match(self, machine: Machine, facts: Facts, chosen: str) -> tuple[Machine, str]:
        """Let the site's rules choose a profile for a machine nobody assigned, else who is at its console."""
        choice = choose(facts, self.live.now().profiles)
        mac = machine.mac
        if isinstance(choice, Choice):
            self._assign(mac, choice.profile, f"by {choice.reason}")
            if choice.rule.arm:
                self.store.machines.move(mac, MachineState.ARMED)
                self.record(mac, "armed", message=f"by {choice.rule.source}")
                rule = f"rule {choice.rule.source}"
                self.store.audit.add(self.clock(), rule, "machine arm", mac, f"profile {choice.profile}")
            return self._known(mac), f"profile {choice.profile}, not armed"
        if not chosen:
            return machine, choice.reason
        if chosen not in self._offered():
            return machine, f"there is no profile {chosen[:40]!r} with a release: choose another"
        # Whoever is there may say what the machine is. What is on its disks only the server lets go.
        self._assign(mac, chosen, "chosen on the console")
        return self._known(mac), f"profile {chosen}, not armed"

    def _assign(self, mac: str, profile: str, why: str) -> None:
        self.store.machines.set_profile(mac, profile)
        self.store.machines.move(mac, MachineState.ASSIGNED)
        self.record(mac, "assigned", message=f"profile {profile} {why}")
        self.store.audit.add(self.clock(), "boot", "machine assign", mac, f"profile {profile} {why}")

    def _offered(self) -> dict[str, str]:
        """Description of every profile that a machine could be installed with, by name."""
        profiles = sorted(self.live.now().profiles.items())
        return {name: one.description for name, one in profiles if self._release_on(name, STABLE)}

    def _stale_token(self, token: str, facts: Facts) -> str:
        if why := self.arrivals.why_not(token, facts):
            return f"again {why}"
        mac = self.store.tokens.was_used(token, "install")
        if mac:
            # Either an answer got lost, or somebody else on the network asked first: a person should know.
            self.record(mac, "plan", status="note", message="a token that was used already came again")
            return "again this token was used already"
        return "again this token is not valid or too old"

    def _plan(self, mac: str, facts: Facts, here: str) -> str:
        machine = self._known(mac)
        profile = self.live.now().profiles.get(machine.profile or "")
        if machine.wipes and profile:
            return self.wiping.plan(machine, facts, profile)
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
        # What was there before is wiped: whoever has a copy of its key is nobody.
        self.store.clients.forget(mac)
        now = self.clock()
        secret = self.store.tokens.issue(mac, "report", now=now, lifetime_seconds=REPORT_SECONDS)
        text = render(plan, report=secret, base=f"{here}/r/{release.id}", pool=here)
        self.record(mac, "plan", message=planned(release.id, facts.firmware.value, fingerprint(text)))
        return text

    def _note(self, mac: str, report: StepReport) -> str:
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
        elif finished and machine.wipes:
            self.wiping.done(machine)
        elif finished:
            self.store.machines.move(mac, MachineState.INSTALLED)
            note_contents(self.store, machine, self.live.now().profiles.get(machine.profile or ""))
            self.store.tokens.revoke(mac, "install")
            self.arrivals.was_installed(mac)
        return "ok"

    def _known(self, mac: str) -> Machine:
        machine = self.store.machines.get(mac)
        assert machine is not None
        return machine


@lru_cache(maxsize=4)
def _for_strangers(any_release: str | None) -> BootTarget:
    """The same for all of them, and most of those that ask twice a second."""
    return decide(None, own_release=None, any_release=any_release)
