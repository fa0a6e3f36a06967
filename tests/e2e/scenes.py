"""What end-to-end tests stand on: a built release, a store of its own, waits, and a shell on a machine."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.deadline import wait_until
from appliance.demo import INSTALL_SECONDS, Scene, cache
from appliance.lab import Lan
from appliance.model import Event, Machine, MachineState, Tree
from appliance.run import Argument, run
from appliance.services import Services
from appliance.vm import Vm
from appliance.vm_power import PoweredOn
from tests.quiet import nothing_is_due

ADMIN = "10.77.0.9"
UEFI_MAC, BIOS_MAC = "52:54:00:77:00:01", "52:54:00:77:00:02"
SSH_SECONDS = 90.0


@dataclass(frozen=True)
class Built:
    """The example profile, built and published in the state directory that runs share."""

    tree: Tree
    release: str
    site: Path
    key: Path


@dataclass(frozen=True)
class Installed:
    """A machine that was installed and restarted from its own disk; it is still on."""

    scene: Scene
    vm: Vm
    machine: Machine
    events: list[Event]
    console: str
    net: Lan
    address: str
    key: Path

    def sh(self, command: str) -> str:
        """What a command prints on the machine."""
        options = [
            "UserKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=no",
            "LogLevel=ERROR",
            "BatchMode=yes",
        ]
        words = [word for option in options for word in ("-o", option)]
        argv: list[Argument] = ["ssh", "-i", self.key, *words, f"root@{self.address}", command]
        return run(argv, prefix=self.net.exec_prefix("admin"), timeout_seconds=SSH_SECONDS).stdout


def own_scene(built: Built, name: str) -> Scene:
    """A store of its own that knows the built release; packages and releases are shared."""
    place = cache() / "e2e" / name
    shutil.rmtree(place, ignore_errors=True)
    state = place / "state"
    state.mkdir(parents=True)
    for room in ("pool", "releases", "keys"):
        (state / room).symlink_to(built.tree.path / room)
    shutil.copytree(built.site, place / "site")
    scene = Scene(place, place / "site", Tree(state))
    services = scene.services()
    release = Services(built.site, built.tree).store.releases.get(built.release)
    assert release is not None
    services.release_desk.publish(release)
    nothing_is_due(services)
    return scene


def wait_for_state(scene: Scene, mac: str, wanted: MachineState, on: PoweredOn) -> Machine:
    """Wait until a machine is in a state; it is no use to wait on once it has failed."""
    services = scene.services()

    def reached() -> Machine | None:
        machine = services.store.machines.get(mac)
        if machine is None or machine.state not in (wanted, MachineState.FAILED):
            return None
        return machine

    found = wait_until(
        reached, seconds=INSTALL_SECONDS, what=f"{mac} is {wanted.value}", last_seen=on.console.tail
    )
    assert found.state is wanted, f"{found.problem}\n{on.console.tail()}"
    return found


def wait_for_event(scene: Scene, mac: str, stage: str, status: str, on: PoweredOn) -> None:
    services = scene.services()

    def seen() -> bool | None:
        events = [event for _, event in services.store.events.after(mac)]
        return any((event.stage, event.status) == (stage, status) for event in events) or None

    wait_until(seen, seconds=INSTALL_SECONDS, what=f"{mac}: {stage} {status}", last_seen=on.console.tail)


def leased_address(dnsmasq_log: Path, mac: str) -> str:
    """The address the foreign DHCP server gave last."""
    found = re.findall(rf"DHCPACK\(eth0\) (\S+) {mac}", dnsmasq_log.read_text())
    return str(found[-1])
