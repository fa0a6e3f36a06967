"""The main job on virtual hardware: a blank machine is switched on beside a foreign DHCP server."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.kvm import ProbeImage, accelerator
from appliance.lab import Lan, foreign_dhcp, lan, wait_for_port
from appliance.model import Firmware, MachineState, Tree
from appliance.run import running
from appliance.services import Services, init_site
from appliance.timeline import TimelineView
from appliance.vm import Accel, Vm, VmDisk, make_disk
from appliance.vm_power import power_on
from buildfarm.build import Progress

DEFAULT_CACHE = "/var/cache/distserver"
PROFILE = "vm"
MACS = {Firmware.UEFI: "52:54:00:77:00:01", Firmware.BIOS: "52:54:00:77:00:02"}
DISK_BYTES = 4 * 2**30
MEMORY_MB = 1536
UP_SECONDS = 60.0
INSTALL_SECONDS = 1500.0
REBOOT_SECONDS = 300.0
EMULATED = """
# Software emulation does not speculate, and emulated page-table isolation costs a third of the speed.
[kernel]
arguments = "console=tty0 console=ttyS0,115200 mitigations=off"
"""
ENDED = (MachineState.INSTALLED, MachineState.FAILED)


def cache() -> Path:
    """Where stages, packages and releases of demo and tests are kept between runs (DISTSERVER_CACHE)."""
    return Path(os.environ.get("DISTSERVER_CACHE", DEFAULT_CACHE))


@dataclass(frozen=True)
class Scene:
    """A site, a state directory and the place of the virtual machines and logs."""

    place: Path
    site: Path
    tree: Tree

    def services(self) -> Services:
        return Services(self.site, self.tree)


def set_scene(place: Path, tree: Tree) -> Scene:
    """The example site in a new place, its machines told that they are emulated."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    init_site(place / "site")
    with (place / "site" / "profiles" / PROFILE / "profile.toml").open("a") as file:
        file.write(EMULATED)
    return Scene(place, place / "site", tree)


def build_example(scene: Scene) -> str:
    """Build what is not built yet of the example profile; the id of its release."""

    def show(progress: Progress) -> None:
        print(f"{datetime.now():%H:%M:%S} {progress}", flush=True)

    result = scene.services().building.build(PROFILE, show)
    if result.release is None:
        raise Problem("the example profile was not published", hint="; ".join(result.reasons))
    return result.release.id


def probed_accelerator(tree: Tree, release: str) -> Accel:
    """KVM only after it ran the release's own kernel and installer on this host."""
    place = tree.path / "releases" / release
    image = ProbeImage(place / "kernel", place / "installer", "distserver: probe ok", "distserver.probe")
    return accelerator(image, cache=cache() / "accelerator")


@contextmanager
def serving(scene: Scene, net: Lan) -> Iterator[int]:
    """`distserver up` on the LAN's appliance host until the block ends; its PID."""
    program = [sys.executable, "-m", "appliance.cli", "--state", str(scene.tree.path)]
    argv = [*program, "up", "--site", str(scene.site), "--interface", "eth0"]
    log = scene.place / "appliance.log"
    with running(argv, prefix=net.exec_prefix("appliance"), output=log) as process:
        port = scene.services().live.now().http_port
        wait_for_port(net, "appliance", port, seconds=UP_SECONDS)
        yield process.pid


def blank_machine(place: Path, firmware: Firmware, *, mac: str, tap: str, disks: int = 1) -> Vm:
    """A machine with empty disks; the network is first in its boot order."""
    place.mkdir(parents=True, exist_ok=True)
    drives = tuple(
        VmDisk(place / f"disk{number}.raw", DISK_BYTES, serial=f"DISK{number}") for number in range(disks)
    )
    for drive in drives:
        make_disk(drive)
    return Vm(place.name, place, firmware, mac=mac, tap=tap, memory_mb=MEMORY_MB, disks=drives)


def follow(services: Services, mac: str, view: TimelineView, *, after: int = 0) -> bool:
    """Show a machine's events as they come until it is installed (True) or failed (False)."""
    last = after

    def news() -> bool | None:
        ended = services.machine(mac).state in ENDED
        return True if ended or services.store.events.after(mac, last) else None

    with view:
        while True:
            state = services.machine(mac).state
            for number, event in services.store.events.after(mac, last):
                view.feed(event)
                last = number
            if state in ENDED:
                return state is MachineState.INSTALLED
            wait_until(news, seconds=INSTALL_SECONDS, what=f"machine {mac} goes on")


def demo(firmware: Firmware) -> int:
    """Switch on a blank machine and watch it become an installed one; 0 when it booted from its disk."""
    if os.geteuid() != 0:
        raise Problem("the demo makes network namespaces and chroots", hint="run it as root")
    scene = set_scene(cache() / "demo" / firmware.value, Tree(cache() / "state"))
    release = build_example(scene)
    accel = probed_accelerator(scene.tree, release)
    services = scene.services()
    mac, name = MACS[firmware], f"demo-{firmware.value}"
    before = services.store.events.newest()
    if services.store.machines.get(mac) is None:
        services.add_machine(mac, profile=PROFILE, name=name)
    services.assign(mac, PROFILE)
    services.arm(mac)
    print(f"demo: switching on a blank {firmware.value} machine ({accel.value})", flush=True)
    started = time.monotonic()
    with (
        lan("demo") as net,
        foreign_dhcp(net, scene.place / "dnsmasq.log"),
        serving(scene, net),
    ):
        vm = blank_machine(scene.place / "machine", firmware, mac=mac, tap=net.taps[0])
        with power_on(vm, accel=accel, prefix=net.exec_prefix("lan")) as machine:
            installed = follow(services, mac, TimelineView(f"{name} {mac}"), after=before)
            if installed:
                machine.console.wait_for(f"distserver: {name} is up", seconds=REBOOT_SECONDS)
    print(f"demo: console: {vm.transcript}")
    print(f"demo: store: distserver --state {scene.tree.path} machine show --site {scene.site} {mac}")
    if not installed:
        print(f"demo: the installation failed: {services.machine(mac).problem}", file=sys.stderr)
        return 1
    print(f"demo: installed and booted from disk in {time.monotonic() - started:.0f} s")
    return 0
