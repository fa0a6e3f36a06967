"""Real firmware, blank disks: machines are installed and asked themselves, or refused and not written to."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.demo import PROFILE, Scene, blank_machine, serving
from appliance.lab import foreign_dhcp, lan
from appliance.model import Firmware, MachineState
from appliance.run import run
from appliance.services import Services
from appliance.vm import Accel, PoweredOn, VmDisk, make_disk, power_on
from tests.e2e.scenes import Built, Installed, own_scene, wait_for_event

FIRMWARES = pytest.mark.parametrize("firmware", list(Firmware), ids=lambda one: one.value)
MIB = 2**20
TWO, SMALL, STRANGER = "52:54:00:77:01:01", "52:54:00:77:01:02", "52:54:00:77:01:03"
SHELL_SECONDS = 60.0


def manifest_packages(built: Built) -> set[str]:
    text = Services(built.site, built.tree).release_desk.manifest(built.release)
    names = [line.split()[1] for line in text.splitlines() if line.startswith("PACKAGE ")]
    return {name.rpartition("-")[0] for name in names}  # without the build id


@FIRMWARES
def test_the_installed_packages_are_those_of_the_release(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    said = installed[firmware].sh("cd /var/db/pkg && echo */*").split()
    assert set(said) == manifest_packages(built)
    assert len(said) >= 12


@FIRMWARES
def test_the_packages_were_compiled_with_the_flags_of_the_profile(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    conf = Services(built.site, built.tree).live.now().profiles["vm"].portage["make.conf"].decode()
    wanted = [line.split('"')[1] for line in conf.splitlines() if line.startswith("CFLAGS=")][-1]
    said = installed[firmware].sh("cat /var/db/pkg/app-misc/hello-*/CFLAGS").strip()
    assert said == wanted


@FIRMWARES
def test_the_programs_run(installed: dict[Firmware, Installed], firmware: Firmware) -> None:
    assert installed[firmware].sh("hello").strip() == "Hello, world!"
    assert "Lua 5.4" in installed[firmware].sh("lua -v 2>&1")


@FIRMWARES
def test_the_running_kernel_is_the_one_of_the_release_and_its_root_is_the_disk(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    machine = installed[firmware]
    ours = run(["sha256sum", built.tree.path / "releases" / built.release / "kernel"]).stdout.split()[0]
    assert machine.sh("sha256sum /boot/vmlinuz").split()[0] == ours
    assert machine.sh("uname -r").strip() in machine.sh("readlink -f /boot/vmlinuz")
    mounts = [line.split() for line in machine.sh("cat /proc/mounts").splitlines()]
    root = next(fields for fields in mounts if fields[1] == "/")
    assert root[2] == "ext4"
    assert "distserver.token" not in machine.sh("cat /proc/cmdline")


@FIRMWARES
def test_the_disk_has_the_layout_of_the_profile(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    layout = Services(built.site, built.tree).live.now().profiles["vm"].disk
    wanted = [part for part in layout.partitions if part.firmware in (None, firmware)]
    table = json.loads(run(["sfdisk", "--json", installed[firmware].vm.disks[0].path]).stdout)[
        "partitiontable"
    ]
    assert table["label"] == "gpt"
    assert [part["name"] for part in table["partitions"]] == [part.name for part in wanted]
    sizes = [part["size"] * table["sectorsize"] for part in table["partitions"]]
    for part, size in zip(wanted[:-1], sizes[:-1], strict=True):
        assert size == part.size_bytes
    disk_bytes = installed[firmware].vm.disks[0].path.stat().st_size
    assert sum(sizes) > disk_bytes - 4 * MIB


@FIRMWARES
def test_the_timeline_tells_every_step_with_seconds(
    installed: dict[Firmware, Installed], firmware: Firmware
) -> None:
    done = {event.stage: event for event in installed[firmware].events if event.status == "done"}
    steps = [
        "partition",
        "filesystems",
        "stage",
        "portage",
        "packages",
        "client",
        "kernel",
        "loader",
        "finish",
    ]
    assert [step for step in steps if step not in done] == []
    # QEMU's BIOS network cards carry iPXE: they come straight to the script.
    way = ("proxy", "program") if firmware is Firmware.UEFI else ()
    first = ("discover", "offer", *way, "script")
    assert [stage for stage in (*first, "kernel", "installer", "plan", "verify") if stage not in done] == []
    assert all(done[step].seconds is not None for step in steps[:-1])
    assert (done["stage"].size_bytes or 0) > MIB


def test_the_unknown_machine_was_discovered_and_matched_before_it_was_armed(
    installed: dict[Firmware, Installed],
) -> None:
    stages = [event.stage for event in installed[Firmware.BIOS].events]
    order = [stages.index(stage) for stage in ("discovered", "assigned", "armed", "partition")]
    assert order == sorted(order)


@FIRMWARES
def test_after_the_installation_the_firmware_asked_again_and_was_sent_to_the_disk(
    installed: dict[Firmware, Installed], firmware: Firmware
) -> None:
    """One power-on: the restart went through the same firmware with the network first."""
    events = installed[firmware].events
    finish = max(n for n, event in enumerate(events) if event.stage == "finish")
    assert any(event.stage == "discover" for event in events[finish:])
    assert [event.stage for event in events].count("partition") == 2  # begin and done, once


@FIRMWARES
def test_the_host_name_is_the_machines(installed: dict[Firmware, Installed], firmware: Firmware) -> None:
    wanted = {Firmware.UEFI: "web1", Firmware.BIOS: "m770002"}
    assert installed[firmware].sh("cat /proc/sys/kernel/hostname").strip() == wanted[firmware]


# Machines that must not be written to


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
