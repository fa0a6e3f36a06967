"""systemd-boot of signed releases on real firmware counts a kernel that panics, and comes back by itself."""

import re
import shutil
from pathlib import Path

from appliance.model import Firmware
from appliance.run import run
from appliance.vm import Vm, VmDisk
from appliance.vm_power import power_on
from distserver_client import bootspec
from distserver_client.bootspec import SystemdBoot
from distserver_client.kernel_files import Image
from tests.grub_disk import MIB, SECTOR
from tests.small_linux import kernel, make_initramfs

COMES_UP = """#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
echo "GUEST came up: $(/bin/busybox cat /proc/cmdline)" >/dev/console
/bin/busybox poweroff -f
"""
ENTRY_OF_INSTALLER = """title Gentoo
linux /EFI/distserver/kernel.efi
initrd /EFI/distserver/initramfs
options root=PARTUUID=1-2 rootwait ro console=ttyS0
"""
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
ESP_BYTES = 192 << 20
PANICS = "#!/bin/busybox sh\nexit 1\n"
SECONDS = 900.0
"""For one start, of a machine without hardware help on a host that has other work."""


def lay_esp(root: Path, disk: Path) -> None:
    """The machine's /boot/efi becomes the EFI system partition of a disk."""
    with disk.open("wb") as sink:
        sink.truncate(ESP_BYTES)
    run(["sfdisk", "-q", disk], stdin=b"label: gpt\nstart=2048, type=U\n")
    sectors = str(ESP_BYTES // SECTOR - 4096)
    run(["mformat", "-i", f"{disk}@@{MIB}", "-F", "-T", sectors, "::"])
    run(["mcopy", "-s", "-i", f"{disk}@@{MIB}", *sorted((root / bootspec.ESP).iterdir()), "::"])


def test_systemd_boot_counts_a_kernel_that_panics_and_comes_back(tmp_path: Path) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    esp = root / bootspec.ESP
    for name in ("EFI/BOOT", "EFI/distserver", bootspec.ENTRIES):
        (esp / name).mkdir(parents=True)
    shutil.copy(SYSTEMD_BOOT, esp / "EFI/BOOT/BOOTX64.EFI")
    shutil.copy(kernel(), esp / "EFI/distserver/kernel.efi")
    make_initramfs(store / "old", COMES_UP).rename(esp / "EFI/distserver/initramfs")
    make_initramfs(store / "panics", PANICS).rename(store / "initrd")
    (esp / "loader/loader.conf").write_text("timeout 1\neditor no\n")
    (esp / bootspec.ENTRIES / bootspec.FIRST).write_text(ENTRY_OF_INSTALLER)
    made = SystemdBoot(root)
    new = Image(kernel(), store / "initrd")
    assert made.arm(new, 600.0) == ""
    disk = tmp_path / "disk.raw"
    lay_esp(root, disk)
    vm = Vm("esp", tmp_path / "vm", Firmware.UEFI, memory_mb=512, disks=(VmDisk(disk, ESP_BYTES),))
    with power_on(vm) as on:
        for _ in range(2):
            on.console.wait_for("Kernel panic", seconds=SECONDS)
        on.console.wait_for(re.compile(rf"GUEST came up: .*kernel={made.ids[0]}"), seconds=SECONDS)
        on.wait_for_exit(seconds=SECONDS)
    shutil.rmtree(esp)
    esp.mkdir()
    run(["mcopy", "-s", "-i", f"{disk}@@{MIB}", "::*", esp])
    assert (esp / bootspec.ENTRIES / f"distserver-{new.id}+0-2.conf").is_file()
    assert made.left() == 0 and made.ids[1] == new.id
    made.disarm(new.id)
    assert new.id not in made.ids and not (esp / "EFI/distserver" / new.id).exists()
