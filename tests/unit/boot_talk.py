"""Talking to the desk that answers booting machines, as one of them."""

from pathlib import Path

from appliance import statement
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.live import LiveSite
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, Tree
from appliance.statement import Statement
from appliance.store import Store
from tests.clock import Clock
from tests.fake_notary import FakeNotary

MAC = "52:54:00:00:00:01"
HERE = "http://10.77.0.2:80"
RELEASE = "20260101-00000000000a"
DISK = Disk("/dev/vda", 8 * 2**30, "virtio")
FACTS = Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", product="Standard PC", disks=(DISK,))


def make_desk(site: Path, place: Path, clock: Clock) -> BootDesk:
    """One with a published release of the profile vm."""
    tree = Tree(place / "state")
    store = Store(tree.store)
    store.releases.add(Release(RELEASE, "vm", 1.0, "distserver:0123", 3, 100))
    channels = Channels(tree.path / "channels", FakeNotary().signed_text)
    point(channels, "stable", RELEASE, 1)
    return BootDesk(LiveSite(site), tree, store, channels, clock)


def point(channels: Channels, channel: str, release: str, serial: int) -> None:
    said = Statement("vm", channel, release, serial, "2026-01-01T00:00:00Z")
    channels.put(said, FakeNotary().clearsign(statement.write(said)))


def machine(desk: BootDesk) -> Machine:
    found = desk.store.machines.get(MAC)
    assert found is not None
    return found


def stages(desk: BootDesk) -> list[str]:
    return [f"{event.stage} {event.status}" for _, event in desk.store.events.after(MAC)]


def arm(desk: BootDesk) -> None:
    desk.store.machines.add(Machine(MAC, MachineState.ARMED, profile="vm"))


def get_plan(desk: BootDesk, facts: Facts = FACTS) -> str:
    token = desk.hello(render_facts(FACTS), HERE).split()[1]
    return desk.plan(f"token {token}\n{render_facts(facts)}", HERE)


def secret_of(plan: str) -> str:
    return next(line.split()[1] for line in plan.splitlines() if line.startswith("report "))


def report(secret: str, stage: str, status: str, message: str = "") -> str:
    return f"report {secret}\nstage {stage}\nstatus {status}\nseconds 1.5\nbytes 10\n\n{message}"
