"""Says what a machine would boot and be installed with, and why, without asking or touching anything."""

import difflib
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from pathlib import Path

from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.decision import may_install
from appliance.desks.chain import Step, Walk
from appliance.errors import Problem
from appliance.facts import render_facts
from appliance.live import LiveSite
from appliance.match import choose
from appliance.model import Firmware, Machine, MachineState, Tree
from appliance.store import Store
from pxe.imitation import Asker
from pxe.links import Link

IPXE = "iPXE"
DOCUMENTATION = IPv4Interface("192.0.2.2/24")
"""Stands for the server where the site names no address (RFC 5737)."""
NAMES = {
    "bios": 0,
    "ia32": 6,
    "x64": 7,
    "arm32": 10,
    "arm64": 11,
    "riscv64": 27,
    "loongarch64": 39,
    "x64-http": 16,
    "arm64-http": 19,
}
"""Words for the values of option 93 that machines have most."""
OF_PROFILE = {"arm64": "arm64", "arm": "arm32", "riscv": "riscv64", "loong": "loongarch64", "x86": "ia32"}
"""The architecture of a UEFI machine by its profile's `arch`; x64 for all others."""
# Tokens are random and used once; an explanation has neither to say one nor to differ because of it.
_SECRET = re.compile(r"\b[0-9a-f]{32}\b")


@dataclass(frozen=True)
class Question:
    """Which client is imitated; what is not said is what is known of the machine, or usual."""

    arch: int | None = None
    vendor_class: str = ""
    """PXEClient, HTTPClient or iPXE."""


@dataclass(frozen=True)
class Explained:
    mac: str
    steps: tuple[Step, ...]

    @property
    def lines(self) -> list[str]:
        return [line for step in self.steps for line in (step.title, *(f"  {said}" for said in step.lines))]


class ExplainDesk:
    """Each answer is made on a copy of the store, so that the servers' own code can be let run to its end."""

    def __init__(
        self, live: LiveSite, tree: Tree, store: Store, channels: Channels, clock: Callable[[], float]
    ) -> None:
        self._live = live
        self._tree = tree
        self._store = store
        self._channels = channels
        self._clock = clock

    def explain(self, mac: str, question: Question = Question(), *, site: Path | None = None) -> Explained:
        """The chain from the first packet to the plan; `site`: as if that were the site."""
        with self._copy(site) as desk:
            return Explained(mac, tuple(self._steps(desk, mac, question)))

    def difference(self, mac: str, site: Path, question: Question = Question()) -> list[str]:
        """What would change for a machine if `site` were the site; empty: nothing."""
        before = self.explain(mac, question).lines
        after = self.explain(mac, question, site=site).lines
        return list(difflib.unified_diff(before, after, f"{mac} now", f"{mac} with {site}", lineterm="", n=2))

    def differences(self, site: Path) -> dict[str, list[str]]:
        """The difference for every known machine, by MAC; those that stay as they are have an empty one."""
        return {machine.mac: self.difference(machine.mac, site) for machine in self._store.machines.all()}

    @contextmanager
    def _copy(self, site: Path | None) -> Iterator[BootDesk]:
        live = LiveSite(site) if site else self._live
        with tempfile.TemporaryDirectory(prefix="distserver-explain-") as scratch:
            copied = Path(scratch) / "store.sqlite"
            self._store.database.copy(copied)
            store = Store(copied)
            try:
                yield BootDesk(live, self._tree, store, self._channels, self._clock)
            finally:
                store.close()

    def _steps(self, desk: BootDesk, mac: str, question: Question) -> Iterator[Step]:
        machine = desk.store.machines.get(mac)
        yield Step(f"machine {mac}", tuple(_who(desk, machine)))
        target = desk.boot_target(mac, None)
        yield Step("decision", (f"{type(target).__name__}: {target.reason}",))
        walk = Walk(desk, self._tree.path / "boot", _link(desk), desk.live.now().http_port)
        ipxe = question.vendor_class == IPXE
        for step in walk.steps(_asker(desk, machine, mac, question), ipxe=ipxe):
            yield Step(step.title, tuple(_SECRET.sub("<one-time token>", line) for line in step.lines))
        if machine is not None:
            yield from _installation(desk, machine, _here(desk))


def read_arch(text: str) -> int:
    """A value of option 93, from its number or one of NAMES; raises Problem."""
    if text in NAMES:
        return NAMES[text]
    if text.isdecimal() and int(text) < 1 << 16:
        return int(text)
    raise Problem(f"{text!r} is no architecture", hint=f"one of {', '.join(NAMES)}, or option 93 as a number")


def _asker(desk: BootDesk, machine: Machine | None, mac: str, question: Question) -> Asker:
    arch = question.arch if question.arch is not None else _usual_arch(desk, machine)
    if question.vendor_class == "HTTPClient" and question.arch is None:
        arch = {7: 16, 11: 19, 6: 15, 10: 18, 0: 20}.get(arch, arch)
    vendor_class = "" if question.vendor_class == IPXE else question.vendor_class
    return Asker(mac, arch, vendor_class)


def _usual_arch(desk: BootDesk, machine: Machine | None) -> int:
    if machine and machine.facts and machine.facts.firmware is Firmware.BIOS:
        return NAMES["bios"]
    profile = desk.live.now().profiles.get(machine.profile or "") if machine else None
    return NAMES[OF_PROFILE.get(profile.arch, "x64") if profile else "x64"]


def _link(desk: BootDesk) -> Link:
    address = desk.live.now().address
    used = IPv4Interface(f"{address}/24") if address else DOCUMENTATION
    return Link("explained", 0, used.ip, used.network, "", 1500)


def _here(desk: BootDesk) -> str:
    return f"http://{_link(desk).address}:{desk.live.now().http_port}"


def _who(desk: BootDesk, machine: Machine | None) -> Iterator[str]:
    """What is known of a machine, and where each of it comes from."""
    site = desk.live.now()
    yield f"site {site.name}" + ("" if site.address else f"; {_link(desk).address} stands for the server")
    if machine is None:
        yield "unknown: no machine has this MAC"
        return
    yield f"state {machine.state.value}" + (f": {machine.problem}" if machine.problem else "")
    if machine.facts:
        facts = machine.facts
        hardware = f"{facts.vendor} {facts.product}, {facts.firmware.value}, {len(facts.disks)} disks"
        yield f"it said of itself: {hardware}"
        # Of two sites that are compared only what they say counts, not where they are.
        yield f"match rules: {choose(facts, site.profiles).reason.replace(f'{site.path}/', '')}"
    else:
        yield "it said nothing of itself yet"
    yield from _follows(desk, machine)


def _follows(desk: BootDesk, machine: Machine) -> Iterator[str]:
    """Profile, what it inherits from, channel and release of a machine."""
    name = machine.profile
    if name is None:
        yield "profile: none yet"
        return
    said = [event.message for _, event in desk.store.events.after(machine.mac) if event.stage == "assigned"]
    profile = desk.live.now().profiles.get(name)
    yield f"profile {name}" + (f" ({said[-1]})" if said else "")
    if profile is None:
        yield f"the site has no profile {name}: it cannot be installed"
    else:
        yield f"  inherits {' < '.join(profile.lineage) or name}, kernel {profile.kernel_package}"
    statement = desk.channels.of_machine(name, machine.channel)
    if statement is None:
        yield f"channel {machine.channel}: it names no release, or none that is signed"
        return
    instead = "" if statement.channel == machine.channel else f" (there is no {machine.channel})"
    yield f"channel {statement.channel}{instead}: release {statement.release}, move {statement.serial} of it"
    if fault := desk.store.releases.fault(statement.release):
        yield f"  which does not verify: {fault}"
    if machine.state is MachineState.INSTALLING and machine.release not in (None, statement.release):
        yield f"  but its installation began with {machine.release} and goes on with that"


def _installation(desk: BootDesk, machine: Machine, here: str) -> Iterator[Step]:
    """What its installer is answered; if it may not be installed, also what it would be, were it armed."""
    if machine.facts is None:
        yield Step("installer", ("what it would do is known when it has said what it is",))
        return
    facts = render_facts(replace(machine.facts, mac=machine.mac))
    answer = desk.hello(facts, here)
    yield Step("installer: hello", (f"answer: {_SECRET.sub('<one-time token>', answer)}",))
    title = "installer: plan"
    if not may_install(_now(desk, machine)):
        if _now(desk, machine).profile is None:
            return
        title = "installer: plan, if it were armed"
        desk.store.machines.move(machine.mac, MachineState.ARMED)
        answer = desk.hello(facts, here)
    word, _, token = answer.partition(" ")
    plan = desk.plan(f"token {token}\n{facts}", here) if word == "install" else answer
    yield Step(title, tuple(_SECRET.sub("<secret>", line) for line in plan.splitlines()))


def _now(desk: BootDesk, machine: Machine) -> Machine:
    return desk.store.machines.get(machine.mac) or machine
