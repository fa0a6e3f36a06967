"""Media of sites with Secure Boot keys, on firmware that enforces them."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.boards import MICROSOFT_KEYS, UEFI_SECURE
from appliance.model import Firmware
from appliance.run import run
from appliance.secure_boot import MOK_MANAGER, SHIM, SIGNED_KERNEL, SIGNED_LOADER
from appliance.vm import Slot, Vm, VmMedium
from appliance.vm_power import power_on
from buildfarm.boot_files import LOADERS, sign_boot_files
from buildfarm.site_keys import SiteKeys
from iso.layout import Image
from iso.loaders import BootParts, boot_parts
from iso.menu import Menu
from iso.secure import Signed
from iso.writer import write_image
from tests import snakeoil
from tests.integration.test_loaders import MIB, MODULES, read_back
from tests.small_linux import kernel, make_initramfs
from tests.uefi_variables import add_variable
from tests.unit.test_menu import MENU, RELEASE, WEB

MARKER = "the stand-in installer runs"
INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox dmesg | /bin/busybox grep -i 'secure boot' >/dev/console
/bin/busybox echo "{MARKER}: $(/bin/busybox cat /proc/cmdline)" >/dev/console
while :; do /bin/busybox sleep 600; done
"""
SECONDS = 240.0
SHIM_VENDOR = "605dab50-e046-4300-abb6-3dd810dd8b23"


@dataclass(frozen=True)
class Site:
    """A release with its signed files, and the same without."""

    signed: Mapping[str, Signed]
    files: Mapping[str, Path]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("site")
    shutil.copy(kernel(), place / "kernel")
    run(["sbattach", "--remove", place / "kernel"])
    snakeoil.sign(place / "kernel", place / "kernel.efi")
    snakeoil.sign(LOADERS["x64"], place / "loader.efi")
    installer = make_initramfs(place / "initramfs", INIT)
    signed = Signed(place / "loader.efi", place / "kernel.efi", installer)
    return Site({RELEASE: signed}, {WEB.kernel: place / "kernel.efi", WEB.installer: installer})


def medium(parts: BootParts, site: Site, output: Path) -> Path:
    files: dict[str, Path | bytes] = {**parts.files, **site.files}
    write_image(Image(MENU.label, files, parts.bios, parts.efi, parts.mbr, made_at=0), output)
    return output


def machine(place: Path, image: Path, slot: Slot, *, enforced: bool = True) -> Vm:
    vm = Vm("secure", place, Firmware.UEFI, memory_mb=512, medium=VmMedium(image, slot))
    return replace(vm, board=UEFI_SECURE, keys=snakeoil.VARIABLES) if enforced else vm


@pytest.fixture(scope="module")
def image(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("medium")
    parts = boot_parts(MENU, place, MODULES, signed=site.signed)
    assert parts.missing == ()
    return medium(parts, site, place / "medium.iso")


@pytest.mark.parametrize("slot", list(Slot), ids=lambda slot: slot.value)
def test_a_machine_with_the_sites_keys_starts_from_the_medium(
    image: Path, slot: Slot, tmp_path: Path
) -> None:
    with power_on(machine(tmp_path, image, slot)) as on:
        on.console.wait_for("Recognise this machine", seconds=SECONDS)
        on.console.send("\r")
        seen = on.console.wait_for(f"{MARKER}: ", seconds=SECONDS).before
        arguments = on.console.wait_for("\n", seconds=30).before.split()
    assert "Secure boot enabled" in seen
    assert f"distserver.medium={MENU.medium_id}" in arguments
    assert f"distserver={MENU.server}" in arguments


def test_a_machine_without_secure_boot_comes_to_the_whole_menu(image: Path, tmp_path: Path) -> None:
    with power_on(machine(tmp_path, image, Slot.USB, enforced=False)) as on:
        on.console.wait_for("Recognise this machine", seconds=SECONDS)
        # The last but the firmware's own.
        for _ in range(3):
            on.console.send("\x1b[B")
        on.console.send("\r")
        on.console.wait_for("Boot the system on the local disk", seconds=SECONDS)


def test_a_medium_that_nobody_signed_is_refused(site: Site, tmp_path: Path) -> None:
    unsigned = medium(boot_parts(MENU, tmp_path, MODULES), site, tmp_path / "unsigned.iso")
    with power_on(machine(tmp_path / "vm", unsigned, Slot.CD)) as on:
        on.console.wait_for("Access Denied", seconds=SECONDS)


def test_a_machine_with_microsofts_keys_starts_from_the_medium_through_the_shim(
    site: Site, tmp_path: Path
) -> None:
    """Shim, systemd-boot, kernel: the site's certificate is a machine owner key."""
    keys = SiteKeys(tmp_path / "keys" / "secure-boot")
    keys.make("test")
    shutil.copy(kernel(), tmp_path / "kernel")
    run(["sbattach", "--remove", tmp_path / "kernel"])
    made = sign_boot_files(keys, tmp_path / "kernel", tmp_path, shim=True)
    assert not isinstance(made, str)
    installer = site.signed[RELEASE].installer
    signed = Signed(made[SIGNED_LOADER], made[SIGNED_KERNEL], installer, made[SHIM], made[MOK_MANAGER])
    parts = boot_parts(MENU, tmp_path, MODULES, signed={RELEASE: signed})
    image = medium(parts, site, tmp_path / "medium.iso")
    shutil.copy(MICROSOFT_KEYS, tmp_path / "variables")
    add_variable(tmp_path / "variables", "MokList", SHIM_VENDOR, (keys.home / "db.esl").read_bytes())
    vm = replace(machine(tmp_path / "vm", image, Slot.CD), keys=tmp_path / "variables")
    with power_on(vm) as on:
        on.console.wait_for("Recognise this machine", seconds=SECONDS)
        on.console.send("\r")
        seen = on.console.wait_for(f"{MARKER}: ", seconds=SECONDS).before
    assert "Secure boot enabled" in seen


def contents(parts: BootParts, place: Path) -> set[str]:
    """Every file of the FAT image."""
    assert parts.efi is not None
    listed = run(["mdir", "-/", "-b", "-i", parts.efi, "::/"]).stdout.split()
    return {name.removeprefix("::/") for name in listed if not name.endswith("/")}


def test_releases_of_the_same_kernel_share_it(site: Site, tmp_path: Path) -> None:
    other = replace(WEB, profile="db", release="r2")
    menu = replace(MENU, entries=(WEB, other))
    signed = {RELEASE: site.signed[RELEASE], "r2": site.signed[RELEASE]}
    parts = boot_parts(menu, tmp_path, MODULES, signed=signed)
    found = contents(parts, tmp_path)
    assert len([name for name in found if name.startswith("distserver/")]) == 2
    assert {"loader/entries/profile-0000.conf", "loader/entries/profile-0001.conf"} < found
    assert parts.efi is not None
    assert read_back(parts.efi, "EFI/BOOT/BOOTX64.EFI", tmp_path) == site.signed[RELEASE].loader.read_bytes()


def _menu_of(*names: str) -> Menu:
    return replace(MENU, entries=tuple(replace(WEB, profile=name, release=name) for name in names))


def test_what_does_not_fit_or_is_not_signed_is_said(site: Site, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(32 * MIB))
    small = site.signed[RELEASE]
    signed = {"fits": small, "big": replace(small, installer=tmp_path / "big")}
    parts = boot_parts(_menu_of("fits", "big", "plain"), tmp_path, MODULES, signed=signed)
    too_big, not_signed = parts.missing
    assert "profile big" in too_big and "do not fit" in too_big
    assert "profile plain" in not_signed and "not signed" in not_signed
    assert "loader/entries/profile-0001.conf" not in contents(parts, tmp_path)


def test_when_nothing_fits_the_medium_is_as_without_keys(site: Site, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(32 * MIB))
    signed = {"big": replace(site.signed[RELEASE], installer=tmp_path / "big")}
    parts = boot_parts(_menu_of("big"), tmp_path, MODULES, signed=signed)
    assert contents(parts, tmp_path) == {"EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/BOOTIA32.EFI"}
    assert len(parts.missing) == 1


def test_with_a_shim_the_loader_is_where_shim_looks_for_it(site: Site, tmp_path: Path) -> None:
    for name in ("shim", "manager"):
        (tmp_path / name).write_bytes(name.encode())
    one = replace(site.signed[RELEASE], shim=tmp_path / "shim", mok_manager=tmp_path / "manager")
    parts = boot_parts(MENU, tmp_path, MODULES, signed={RELEASE: one})
    assert parts.efi is not None
    assert read_back(parts.efi, "EFI/BOOT/BOOTX64.EFI", tmp_path) == b"shim"
    assert read_back(parts.efi, "EFI/BOOT/mmx64.efi", tmp_path) == b"manager"
    assert read_back(parts.efi, "EFI/BOOT/grubx64.efi", tmp_path) == one.loader.read_bytes()
