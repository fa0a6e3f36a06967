"""Boot once, as a property of random histories: one arming is one installation, whatever happens."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from appliance import statement
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.model import Disk, Facts, Firmware, LocalBoot, Machine, MachineState, NetBoot, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.statement import Statement
from tests.clock import Clock
from tests.fake_notary import FakeNotary

MAC, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:99"
HERE = "http://10.77.0.2:80"
RELEASES = ("20260101-00000000000a", "20260102-00000000000b")
FACTS = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=(Disk("/dev/vda", 8 * 2**30, "virtio"),))
WIPES = "sfdisk "
AGES = (1, 1, 1, 1, 2, 3, 9)
"""Of a token or secret: 1 is the newest. An installer that nobody switched off still has an old one."""
ENDS = (("finish", "done"), ("finish", "done"), ("stage", "failed"), ("stage", "done"))


class Histories(RuleBasedStateMachine):
    """One machine, its installers (of which some are ghosts of earlier boots), a stranger and an admin.

    What the test believes is kept apart from the store: `allowed` is whether a person armed the machine since
    it was last installed, failed or disarmed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="boot-once-"))
        self.clock = Clock()
        self.services = Services(example_site(), Tree(self.place), self.clock)
        self.services.desk.channels = Channels(self.place / "channels", FakeNotary().signed_text)
        self.desk: BootDesk = self.services.desk
        self.allowed = False
        self.tokens: list[str] = []
        """Of kernel arguments and `hello`; some were never used, some by somebody else."""
        self.secrets: list[str] = []
        """Of plans, in the order in which they were given out; the first may be lost answers."""
        self.serial = 0

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
        self.allowed = True

    @rule()
    def disarm(self) -> None:
        self.services.disarm(MAC)
        self.allowed = False

    @rule(release=st.sampled_from(RELEASES))
    def channel_moves_or_rolls_back(self, release: str) -> None:
        self._point(release)

    @rule(lends=st.booleans())
    def lend(self, lends: bool) -> None:
        self.services.store.machines.set_lends(MAC, lends)

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
            if self.state is MachineState.INSTALLED and not self._lends():
                assert isinstance(target, LocalBoot)
            if isinstance(target, NetBoot) and "compile-node" not in target.arguments:
                words = dict(word.partition("=")[::2] for word in target.arguments.split())
                assert ("distserver.token" in words) == self.allowed
                self.tokens += [words["distserver.token"]] if self.allowed else []

    def _lends(self) -> bool:
        found = self.services.store.machines.get(MAC)
        return found is not None and found.lends

    @rule(mac=st.sampled_from([MAC, STRANGER]))
    def installer_says_hello(self, mac: str) -> None:
        facts = (
            FACTS if mac == MAC else Facts(STRANGER, Firmware.BIOS, 2**30, vendor="Sun", disks=FACTS.disks)
        )
        answer = self.desk.hello(render_facts(facts), HERE)
        if mac == STRANGER:
            assert not answer.startswith("install ")
        elif answer.startswith("install "):
            assert self.allowed
            self.tokens.append(answer.split()[1])

    @precondition(lambda self: self.tokens)
    @rule(age=st.sampled_from(AGES), disks=st.integers(1, 2))
    def installer_claims_a_plan(self, age: int, disks: int) -> None:
        token = self.tokens[-min(age, len(self.tokens))]
        found = tuple(Disk(f"/dev/vd{letter}", 8 * 2**30, "virtio") for letter in "ab"[:disks])
        facts = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=found)
        answer = self.desk.plan(f"token {token}\n{render_facts(facts)}", HERE)
        if WIPES in answer:
            assert self.allowed and self.state is MachineState.INSTALLING
            for old in self.secrets:
                assert self._report(old, "packages", "note").startswith("stop ")
            self.secrets.append(next(line.split()[1] for line in answer.splitlines() if "report " in line))
        elif answer.startswith("refused "):
            self.allowed = False
        # The packet that was sent twice, or a thief's: no token is good for two plans.
        assert self.desk.plan(f"token {token}\n{render_facts(facts)}", HERE).startswith("again ")

    def _report(self, secret: str, stage: str, status: str) -> str:
        return self.desk.event(f"report {secret}\nstage {stage}\nstatus {status}\n\nsaid")

    @precondition(lambda self: self.secrets)
    @rule(age=st.sampled_from(AGES), end=st.sampled_from(ENDS))
    def installer_reports(self, age: int, end: tuple[str, str]) -> None:
        before = self.state
        answer = self._report(self.secrets[-min(age, len(self.secrets))], *end)
        if answer == "ok" and before is MachineState.INSTALLING and end != ("stage", "done"):
            self.allowed = False

    @precondition(lambda self: self.allowed)
    @rule(times=st.integers(1, 2), end=st.sampled_from(ENDS))
    def machine_is_switched_on_and_installed(self, times: int, end: tuple[str, str]) -> None:
        """From power-on to some end; ("stage", "done") is where the power fails."""
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


Histories.TestCase.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistories = Histories.TestCase
