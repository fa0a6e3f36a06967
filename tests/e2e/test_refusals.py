"""Machines that must not be written to are not, with real firmware and real disks."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.demo import PROFILE, Scene, blank_machine, serving
from appliance.lab import foreign_dhcp, lan
from appliance.model import Firmware, MachineState
from appliance.vm import Accel, PoweredOn, VmDisk, make_disk, power_on
from tests.e2e.scenes import Built, own_scene, wait_for_event

TWO, SMALL, STRANGER = "52:54:00:77:01:01", "52:54:00:77:01:02", "52:54:00:77:01:03"
SHELL_SECONDS = 60.0


@dataclass(frozen=True)
class Refused:
    scene: Scene
    on: PoweredOn

    def problem(self, mac: str) -> str:
        return self.scene.services().machine(mac).problem

    def untouched(self) -> bool:
        """A raw disk that was never written to has no blocks."""
        return all(disk.path.stat().st_blocks == 0 for disk in self.on.vm.disks)


@pytest.fixture(scope="module")
def refused(built: Built, accel: Accel) -> Iterator[dict[str, Refused]]:
    scene = own_scene(built, "refuse")
    _match_only(scene.site / "profiles" / PROFILE / "profile.toml", "Sun*")
    services = scene.services()
    for mac in (TWO, SMALL):
        services.add_machine(mac, profile=PROFILE)
        services.arm(mac)
    with ExitStack() as stack:
        net = stack.enter_context(lan("no", taps=3))
        stack.enter_context(foreign_dhcp(net, scene.place / "dnsmasq.log"))
        stack.enter_context(serving(scene, net))
        found = {}
        for mac, tap in zip((TWO, SMALL, STRANGER), net.taps, strict=True):
            place = scene.place / mac.replace(":", "")
            vm = blank_machine(place, Firmware.BIOS, mac=mac, tap=tap, disks=2 if mac == TWO else 1)
            if mac == SMALL:
                disk = VmDisk(place / "small.raw", 2**30, serial="SMALL")
                make_disk(disk)
                vm = replace(vm, disks=(disk,))
            on = stack.enter_context(power_on(vm, accel=accel, prefix=net.exec_prefix("lan")))
            found[mac] = Refused(scene, on)
        yield found


def _match_only(file: Path, vendor: str) -> None:
    text = file.read_text()
    assert 'vendor = "QEMU*"' in text
    file.write_text(text.replace('vendor = "QEMU*"', f'vendor = "{vendor}"'))


@pytest.mark.parametrize(
    ("mac", "said"), [(TWO, "2 disks match profile vm"), (SMALL, "/dev/vda")], ids=["two disks", "too small"]
)
def test_a_machine_without_exactly_one_matching_disk_is_refused_and_not_written_to(
    refused: dict[str, Refused], mac: str, said: str
) -> None:
    machine = refused[mac]
    wait_for_event(machine.scene, mac, "plan", "failed", machine.on)
    assert said in machine.problem(mac)
    assert machine.scene.services().machine(mac).state is MachineState.FAILED
    machine.on.console.wait_for("refused", seconds=SHELL_SECONDS)
    machine.on.console.wait_for("#", seconds=SHELL_SECONDS)  # a shell for whoever stands in front of it
    assert machine.untouched()


def test_an_unknown_machine_is_discovered_and_not_written_to(refused: dict[str, Refused]) -> None:
    machine = refused[STRANGER]
    wait_for_event(machine.scene, STRANGER, "discovered", "done", machine.on)
    machine.on.console.wait_for("waiting", seconds=SHELL_SECONDS)
    shown = machine.scene.services().machine(STRANGER)
    assert shown.state is MachineState.DISCOVERED
    assert shown.profile is None
    assert shown.facts is not None
    assert [disk.path for disk in shown.facts.disks] == ["/dev/vda"]
    assert machine.untouched()
