"""One built release, one virtual LAN, and machines that were installed on it."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from appliance.demo import (
    PROFILE,
    REBOOT_SECONDS,
    blank_machine,
    build_example,
    cache,
    probed_accelerator,
    serving,
    set_scene,
)
from appliance.install import default_name
from appliance.lab import foreign_dhcp, lan
from appliance.model import Firmware, MachineState, Tree
from appliance.run import run
from appliance.vm import Accel
from appliance.vm_power import power_on
from buildfarm.signing import exclusive
from tests.e2e.scenes import (
    ADMIN,
    BIOS_MAC,
    UEFI_MAC,
    Built,
    Installed,
    leased_address,
    own_scene,
    wait_for_event,
    wait_for_state,
)


@pytest.fixture(scope="session")
def built(worker_id: str) -> Built:
    """Each of the processes that run tests asks for it, and a profile is built by one at a time."""
    cache().mkdir(parents=True, exist_ok=True)
    with exclusive(cache() / "e2e.lock"):
        key = cache() / "e2e-key"
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
        scene = set_scene(cache() / "e2e" / f"built-{worker_id}", Tree(cache() / "state"))
        shutil.copy(key.with_suffix(".pub"), scene.site / "profiles" / PROFILE / "authorized_keys")
        return Built(scene.tree, build_example(scene), scene.site, key)


@pytest.fixture(scope="session")
def accel(built: Built) -> Accel:
    return probed_accelerator(built.tree, built.release)


@pytest.fixture(scope="session")
def installed(built: Built, accel: Accel) -> Iterator[dict[Firmware, Installed]]:
    """Two blank machines, installed at the same time.

    The UEFI one is known and armed before it is switched on. The BIOS one is unknown: it is discovered, a
    rule gives it its profile, a person arms it while it waits. In the middle of both the appliance is killed.
    """
    scene = own_scene(built, "install")
    services = scene.services()
    services.add_machine(UEFI_MAC, profile=PROFILE, name="web1")
    services.arm(UEFI_MAC)
    dnsmasq_log = scene.place / "dnsmasq.log"
    with ExitStack() as stack:
        net = stack.enter_context(lan("e2e", taps=2, clients={"admin": ADMIN}))
        stack.enter_context(foreign_dhcp(net, dnsmasq_log))
        first = ExitStack()
        stack.push(first)
        pid = first.enter_context(serving(scene, net))
        prefix = net.exec_prefix("lan")
        vms = {
            Firmware.UEFI: blank_machine(scene.place / "uefi", Firmware.UEFI, mac=UEFI_MAC, tap=net.taps[0]),
            Firmware.BIOS: blank_machine(scene.place / "bios", Firmware.BIOS, mac=BIOS_MAC, tap=net.taps[1]),
        }
        on = {name: stack.enter_context(power_on(vm, accel=accel, prefix=prefix)) for name, vm in vms.items()}
        wait_for_state(scene, BIOS_MAC, MachineState.ASSIGNED, on[Firmware.BIOS])
        services.arm(BIOS_MAC)
        wait_for_event(scene, UEFI_MAC, "packages", "begin", on[Firmware.UEFI])
        os.kill(pid, signal.SIGKILL)
        first.close()
        stack.enter_context(serving(scene, net))
        found = {}
        for name, vm in vms.items():
            machine = wait_for_state(scene, vm.mac, MachineState.INSTALLED, on[name])
            host = machine.name or default_name(vm.mac)
            on[name].console.wait_for(f"distserver: {host} is up", seconds=REBOOT_SECONDS)
            found[name] = Installed(
                scene=scene,
                vm=vm,
                machine=machine,
                events=[event for _, event in services.store.events.after(vm.mac)],
                console=vm.transcript.read_text(errors="replace"),
                net=net,
                address=leased_address(dnsmasq_log, vm.mac),
                key=built.key,
            )
        yield found
