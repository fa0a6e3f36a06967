"""Boot once, as a property of random histories: one arming is one installation, whatever happens."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance import first_report, statement
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.media_secret import media_secret
from appliance.model import Disk, Facts, Firmware, LocalBoot, Machine, MachineState, NetBoot, Tree
from appliance.overlays import example_site
from appliance.rescue import TRIES
from appliance.services import Services
from appliance.statement import Statement
from appliance.store.media import TOKEN, KnownMedium
from appliance.store.tokens import hash_of
from tests.clock import Clock
from tests.fake_notary import FakeNotary

MAC, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:99"
HERE = "http://10.77.0.2:80"
RELEASES = ("20260101-00000000000a", "20260102-00000000000b")
FACTS = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=(Disk("/dev/vda", 8 * 2**30, "virtio"),))
STRANGERS = Facts(STRANGER, Firmware.BIOS, 2**30, vendor="Sun", disks=FACTS.disks)
INSTALLS, CLEARS = "sfdisk ", "\nwipe "
"""What stands in a plan that installs, and in one that only wipes."""
AGES = (1, 1, 1, 1, 2, 3, 9)
"""Of a token or secret: 1 is the newest. An installer that nobody switched off still has an old one."""
ENDS = (("finish", "done"), ("finish", "done"), ("stage", "failed"), ("stage", "done"))


class Histories(RuleBasedStateMachine):
    """One machine, its installers (of which some are ghosts of earlier boots), a stranger and an admin.

    What the test believes is kept apart from the store: `allowed` is whether a person armed the machine since
    it was last installed, failed or disarmed, `permit` the token of the one image that may arm it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="boot-once-"))
        self.clock = Clock()
        self.services = Services(example_site(), Tree(self.place), self.clock)
        self.services.desk.channels = Channels(self.place / "channels", FakeNotary().signed_text)
        self.desk: BootDesk = self.services.desk
        self.allowed = False
        self.clears = False
        """What is allowed is to wipe it, not to install it."""
        self.tokens: list[str] = []
        """Of kernel arguments and `hello`; some were never used, some by somebody else."""
        self.secrets: list[str] = []
        """Of plans, in the order in which they were given out; the first may be lost answers."""
        self.serial = 0
        self.permit = ""
        self.permit_ends = 0.0
        self.nonces = 0
        self.images: list[str] = []
        """Tokens of images for the machine, the newest last."""
        self.rescues_left = 0
        self.rescue_tokens: list[str] = []
        media_secret(self.services.tree)

    def teardown(self) -> None:
        self.services.store.close()
        shutil.rmtree(self.place)

    @initialize()
    def begin(self) -> None:
        for number, name in enumerate(RELEASES):
            self.services.store.releases.add(Release(name, "vm", float(number), "distserver:0123", 3, 100))
        self._point(RELEASES[0])
        self.services.store.machines.add(Machine(MAC, MachineState.ASSIGNED, profile="vm"))

    def _point(self, release: str) -> None:
        self.serial += 1
        said = Statement("vm", "stable", release, self.serial, "2026-01-01T00:00:00Z")
        self.desk.channels.put(said, FakeNotary().clearsign(statement.write(said)))

    @property
    def state(self) -> MachineState:
        found = self.services.store.machines.get(MAC)
        assert found is not None
        return found.state

    # what a person does

    @rule()
    def arm(self) -> None:
        try:
            self.services.arm(MAC)
        except Problem:
            assert self.state is MachineState.INSTALLING
            return
        self.allowed, self.clears = True, False

    @rule(right=st.booleans())
    def let_it_be_wiped_and_retired(self, right: bool) -> None:
        machine = self.services.machine(MAC)
        known = machine.facts is not None and len(machine.facts.disks) == 1
        can = known and right and machine.state is not MachineState.INSTALLING
        try:
            self.services.machine_desk.wipe(MAC, typed=(machine.name or MAC) if right else "another")
        except Problem:
            assert not can
            return
        assert can
        self.allowed, self.clears, self.permit = True, True, ""

    @rule()
    def disarm(self) -> None:
        self.services.disarm(MAC)
        self.allowed, self.clears, self.permit = False, False, ""

    @rule()
    def assign(self) -> None:
        self.services.assign(MAC, "vm")
        self.allowed, self.clears, self.permit = False, False, ""

    @rule(seconds=st.sampled_from([60.0, 1e6]), offline=st.booleans())
    def an_image_for_the_machine_is_made(self, seconds: float, offline: bool) -> None:
        self.images.append(self.permitted(seconds, offline))
        self.permit, self.permit_ends = self.images[-1], self.clock.now + seconds

    def permitted(self, seconds: float, offline: bool) -> str:
        """What the desk of images does: one that was made before is worth nothing from then on."""
        store = self.services.store
        with store.database.change():
            self.services.media.end(MAC, "another image for it is made")
            token = store.tokens.issue(MAC, TOKEN, now=self.clock.now, lifetime_seconds=seconds)
            releases, ends = ((RELEASES[0], "vm"),), self.clock.now + seconds
            name = f"{len(self.images):016x}"
            store.media.add(
                KnownMedium(name, self.clock.now, "ann", HERE, offline, releases, MAC, expires_at=ends),
                hash_of(token),
            )
        return token

    @rule(release=st.sampled_from(RELEASES))
    def channel_moves_or_rolls_back(self, release: str) -> None:
        self._point(release)

    @rule(lends=st.booleans())
    def lend(self, lends: bool) -> None:
        self.services.store.machines.set_lends(MAC, lends)

    @rule(wanted=st.booleans())
    def rescue(self, wanted: bool) -> None:
        self.services.machine_desk.rescue(MAC, wanted)
        self.rescues_left = TRIES if wanted else 0

    # what the world does

    @rule(seconds=st.sampled_from([-86400.0, -1.0, 1.0, 4000.0, 90000.0]))
    def time_passes_or_runs_backwards(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def server_is_killed_and_starts_again(self) -> None:
        self.services.store.close()
        self.services = Services(example_site(), Tree(self.place), self.clock)
        self.services.desk.channels = self.desk.channels
        self.desk = self.services.desk

    # what machines do

    @rule(times=st.integers(1, 2))
    def firmware_asks_for_its_script(self, times: int) -> None:
        """Twice: a packet was sent again, or an answer was lost."""
        for _ in range(times):
            offered = self.desk.boot_target(MAC, Firmware.UEFI)
            target = self.desk.script_target(MAC, Firmware.UEFI, HERE)
            # DHCP, 4011, TFTP and HTTP ask the first, the script the second.
            assert type(offered) is type(target) and offered.reason == target.reason
            words_of_it = target.arguments if isinstance(target, NetBoot) else ""
            assert ("distserver.mode=rescue" in words_of_it) == (self.rescues_left > 0)
            if self.rescues_left:
                self.rescues_left -= 1
                self.rescue_tokens.append(words_of_it.partition("distserver.token=")[2].split()[0])
                continue
            if self.state is MachineState.INSTALLED and not self._lends():
                assert isinstance(target, LocalBoot)
            if isinstance(target, NetBoot) and "compile-node" not in target.arguments:
                words = dict(word.partition("=")[::2] for word in target.arguments.split())
                assert ("distserver.token" in words) == self.allowed
                self.tokens += [words["distserver.token"]] if self.allowed else []

    def _lends(self) -> bool:
        found = self.services.store.machines.get(MAC)
        return found is not None and found.lends

    @rule(mac=st.sampled_from([MAC, STRANGER]), chosen=st.sampled_from(["", "choose vm", "choose db"]))
    def installer_says_hello(self, mac: str, chosen: str = "") -> None:
        """From the network or from a medium, on whose console somebody may have chosen a profile."""
        facts = FACTS if mac == MAC else STRANGERS
        answer = self.desk.hello(f"{render_facts(facts)}{chosen}\n", HERE)
        if mac == STRANGER:
            assert not answer.startswith("install ")
        elif answer.startswith("install "):
            assert self.allowed
            self.tokens.append(answer.split()[1])

    @precondition(lambda self: self.rescue_tokens)
    @rule(age=st.sampled_from(AGES), mac=st.sampled_from([MAC, MAC, STRANGER]))
    def rescue_shell_tells_of_itself(self, age: int, mac: str) -> None:
        """Nothing is installed by it; whoever has its token could only end the rescue."""
        facts = render_facts(FACTS if mac == MAC else STRANGERS)
        token, before = self.rescue_tokens[-min(age, len(self.rescue_tokens))], self.state
        answer = self.desk.hello(f"{facts}rescue {token}\n", HERE)
        assert not answer.startswith("install ") and self.state is before
        if answer.startswith("rescue "):
            self.rescues_left = 0
        assert self.desk.hello(f"{facts}rescue {token}\n", HERE).startswith("over ")
        assert self.desk.plan(f"token {token}\n{facts}", HERE).startswith("again ")

    @rule(starts=st.integers(1, TRIES + 1), tells=st.booleans())
    def machine_is_sent_into_rescue_and_back(self, starts: int, tells: bool) -> None:
        self.rescue(True)
        for _ in range(starts):
            self.firmware_asks_for_its_script(1)
        if tells:
            self.rescue_shell_tells_of_itself(1, MAC)
        self.firmware_asks_for_its_script(1)

    @precondition(lambda self: self.tokens)
    @rule(age=st.sampled_from(AGES), disks=st.integers(1, 2))
    def installer_claims_a_plan(self, age: int, disks: int) -> None:
        token = self.tokens[-min(age, len(self.tokens))]
        found = tuple(Disk(f"/dev/vd{letter}", 8 * 2**30, "virtio") for letter in "ab"[:disks])
        facts = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=found)
        answer = self.desk.plan(f"token {token}\n{render_facts(facts)}", HERE)
        assert (CLEARS in answer) <= self.clears and (INSTALLS in answer) <= (not self.clears)
        if INSTALLS in answer or CLEARS in answer:
            assert self.allowed and self.state is MachineState.INSTALLING and disks == 1
            for old in self.secrets:
                assert self._report(old, "packages", "note").startswith("stop ")
            self.secrets.append(next(line.split()[1] for line in answer.splitlines() if "report " in line))
        elif answer.startswith("refused "):
            self.allowed, self.clears = False, False
        # The packet that was sent twice, or a thief's: no token is good for two plans.
        assert self.desk.plan(f"token {token}\n{render_facts(facts)}", HERE).startswith("again ")

    @precondition(lambda self: self.images)
    @rule(age=st.sampled_from(AGES), mac=st.sampled_from([MAC, MAC, STRANGER]), disks=st.integers(1, 2))
    def medium_for_one_machine_boots(self, age: int, mac: str, disks: int) -> None:
        """The newest image or an older one, on its machine or on another."""
        token = self.images[-min(age, len(self.images))]
        found = tuple(Disk(f"/dev/vd{letter}", 8 * 2**30, "virtio") for letter in "ab"[:disks])
        facts = replace(FACTS if mac == MAC else STRANGERS, disks=found)
        may = token == self.permit and self.clock.now < self.permit_ends and mac == MAC
        answer = self.desk.plan(f"token {token}\n{render_facts(facts)}", HERE)
        assert answer.startswith("again ") != may
        if may:
            self.permit = ""
            self.clears = CLEARS in answer and self.clears
            self.allowed = INSTALLS in answer or self.clears
            assert self.allowed == (disks == 1) == (self.state is MachineState.INSTALLING)
        if INSTALLS in answer or CLEARS in answer:
            self.secrets.append(next(line.split()[1] for line in answer.splitlines() if "report " in line))
        assert self.desk.plan(f"token {token}\n{render_facts(facts)}", HERE).startswith("again ")
        # As the installer does then.
        self.installer_says_hello(mac, "choose vm")

    @rule(
        offline=st.booleans(),
        mac=st.sampled_from([MAC, MAC, STRANGER]),
        between=st.sampled_from(["", "", "disarm", "assign", "install", "report", "late", "other"]),
    )
    def image_is_made_and_boots(self, offline: bool, mac: str, between: str) -> None:
        """From its making to a boot of it, and what may come between."""
        self.an_image_for_the_machine_is_made(60.0, offline)
        match between:
            case "disarm":
                self.disarm()
            case "assign":
                self.assign()
            case "install":
                self.arm()
                self.machine_is_switched_on_and_installed(1, ("finish", "done"))
            case "report" if len(self.images) > 1:
                self.machine_that_was_installed_offline_reports(2, True)
            case "late":
                self.clock.now += 60.0
            case "other":
                self.an_image_for_the_machine_is_made(60.0, offline)
        self.medium_for_one_machine_boots(2 if between == "other" else 1, mac, 1)

    @precondition(lambda self: self.images)
    @rule(age=st.sampled_from(AGES), new=st.booleans())
    def machine_that_was_installed_offline_reports(self, age: int, new: bool) -> None:
        number = len(self.images) - min(age, len(self.images))
        medium = f"{number:016x}"
        self.nonces += new
        text = (
            f"{first_report.FIRST_LINE}\nmedium {medium}\nnonce {self.nonces:032x}\nrelease {RELEASES[0]}\n"
            f"profile vm\nhostname web1\nfingerprint {'cd' * 32}\ntoken {self.images[number]}\nsent 1\n\n"
            f"{render_facts(FACTS)}"
        )
        key = first_report.credential(media_secret(self.services.tree), medium)
        if self.desk.installed(f"hmac {first_report.proof(key, text)}\n{text}") == "taken":
            assert self.state is MachineState.INSTALLED
            self.allowed, self.clears, self.permit = False, False, ""

    def _report(self, secret: str, stage: str, status: str) -> str:
        return self.desk.event(f"report {secret}\nstage {stage}\nstatus {status}\n\nsaid")

    @precondition(lambda self: self.secrets)
    @rule(age=st.sampled_from(AGES), end=st.sampled_from(ENDS))
    def installer_reports(self, age: int, end: tuple[str, str]) -> None:
        before = self.state
        answer = self._report(self.secrets[-min(age, len(self.secrets))], *end)
        if answer == "ok" and before is MachineState.INSTALLING and end != ("stage", "done"):
            self.allowed = False
            self.permit = "" if end == ("finish", "done") else self.permit
            self.expect_it_gone(gone=self.clears and end == ("finish", "done"))

    def expect_it_gone(self, *, gone: bool) -> None:
        """A machine is retired when it was wiped, and only then; it comes back as a new one."""
        assert (self.services.store.machines.get(MAC) is None) == gone
        self.clears = False
        if gone:
            self.rescues_left = 0
            self.services.store.machines.add(Machine(MAC, MachineState.ASSIGNED, profile="vm"))

    @rule(
        end=st.sampled_from(ENDS), disks=st.integers(1, 2), between=st.sampled_from(["", "", "arm", "disarm"])
    )
    def machine_is_wiped_or_somebody_changes_their_mind(
        self, end: tuple[str, str], disks: int, between: str
    ) -> None:
        self.let_it_be_wiped_and_retired(True)
        if between:
            self.arm() if between == "arm" else self.disarm()
        self.machine_starts(disks, end)

    def machine_starts(self, disks: int, end: tuple[str, str]) -> None:
        while self.rescues_left:
            self.firmware_asks_for_its_script(1)
        self.firmware_asks_for_its_script(1)
        if self.state in (MachineState.ARMED, MachineState.INSTALLING):
            self.installer_claims_a_plan(1, disks)
        if self.state is MachineState.INSTALLING:
            self.installer_reports(1, end)

    @precondition(lambda self: self.allowed)
    @rule(times=st.integers(1, 2), end=st.sampled_from(ENDS))
    def machine_is_switched_on_and_installed(self, times: int, end: tuple[str, str]) -> None:
        """From power-on to some end; ("stage", "done") is where the power fails."""
        while self.rescues_left:
            self.firmware_asks_for_its_script(1)
        self.firmware_asks_for_its_script(times)
        if self.state in (MachineState.ARMED, MachineState.INSTALLING):
            self.installer_claims_a_plan(1, 1)
            self.installer_reports(1, end)
        # And on again, into the installer if it is let.
        self.firmware_asks_for_its_script(1)
        self.installer_says_hello(MAC)

    # what must hold after every step

    @invariant()
    def only_an_armed_machine_may_be_wiped(self) -> None:
        if self.services.store.machines.get(MAC) is None:
            return
        assert self.allowed == (self.state in (MachineState.ARMED, MachineState.INSTALLING))

    @invariant()
    def nobody_armed_the_stranger(self) -> None:
        found = self.services.store.machines.get(STRANGER)
        assert found is None or found.state in (MachineState.DISCOVERED, MachineState.ASSIGNED)
        target = self.desk.script_target(STRANGER, Firmware.BIOS, HERE)
        assert not isinstance(target, NetBoot) or "distserver.token" not in target.arguments


Histories.TestCase.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase
