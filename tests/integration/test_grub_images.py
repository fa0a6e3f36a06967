"""GRUB images for processors without an iPXE, on real firmware."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.boards import UEFI_ARM64, UEFI_IA32
from appliance.desks.boot_programs import BootProgramsDesk
from appliance.lab import foreign_dhcp, lan
from appliance.model import BootTarget, Firmware, LocalBoot, NetBoot, Tree
from appliance.vm import Vm
from appliance.vm_power import power_on
from pxe.images import make_boot_directory
from tests.fake_director import FakeDirector
from tests.integration.lan_server import serving
from tests.small_linux import kernel, make_initramfs

MARKER = "the stand-in installer runs"
INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /dev
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox echo "{MARKER}" >/dev/console
while :; do /bin/busybox sleep 600; done
"""
IA32, ARM64 = "52:54:00:77:00:06", "52:54:00:77:00:0b"
SECONDS = 240.0


@pytest.fixture(scope="module")
def boot_dir(cache: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The boot programs with GRUB's modules for arm64, which Debian has in an arm64 package."""
    kept = Tree(cache.path / "foreign-grub")
    if not (kept.room("boot") / "grub" / "arm64-efi").exists():
        BootProgramsDesk(kept).fetch("arm64", print)
    place = tmp_path_factory.mktemp("grub") / "boot"
    (place / "grub").mkdir(parents=True)
    (place / "grub" / "arm64-efi").symlink_to(kept.path / "boot" / "grub" / "arm64-efi")
    make_boot_directory(place)
    return place


def test_machines_without_an_ipxe_come_to_what_they_are_to_boot(boot_dir: Path, tmp_path: Path) -> None:
    """32-bit UEFI starts a 64-bit kernel; AArch64 is told to boot a disk that it does not have."""
    targets: dict[str, BootTarget] = {
        IA32: NetBoot("r1", "console=ttyS0 quiet", "a test"),
        ARM64: LocalBoot("it is installed"),
    }
    release = tmp_path / "releases" / "r1"
    release.mkdir(parents=True)
    shutil.copy(kernel(), release / "kernel")
    make_initramfs(tmp_path / "initramfs", INIT).rename(release / "installer")
    director = FakeDirector(targets, releases=tmp_path / "releases")
    with ExitStack() as stack:
        net = stack.enter_context(lan("grub", taps=2))
        stack.enter_context(foreign_dhcp(net, tmp_path / "dnsmasq.log"))
        stack.enter_context(serving(net, boot_dir, director))
        on = {}
        for tap, mac, board in ((net.taps[0], IA32, UEFI_IA32), (net.taps[1], ARM64, UEFI_ARM64)):
            name = f"m{mac[-1]}"
            vm = Vm(name, tmp_path / name, Firmware.UEFI, mac, tap, memory_mb=512, board=board)
            on[mac] = stack.enter_context(power_on(vm, prefix=net.exec_prefix("lan")))
        on[IA32].console.wait_for("Release r1", seconds=SECONDS)
        on[IA32].console.wait_for(MARKER, seconds=SECONDS)
        on[ARM64].console.wait_for("no local disk has a boot loader", seconds=SECONDS)
