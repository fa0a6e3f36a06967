"""Real boot loaders follow the configurations that are made for them, from their first name to the kernel."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.boards import Board
from appliance.deadline import wait_until
from appliance.lab import APPLIANCE_ADDRESS, NetbootOptions, foreign_dhcp, lan
from appliance.model import Firmware
from appliance.run import run
from appliance.stages import Stage
from appliance.vm import Vm, VmDisk
from appliance.vm_power import PoweredOn, power_on
from pxe.configs import GRUB_MODULES
from tests.e2e.boot_server import INSTALLED, MARKER, boot_server, entries, furnish
from tests.e2e.relay import relayed

SECONDS = 180.0
AT_ONCE = 4
MAC = "52:54:00:7b:00:01"
U_BOOT = Board(
    "qemu-system-aarch64",
    "virt",
    "cortex-a57",
    extra=("-bios", "/usr/lib/u-boot/qemu_arm64/u-boot.bin"),
    foreign=True,
)


def pxelinux(boot: Path) -> None:
    shutil.copy("/usr/lib/PXELINUX/pxelinux.0", boot / "undionly.kpxe")
    shutil.copy("/usr/lib/syslinux/modules/bios/ldlinux.c32", boot)


def grub(platform: str, name: str, *modules: str) -> Callable[[Path], None]:
    def make(boot: Path) -> None:
        # As a proxy's client GRUB asks the DHCP server for everything unless its prefix names another.
        prefix = f"(tftp,{APPLIANCE_ADDRESS})/grub"
        image: list[str | Path] = ["-O", platform, "-p", prefix, "-o", boot / name]
        run(["grub-mkimage", *image, *GRUB_MODULES, *modules])

    return make


ON_DISK = "the local disk boots"
# Prints ON_DISK, which follows it, by INT 10h and stops. Interrupts are on, or SeaBIOS would keep the last
# letters from the serial line; it jumps over where a file system has its parameters, since GRUB writes there.
_JUMP = bytes.fromhex("eb5e90").ljust(0x60, b"\0")
SECTOR = _JUMP + bytes.fromhex("fb 31c0 8ed8 be777c fc ac 08c0 7406 b40e cd10 ebf5 f4 ebfd")


def bios_disk(disk: Path) -> None:
    """A disk whose first sector prints ON_DISK."""
    disk.write_bytes((SECTOR + ON_DISK.encode() + b"\r\n\0").ljust(510, b"\0") + b"\x55\xaa" + bytes(1 << 20))


def uefi_disk(disk: Path) -> None:
    """A FAT disk whose boot loader, another GRUB, prints ON_DISK."""
    config, loader = disk.with_suffix(".cfg"), disk.with_suffix(".efi")
    config.write_text(f'echo "{ON_DISK}"\nsleep 600\n')
    run(
        ["grub-mkimage", "-O", "x86_64-efi", "-p", "/", "-c", config, "-o", loader, "echo", "sleep", "normal"]
    )
    disk.write_bytes(bytes(64 << 20))
    run(["mkfs.vfat", disk])
    run(["mmd", "-i", disk, "::/EFI", "::/EFI/BOOT"])
    run(["mcopy", "-i", disk, loader, "::/EFI/BOOT/BOOTX64.EFI"])


@dataclass(frozen=True)
class Loader:
    """A boot loader in the place of our boot program, and a machine that loads it."""

    firmware: Firmware
    install: Callable[[Path], None] = lambda boot: None
    board: Board | None = None
    next_server: str = ""
    """What the foreign DHCP server names."""
    foreign: bool = False
    """The kernel is not for its processor: that it fetched both files must do."""
    mac: str = MAC
    disk: Callable[[Path], None] | None = None
    """Makes a disk: the machine is to boot it."""


LOADERS: Mapping[str, Loader] = {
    "pxelinux": Loader(Firmware.BIOS, pxelinux),
    "grub-bios": Loader(Firmware.BIOS, grub("i386-pc-pxe", "undionly.kpxe", "pxe", "biosdisk")),
    "grub-x64": Loader(Firmware.UEFI, grub("x86_64-efi", "snponly.efi", "efinet")),
    # It takes no proxy's word. Debian's build for QEMU has this MAC, whatever the network card says.
    "u-boot": Loader(
        Firmware.BIOS, board=U_BOOT, next_server=APPLIANCE_ADDRESS, foreign=True, mac="52:52:52:52:52:52"
    ),
    "pxelinux-disk": Loader(Firmware.BIOS, pxelinux, disk=bios_disk),
    "grub-bios-disk": Loader(
        Firmware.BIOS, grub("i386-pc-pxe", "undionly.kpxe", "pxe", "biosdisk"), disk=bios_disk
    ),
    "grub-x64-disk": Loader(Firmware.UEFI, grub("x86_64-efi", "local-x64.efi", "efinet"), disk=uefi_disk),
}


@dataclass(frozen=True)
class Boot:
    stages: list[tuple[str, str]]
    """What the director was told: stage and message."""
    console: str


def watch(name: str, place: Path) -> Boot:
    loader = LOADERS[name]
    loader.install(place / "boot")
    netboot = NetbootOptions(next_server=loader.next_server)
    disks: tuple[VmDisk, ...] = ()
    if loader.disk:
        (place / INSTALLED).touch()
        loader.disk(place / "disk.raw")
        disks = (VmDisk(place / "disk.raw", 0),)
    with ExitStack() as stack:
        net = stack.enter_context(lan("loaders"))
        stack.enter_context(foreign_dhcp(net, place / "dhcp.log", netboot=netboot))
        stack.enter_context(boot_server(place, net))
        vm = Vm(
            name,
            place / "vm",
            loader.firmware,
            mac=MAC,
            tap=net.taps[0],
            memory_mb=512,
            board=loader.board,
            disks=disks,
        )
        if loader.firmware is Firmware.BIOS and not loader.board:
            # QEMU's ROM is an iPXE, which would be sent its script at once.
            stack.enter_context(relayed(net, vm.tap, place / "relay.log", poor=True))
        machine = stack.enter_context(power_on(vm, prefix=net.exec_prefix("lan")))
        _wait(machine, loader, place)
        told = [(one.stage, one.message) for one in entries(place, loader.mac)]
        return Boot(told, machine.console.tail())


def _wait(machine: PoweredOn, loader: Loader, place: Path) -> None:
    if not loader.foreign:
        machine.console.wait_for(ON_DISK if loader.disk else MARKER, seconds=SECONDS)
        return

    def fetched() -> bool | None:
        return {Stage.KERNEL, Stage.INSTALLER} <= {one.stage for one in entries(place, loader.mac)} or None

    wait_until(fetched, seconds=SECONDS, what="both files are fetched", last_seen=machine.console.tail)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Boot]:
    path = tmp_path_factory.mktemp("loaders")
    furnish(path / "furnished")
    for name in LOADERS:
        shutil.copytree(path / "furnished", path / name)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        boots = pool.map(lambda name: watch(name, path / name), LOADERS)
        return dict(zip(LOADERS, boots, strict=True))


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("pxelinux", "01-52-54-00-7b-00-01"),
        ("grub-bios", "grub.cfg-01-52-54-00-7b-00-01"),
        ("grub-x64", "grub.cfg-01-52-54-00-7b-00-01"),
        ("u-boot", "01-52-52-52-52-52-52"),
    ],
)
def test_a_boot_loader_comes_to_the_kernel_by_its_own_configuration(
    seen: Mapping[str, Boot], name: str, asked: str
) -> None:
    told = seen[name].stages
    first = next(at for at, (stage, _) in enumerate(told) if stage in (Stage.KERNEL, Stage.INSTALLER))
    # What comes later may be the next boot of a machine that cannot start this kernel.
    assert {stage for stage, _ in told[first : first + 2]} == {Stage.KERNEL, Stage.INSTALLER}, seen[name]
    stage, message = told[first - 1]
    assert stage == Stage.SCRIPT and message.startswith(f"{asked} for "), seen[name]


def test_u_boot_is_told_by_its_script_to_ask_for_its_configuration(seen: Mapping[str, Boot]) -> None:
    first = next(message for stage, message in seen["u-boot"].stages if stage == Stage.SCRIPT)
    assert first.startswith("boot.scr.uimg for ")


@pytest.mark.parametrize("name", ["pxelinux-disk", "grub-bios-disk", "grub-x64-disk"])
def test_a_boot_loader_hands_an_installed_machine_over_to_its_disk(
    seen: Mapping[str, Boot], name: str
) -> None:
    stages = [stage for stage, _ in seen[name].stages]
    assert Stage.SCRIPT in stages and Stage.KERNEL not in stages, seen[name]
    assert ON_DISK in seen[name].console
