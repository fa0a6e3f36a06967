"""A virtual machine installs a candidate and boots from its disk, before anybody else can see it."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.console import ConsoleFailure
from appliance.deadline import DeadlinePassed, wait_until
from appliance.demo import INSTALL_SECONDS, MEMORY_MB, REBOOT_SECONDS, UP_SECONDS, probed_accelerator
from appliance.farm_model import Release
from appliance.lab import Lan, foreign_dhcp, lan, wait_for_port
from appliance.model import Firmware, MachineState, Tree
from appliance.run import running
from appliance.services import Services
from appliance.vm import Vm, VmDisk, make_disk
from appliance.vm_power import power_on
from pxe import images

MAC = "52:54:00:77:01:01"
NAME = "rehearsal"
DISK_BYTES = 4 * 2**30
UP = re.compile(rf"distserver: {NAME} is up|{NAME} login:")
"""What a machine prints that booted: our rc, or a getty on the serial console."""
SHARED = ("pool", "keys")


def rehearse(site: Path, tree: Tree, stage: Tree, release: Release) -> str:
    """Why a virtual machine cannot be installed from the candidate and boot; empty when it can.

    `stage` is a state directory for nothing else, where the candidate is sealed; the pool and the keys are
    those of `tree`. The candidate is in no channel of `tree`, and of `stage` only the boot process runs.
    """
    for room in SHARED:
        (stage.path / room).symlink_to(tree.path / room)
    services = Services(site, stage)
    services.release_desk.publish(release, why="rehearsal")
    services.add_machine(MAC, profile=release.profile, name=NAME)
    services.arm(MAC)
    images.make_boot_directory(stage.room("boot"))
    accel = probed_accelerator(stage, release.id)
    size = max(DISK_BYTES, services.live.now().profiles[release.profile].disk.min_size_bytes)
    place = stage.room("machine")
    with lan(NAME) as net, foreign_dhcp(net, stage.path / "dnsmasq.log"), _answering(site, stage, net):
        disk = VmDisk(place / "disk.raw", size, serial="DISK0")
        make_disk(disk)
        vm = Vm(NAME, place, Firmware.UEFI, mac=MAC, tap=net.taps[0], memory_mb=MEMORY_MB, disks=(disk,))
        with power_on(vm, accel=accel, prefix=net.exec_prefix("lan")) as machine:
            try:
                state = wait_until(lambda: _ended(services), seconds=INSTALL_SECONDS, what="it is installed")
                if state is MachineState.FAILED:
                    problem = services.machine(MAC).problem
                    return f"a virtual machine cannot be installed from it: {problem}"
                machine.console.wait_for(UP, seconds=REBOOT_SECONDS)
            except (ConsoleFailure, DeadlinePassed) as late:
                return f"a virtual machine does not boot with it: {late}\n{machine.console.tail()}"
    return ""


def _ended(services: Services) -> MachineState | None:
    state = services.machine(MAC).state
    return state if state in (MachineState.INSTALLED, MachineState.FAILED) else None


@contextmanager
def _answering(site: Path, stage: Tree, net: Lan) -> Iterator[None]:
    """The boot process alone: nothing is built here."""
    program = [sys.executable, "-m", "appliance.cli", "--state", str(stage.path)]
    argv = [*program, "process", "boot", "--site", str(site), "--interface", "eth0"]
    with running(argv, prefix=net.exec_prefix("appliance"), output=stage.path / "boot.log"):
        port = Services(site, stage).live.now().http_port
        wait_for_port(net, "appliance", port, seconds=UP_SECONDS)
        yield
