"""Switches the machines on, two at a time, and notes what is seen of each."""

import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.console import ConsoleFailure
from appliance.deadline import DeadlinePassed, wait_until
from appliance.demo import Scene, cache, probed_accelerator, serving
from appliance.disk_plan import slice_use
from appliance.errors import Problem
from appliance.install import default_name, plan_install, size_text
from appliance.lab import Lan, foreign_dhcp, lan
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import HOME
from appliance.services import Services
from appliance.site import find_profile
from appliance.vm import Accel, Vm, make_disk
from appliance.vm_power import PoweredOn, power_on
from tests.five import sun
from tests.five.facts import facts_of
from tests.five.machines import FIVE, Contender, Place, Sun
from tests.five.seen import Seen
from tests.quiet import nothing_is_due
from tests.uefi_variables import enroll

SITE = HOME / "examples" / "five"
AT_A_TIME = 2
INSTALL_SECONDS = 5400.0
BOOT_SECONDS = 1200.0


def set_stage(place: Path) -> Scene:
    """The site of the five, in a new place; the state is that of the cache."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return Scene(place, Path(shutil.copytree(SITE, place / "site")), Tree(cache() / "state"))


def build(scene: Scene, profiles: Sequence[str]) -> dict[str, str]:
    """The release of each profile, built if it is not yet."""
    made = {}
    for profile in profiles:
        result = scene.services().building.build(profile, lambda said: print(f"five: {said}", flush=True))
        if result.release is None:
            raise Problem(f"profile {profile} was not published", hint="; ".join(result.reasons))
        made[profile] = result.release.id
    return made


def own_store(scene: Scene, releases: Mapping[str, str]) -> Scene:
    """A store that knows the releases and no machine; packages and releases are shared."""
    state = scene.place / "state"
    state.mkdir()
    for room in ("pool", "releases", "keys"):
        (state / room).symlink_to(scene.tree.path / room)
    own = Scene(scene.place, scene.site, Tree(state))
    built, services = scene.services(), own.services()
    for release in releases.values():
        sealed = built.store.releases.get(release)
        assert sealed is not None
        services.release_desk.publish(sealed)
    nothing_is_due(services)
    return own


def play(names: Sequence[str], machines: Mapping[str, Contender | Sun]) -> list[Seen]:
    """Build, serve, switch on. What fails is in what was seen of its machine, and ends no other one."""
    profiles = [machines[name].profile for name in names]
    scene = set_stage(cache() / "five")
    secure_boot = scene.services().secure_boot
    contenders = [each for name in names if isinstance(each := machines[name], Contender)]
    if any(one.enrolled for one in contenders) and not secure_boot.keys.exist:
        secure_boot.init()
    releases = build(scene, profiles)
    probed = next((releases[one.profile] for one in reversed(contenders) if not one.boot_program), "")
    accel = probed_accelerator(scene.tree, probed) if probed else Accel.TCG
    scene = own_store(scene, releases)
    for cpu in {each.boot_program for each in contenders} - {""}:
        scene.services().boot_programs.fetch(cpu, lambda said: print(f"five: {said}", flush=True))
    taps = min(AT_A_TIME, len(names))
    with (
        lan("five", taps=taps, clients={sun.FIRMWARE_ROOM: ""}) as net,
        foreign_dhcp(net, scene.place / "dnsmasq.log"),
        serving(scene, net),
        ThreadPoolExecutor(taps) as room,
    ):
        free = list(net.taps)

        def one(name: str) -> Seen:
            tap = free.pop()
            try:
                place, machine = Place(scene.place / name, tap), machines[name]
                if isinstance(machine, Sun):
                    release = releases[machine.profile]
                    return sun.switch_on(name, machine, place, scene=scene, net=net, release=release)
                return switch_on(name, machine, place, scene=scene, net=net, accel=accel)
            finally:
                free.append(tap)

        return list(room.map(one, names))


def switch_on(name: str, one: Contender, place: Place, *, scene: Scene, net: Lan, accel: Accel) -> Seen:
    """A blank machine, until it started from its own disk or did not."""
    place.directory.mkdir(parents=True)
    vm = one.make(place)
    for disk in vm.disks:
        make_disk(disk)
    services = scene.services()
    if one.enrolled:
        vm = with_keys(vm, services)
    if one.assigned:
        services.add_machine(vm.mac, profile=one.profile, name=name)
        services.arm(vm.mac)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    print(f"five: {name} is switched on ({accel.value})", flush=True)
    started = time.monotonic()
    problem, booted = "", False
    # Its thread is the one it dies with.
    with power_on(vm, accel=accel, prefix=net.exec_prefix("lan")) as on:
        try:
            until_installed(services, vm.mac, on)
            for words in one.says:
                on.console.wait_for(words, seconds=BOOT_SECONDS)
            on.console.wait_for(f"distserver: {default_name(vm.mac)} is up", seconds=BOOT_SECONDS)
            booted = True
        except (Problem, DeadlinePassed, ConsoleFailure) as failed:
            problem = str(failed).splitlines()[0]
        seconds = time.monotonic() - started
    told = tell(services, vm.mac, Seen(name, FIVE[name], today, total_seconds=seconds), accel)
    print(f"five: {name} {'started from its disk' if booted else f'did not: {problem}'}", flush=True)
    return Seen(**{**vars(told), "booted_from_disk": booted, "problem": problem})


def with_keys(vm: Vm, services: Services) -> Vm:
    """The machine as it is after somebody enrolled the site's Secure Boot keys in its firmware's menu."""
    flash = vm.built_on.flash
    assert flash is not None
    variables = vm.directory / "enrolled.fd"
    enroll(flash.variables, services.secure_boot.keys.home, variables)
    return replace(vm, keys=variables)


def until_installed(services: Services, mac: str, on: PoweredOn) -> None:
    """Raises Problem when it failed, DeadlinePassed when nothing comes of it."""

    def ended() -> Machine | None:
        machine = services.store.machines.get(mac)
        done = machine is not None and machine.state in (MachineState.INSTALLED, MachineState.FAILED)
        return machine if done else None

    found = wait_until(
        ended, seconds=INSTALL_SECONDS, what=f"{mac} is installed", step=2.0, last_seen=on.console.tail
    )
    if found.state is MachineState.FAILED:
        raise Problem(found.problem)


def tell(services: Services, mac: str, seen: Seen, accel: Accel) -> Seen:
    """What the server knows of the machine, from its own words and its timeline."""
    machine = services.store.machines.get(mac)
    if machine is None or machine.facts is None:
        return seen
    seen = facts_of(services, mac, seen, run_by=accel.value.partition(",")[0])
    values: dict[str, Any] = {}
    release = services.store.releases.get(machine.release) if machine.release else None
    if release is not None and machine.profile:
        profile = find_profile(services.live.now(), machine.profile)
        plan = plan_install(machine.facts, profile, release, hostname=default_name(mac))
        pieces = [(one.device, one.size_bytes, slice_use(one.partition)) for one in plan.slices]
        pieces += [
            (one.device or one.what.name, one.size_bytes, f"{one.text} {one.holds}") for one in plan.made
        ]
        values["layout"] = tuple(f"{name} {size_text(size)} {use}".strip() for name, size, use in pieces)
        values["packages"] = release.packages if machine.state is MachineState.INSTALLED else 0
    return Seen(**{**vars(seen), **values})
