"""An image as Linux sees it: all three trees mounted, and the partition that firmware starts from."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.model import Firmware
from appliance.vm import DirectBoot, DiskInterface, Vm, VmDisk
from appliance.vm_power import PoweredOn, power_on
from iso.layout import BIOS_PATH, CATALOG_PATH, EFI_PATH, Image, lay_out
from iso.writer import write_image
from tests.boot_images import BootImages, make_boot_images
from tests.small_linux import make_initramfs

MARKER = "the initramfs runs"
INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /dev /mnt
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
dmesg -n 1
insmod /cdrom.ko
insmod /isofs.ko
echo "{MARKER}"
exec setsid cttyhack sh
"""
DISK = "/dev/nvme0n1"
FILES: dict[str, Path | bytes] = {
    "boot/grub/grub.cfg": b"echo it boots\n",
    f"pool/ab/{'ab' * 32}.gpkg.tar": b"package" * 1000,
    f"pool/ab/{'ab' * 31}cd.gpkg.tar": b"another" * 1000,
    "Read Me.txt": b"one",
    "read me.txt": b"other",
    "/".join(f"level{number}" for number in range(11)) + "/deep.txt": b"deep",
    "/".join(f"level{number}" for number in range(7)) + "/other/level8/deep.txt": b"deeper",
}


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> BootImages:
    return make_boot_images(tmp_path_factory.mktemp("boot"))


@pytest.fixture(scope="module")
def machine(
    boot: BootImages, kernel: Path, kernel_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PoweredOn]:
    place = tmp_path_factory.mktemp("mounted")
    written = write_image(Image("MOUNTED", FILES, boot.bios, boot.efi, boot.mbr, 1795000000), place / "iso")
    modules = [next(kernel_files.rglob(name)) for name in ("cdrom.ko", "isofs.ko")]
    initramfs = make_initramfs(place / "root", INIT, modules)
    disk = VmDisk(place / "iso", written.size_bytes, interface=DiskInterface.NVME)
    direct = DirectBoot(kernel, initramfs)
    vm = Vm("alpha", place / "vm", Firmware.BIOS, memory_mb=512, disks=(disk,), direct=direct)
    with power_on(vm) as on:
        on.console.wait_for(MARKER, seconds=120)
        on.console.wait_for_shell(seconds=60)
        yield on


def digests(machine: PoweredOn, options: str) -> dict[str, str]:
    """What lies where, mounted this way."""
    console = machine.console
    console.succeed(f"mount -t iso9660 -o {options} {DISK} /mnt")
    said = console.succeed("cd /mnt && find . -type f -exec sha256sum {} +; cd /")
    console.succeed("umount /mnt")
    return {path: digest for digest, path in re.findall(r"^(\w{64})  \./(.*)$", said, re.M)}


def expected() -> dict[str, str]:
    return {
        path: hashlib.sha256(content).hexdigest()
        for path, content in FILES.items()
        if isinstance(content, bytes)
    }


def test_linux_finds_every_file_under_its_name(machine: PoweredOn, boot: BootImages) -> None:
    found = digests(machine, "ro")
    assert found.pop(EFI_PATH) == hashlib.sha256(boot.efi.read_bytes()).hexdigest()
    assert found.keys() - expected().keys() == {BIOS_PATH, CATALOG_PATH}
    assert {path: found[path] for path in expected()} == expected()


def test_linux_finds_every_file_in_joliets_tree(machine: PoweredOn) -> None:
    found = digests(machine, "ro,norock")
    tree = lay_out([*FILES, BIOS_PATH, EFI_PATH, CATALOG_PATH])
    assert found.keys() == {place.joliet.removeprefix("/") for place in tree.files}
    for place in tree.files:
        if place.path in FILES:
            assert found[place.joliet.removeprefix("/")] == expected()[place.path]


def test_linux_finds_what_is_not_deep_in_the_plain_tree(machine: PoweredOn) -> None:
    found = digests(machine, "ro,norock,nojoliet,map=off")
    for place in lay_out(FILES).files:
        if place.iso.count("/") < 8:
            assert found[place.iso.removeprefix("/")] == expected()[place.path]


def test_linux_finds_the_partition_of_the_uefi_image(machine: PoweredOn, boot: BootImages) -> None:
    digest = machine.console.succeed(f"sha256sum {DISK}p1").split()[0]
    assert digest == hashlib.sha256(boot.efi.read_bytes()).hexdigest()
    assert "GPT" not in machine.console.succeed("dmesg | grep -iE 'gpt|isofs' || true")
