"""Tells whether KVM really runs a kernel here; software emulation otherwise."""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from appliance.console import ConsoleFailure
from appliance.deadline import DeadlinePassed
from appliance.errors import Problem
from appliance.model import Firmware
from appliance.vm import Accel, DirectBoot, Vm
from appliance.vm_power import power_on

log = logging.getLogger(__name__)

KVM_DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 20.0


@dataclass(frozen=True)
class ProbeImage:
    """A kernel and initramfs that print `marker` on the console when they run."""

    kernel: Path
    initramfs: Path
    marker: str
    arguments: str = ""
    """Further kernel arguments."""


def choose_accel(*, has_device: bool, proven: bool | None) -> Accel | None:
    """KVM only when a boot proved it; None: only a boot can tell."""
    if not has_device:
        return Accel.TCG
    if proven is None:
        return None
    return Accel.KVM if proven else Accel.TCG


def accelerator(image: ProbeImage | None, *, cache: Path, device: Path = KVM_DEVICE) -> Accel:
    """KVM when it really runs a kernel here, else software emulation.

    The device may exist and a guest still hang (KVM inside a virtual machine). The answer is kept in `cache`
    until the host boots again; without an image KVM is not used.
    """
    has_device = os.access(device, os.R_OK | os.W_OK)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = {f"{boot} kvm": True, f"{boot} tcg": False}
    proven = known.get(cache.read_text().strip() if cache.exists() else "")
    chosen = choose_accel(has_device=has_device, proven=proven)
    if chosen is not None:
        return chosen
    if image is None:
        return Accel.TCG
    works = kernel_boots(image, Accel.KVM, seconds=PROBE_SECONDS)
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(f"{boot} {'kvm' if works else 'tcg'}\n")
    return Accel.KVM if works else Accel.TCG


def kernel_boots(image: ProbeImage, accel: Accel, *, seconds: float) -> bool:
    """Whether the marker appears in time on a machine with nothing but this kernel."""
    with tempfile.TemporaryDirectory(prefix="distserver-probe-") as place:
        arguments = f"console=ttyS0 panic=-1 {image.arguments}".rstrip()
        direct = DirectBoot(image.kernel, image.initramfs, arguments)
        vm = Vm("probe", Path(place), Firmware.BIOS, memory_mb=512, direct=direct)
        try:
            with power_on(vm, accel=accel) as machine:
                machine.console.wait_for(image.marker, seconds=seconds)
        except (ConsoleFailure, DeadlinePassed, Problem) as failure:
            log.info("%s does not run %s: %s", accel.name, image.kernel.name, failure)
            return False
    return True
