"""Secure Boot on real firmware, with the site's own keys enrolled by the installer's own script."""

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.boards import MICROSOFT_KEYS, UEFI_SECURE
from appliance.console import plain
from appliance.lab import foreign_dhcp, lan
from appliance.model import BootTarget, Firmware, LocalBoot, NetBoot
from appliance.overlays import overlay
from appliance.run import run
from appliance.vm import DirectBoot, DiskInterface, Vm, VmDisk
from appliance.vm_power import PoweredOn, power_on
from buildfarm.boot_files import SYSTEMD_BOOT, sign_boot_files
from buildfarm.cpio import Entry, cpio, directory, file, link
from buildfarm.installer import ENROLMENT, overlay_entries
from buildfarm.release import SHIMMED
from buildfarm.site_keys import SiteKeys
from pxe.images import make_boot_directory
from tests.fake_director import FakeDirector
from tests.integration.lan_server import serving
from tests.uefi_variables import add_variable

MIB = 1 << 20
MARKER = "the signed kernel runs"
ENROLLED = "the site's keys are enrolled"
MODULES = ("fs/nls/nls_cp437", "fs/nls/nls_ascii", "fs/fat/fat", "fs/fat/vfat", "fs/efivarfs/efivarfs")
SIGNED, UNSIGNED, LOCAL, LOCAL_UNSIGNED, SHIMMED_LOCAL, SHIMMED_UNSIGNED = (
    f"52:54:00:77:00:0{number}" for number in range(1, 7)
)
SECURE = "SecureBoot:    6   0   0   0   1"
"""The variable's attributes, then its value."""
SECONDS = 240.0

FIRST = """#!/bin/busybox sh
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /run /tmp
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
dmesg -n 1
for module in /modules/*; do insmod $module; done
"""
# What a machine says that came to its end.
REPORT = f"""{FIRST}
mount -t efivarfs efivarfs /sys/firmware/efi/efivars
dmesg | grep -i 'secure boot'
echo "SecureBoot: $(od -An -t u1 /sys/firmware/efi/efivars/SecureBoot-*)"
echo "{MARKER}"
exec setsid cttyhack sh
"""
# The step of an installation that makes a machine boot from its disk, without the installation before it.
INSTALL = f"""{FIRST}
ip link set lo up
httpd -p 127.0.0.1:80 -h /www
export code=/lib/installer work=/scratch plan=/plan target=/target tools=/stand-ins
mkdir -p /scratch /target/boot/efi /other /shimmed/boot/efi /shimmed/boot
mount -t vfat -o iocharset=ascii /dev/nvme0n1p1 /target/boot/efi
cp /report /target/boot/initramfs-6.img
echo /boot/vmlinuz-6 >/scratch/kernel
echo console=ttyS0 >/scratch/kernel.arguments
grep -v -e shim.efi -e mokmanager.efi /www/manifest >/scratch/manifest
$code/step install_loader uefi /dev/nvme0n1
# The same for a site that wants a shim.
mount -t vfat -o iocharset=ascii /dev/nvme2n1p1 /shimmed/boot/efi
cp /report /shimmed/boot/initramfs-6.img
cp /www/manifest /scratch/manifest
target=/shimmed $code/step install_loader uefi /dev/nvme2n1
# Another machine's disk, with a loader that nobody signed.
mount -t vfat -o iocharset=ascii /dev/nvme1n1p1 /other
cp -r /target/boot/efi/. /other
cp /unsigned.efi /other/EFI/BOOT/BOOTX64.EFI
umount /target/boot/efi /other /shimmed/boot/efi
sync
poweroff -f
"""


PLAN = b"""base http://127.0.0.1/r
mount /dev/nvme0n1p2 /
mount /dev/nvme0n1p1 /boot/efi
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SiteKeys:
    made = SiteKeys(tmp_path_factory.mktemp("keys") / "keys" / "secure-boot")
    made.make("test")
    return made


@dataclass(frozen=True)
class Boot:
    """What machines boot: our directory of programs and two releases, one of them not signed."""

    place: Path
    keys: SiteKeys
    modules: dict[str, bytes]

    def initramfs(self, init: str, *more: Entry) -> bytes:
        parts = [directory(name, 0o755) for name in ("bin", "dev", "modules", "www")]
        modules = [file(f"modules/{name}", data) for name, data in sorted(self.modules.items())]
        busybox = file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755)
        start = file("init", init.encode(), 0o755)
        return cpio([*parts, busybox, link("bin/sh", "busybox"), start, *modules, *more])


@pytest.fixture(scope="module")
def boot(keys: SiteKeys, kernel: Path, kernel_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Boot:
    place = tmp_path_factory.mktemp("boot")
    make_boot_directory(place / "boot", keys.sign)
    make_boot_directory(place / "boot-unsigned")
    make_boot_directory(place / "boot-shim", keys.sign, shim=True)
    tree = next((kernel_files / "lib/modules").iterdir()) / "kernel"
    modules = {
        f"{n}-{Path(name).name}.ko": (tree / f"{name}.ko").read_bytes() for n, name in enumerate(MODULES)
    }
    made = Boot(place, keys, modules)
    # Debian has signed it, the site has not.
    shutil.copy(kernel, place / "kernel")
    run(["sbattach", "--remove", place / "kernel"])
    signed = sign_boot_files(keys, place / "kernel", place, shim=True)
    assert not isinstance(signed, str)
    for release, image in (("signed", signed["kernel.efi"]), ("unsigned", place / "kernel")):
        (place / "releases" / release).mkdir(parents=True)
        (place / "releases" / release / "kernel").hardlink_to(image)
        (place / "releases" / release / "installer").write_bytes(made.initramfs(REPORT))
    return made


def blank_esp(path: Path) -> VmDisk:
    """A disk with an empty EFI system partition."""
    with path.open("wb") as disk:
        disk.truncate(80 * MIB)
    run(["sfdisk", "-q", path], stdin=b"label: gpt\nstart=1MiB, size=70MiB, type=U\n")
    run(["mkfs.vfat", "-F", "32", "-s", "1", "-n", "ESP", "--offset", "2048", path, str(70 * 1024)])
    return VmDisk(path, 80 * MIB, interface=DiskInterface.NVME)


@dataclass(frozen=True)
class Installed:
    """What installations leave: a firmware's variables, and disks with our loader, a strange one, a shim."""

    variables: Path
    disks: tuple[VmDisk, VmDisk, VmDisk]
    transcript: str


@pytest.fixture(scope="module")
def installed(boot: Boot, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A machine in setup mode, through the installer's last step and its first start from the disk."""
    place = tmp_path_factory.mktemp("installed")
    release = {name: (boot.place / name).read_bytes() for name in SHIMMED}
    sums = {name: run(["sha256sum", boot.place / name]).stdout.split()[0] for name in release}
    manifest = "".join(f"FILE {name} {len(release[name])} SHA256 {sums[name]}\n" for name in release)
    archive = boot.initramfs(
        INSTALL,
        *(one for one in overlay_entries(overlay("installer")) if one.name.startswith("lib/")),
        *(file(f"www/r/{name}", data) for name, data in release.items()),
        file("www/manifest", manifest.encode()),
        file("plan", PLAN),
        file("stand-ins/blkid", b"#!/bin/sh\necho none\n", 0o755),
        file("unsigned.efi", (SYSTEMD_BOOT / "systemd-bootx64.efi").read_bytes()),
        file("report", boot.initramfs(REPORT)),
        *(file(f"{ENROLMENT}/{name}", data) for name, data in boot.keys.enrolment().items()),
    )
    (place / "initramfs").write_bytes(archive)
    disks = (
        blank_esp(place / "signed.raw"),
        blank_esp(place / "unsigned.raw"),
        blank_esp(place / "shim.raw"),
    )
    direct = DirectBoot(boot.place / "kernel", place / "initramfs")
    blank = Vm(
        "blank", place / "vm", Firmware.UEFI, board=UEFI_SECURE, memory_mb=768, disks=disks, direct=direct
    )
    with power_on(blank) as machine:
        machine.wait_for_exit(seconds=SECONDS)
    with power_on(dataclasses.replace(blank, direct=None)) as machine:
        machine.console.wait_for(MARKER, seconds=SECONDS)
    return Installed(blank.variables, disks, plain(blank.transcript.read_bytes()))


@contextmanager
def switched_on(
    boot: Boot,
    programs: Path,
    targets: Mapping[str, BootTarget],
    *,
    keys: Path,
    disks: Mapping[str, VmDisk],
    place: Path,
) -> Iterator[dict[str, PoweredOn]]:
    """Machines with Secure Boot on a LAN, all on at once, by MAC.

    `programs` is the boot server's directory; `keys`: a firmware's variables, copied for each.
    """
    director = FakeDirector(targets, releases=boot.place / "releases")
    with ExitStack() as stack:
        net = stack.enter_context(lan("secure", taps=len(targets)))
        stack.enter_context(foreign_dhcp(net, place / "dnsmasq.log"))
        stack.enter_context(serving(net, programs, director))
        on = {}
        for tap, mac in zip(net.taps, targets, strict=True):
            name = f"m{mac[-1]}"
            own = (disks[mac],) if mac in disks else ()
            vm = Vm(name, place / name, Firmware.UEFI, mac, tap, memory_mb=512, board=UEFI_SECURE)
            vm = dataclasses.replace(vm, keys=keys, disks=own)
            on[mac] = stack.enter_context(power_on(vm, prefix=net.exec_prefix("lan")))
        yield on


@pytest.fixture(scope="module")
def machines(
    boot: Boot, installed: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, PoweredOn]]:
    """Four machines that have the site's keys, by what they are to boot."""
    targets: dict[str, BootTarget] = {
        SIGNED: NetBoot("signed", "console=ttyS0", "test"),
        UNSIGNED: NetBoot("unsigned", "console=ttyS0", "test"),
        LOCAL: LocalBoot("test"),
        LOCAL_UNSIGNED: LocalBoot("test"),
    }
    disks = {LOCAL: installed.disks[0], LOCAL_UNSIGNED: installed.disks[1]}
    programs, place = boot.place / "boot", tmp_path_factory.mktemp("machines")
    with switched_on(boot, programs, targets, keys=installed.variables, disks=disks, place=place) as on:
        yield on


def wait_for_refusal(machine: PoweredOn, asked: str, words: str) -> None:
    """Until a machine says with these words that it does not start what was asked for."""
    machine.console.wait_for(asked, seconds=SECONDS)
    machine.console.wait_for(words, seconds=SECONDS)
    assert MARKER not in plain(machine.vm.transcript.read_bytes())


def test_the_installer_enrolls_the_sites_keys_and_the_machine_boots_its_disk(installed: Installed) -> None:
    first, _, second = installed.transcript.partition("reboot: Power down")
    assert "the loader and the kernel have the site's signature" in first
    assert ENROLLED in first
    assert SECURE in second
    assert "Kernel is locked down from EFI Secure Boot" in second or "Secure boot enabled" in second


def test_a_machine_boots_the_network_through_the_signed_chain(machines: dict[str, PoweredOn]) -> None:
    seen = machines[SIGNED].console.wait_for(MARKER, seconds=SECONDS).before
    assert "snponly.efi" in seen
    assert SECURE in seen


def test_a_kernel_that_is_not_signed_is_refused_by_the_firmware(machines: dict[str, PoweredOn]) -> None:
    """iPXE asks the firmware's LoadImage() for every kernel, and has no other way to start one."""
    wait_for_refusal(machines[UNSIGNED], "r/unsigned/kernel", "Could not select: Exec format error")


def test_a_machine_boots_its_disk_through_the_signed_local_program(machines: dict[str, PoweredOn]) -> None:
    seen = machines[LOCAL].console.wait_for(MARKER, seconds=SECONDS).before
    assert "looking for the local disk's boot loader" in seen
    assert SECURE in seen


def test_a_loader_on_the_disk_that_is_not_signed_is_refused(machines: dict[str, PoweredOn]) -> None:
    looking = "looking for the local disk's boot loader"
    wait_for_refusal(machines[LOCAL_UNSIGNED], looking, "cannot load image")


def test_a_boot_program_that_is_not_signed_is_refused(
    boot: Boot, installed: Installed, tmp_path: Path
) -> None:
    programs, targets = boot.place / "boot-unsigned", {SIGNED: NetBoot("signed", "", "test")}
    with switched_on(boot, programs, targets, keys=installed.variables, disks={}, place=tmp_path) as on:
        seen = on[SIGNED].console.wait_for("Access Denied", seconds=SECONDS).before
    assert "snponly.efi" in seen and "iPXE" not in seen


def test_a_machine_with_microsofts_keys_boots_through_the_shim(
    boot: Boot, installed: Installed, tmp_path: Path
) -> None:
    """Shim, iPXE, GRUB, the shim on the disk, systemd-boot, kernel; a kernel nobody signed is refused.

    The site's certificate is a machine owner key; confirming it at a keyboard is left out.
    """
    shutil.copy(MICROSOFT_KEYS, tmp_path / "variables")
    shim_vendor = "605dab50-e046-4300-abb6-3dd810dd8b23"
    add_variable(tmp_path / "variables", "MokList", shim_vendor, (boot.keys.home / "db.esl").read_bytes())
    targets: dict[str, BootTarget] = {
        SHIMMED_LOCAL: LocalBoot("test"),
        SHIMMED_UNSIGNED: NetBoot("unsigned", "console=ttyS0", "test"),
    }
    programs, disks = boot.place / "boot-shim", {SHIMMED_LOCAL: installed.disks[2]}
    keys = tmp_path / "variables"
    with switched_on(boot, programs, targets, keys=keys, disks=disks, place=tmp_path) as on:
        seen = on[SHIMMED_LOCAL].console.wait_for(MARKER, seconds=SECONDS).before
        assert "shimx64.efi" in seen
        assert SECURE in seen
        wait_for_refusal(on[SHIMMED_UNSIGNED], "r/unsigned/kernel", "Security Policy Violation")
