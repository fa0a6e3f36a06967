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
from appliance.vm import PoweredOn, Vm, power_on
from pxe.configs import GRUB_MODULES
from tests.e2e.boot_server import MARKER, boot_server, entries, furnish
from tests.e2e.relay import relayed

SECONDS = 180.0
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


LOADERS: Mapping[str, Loader] = {
    "pxelinux": Loader(Firmware.BIOS, pxelinux),
    "grub-bios": Loader(Firmware.BIOS, grub("i386-pc-pxe", "undionly.kpxe", "pxe", "biosdisk")),
    "grub-x64": Loader(Firmware.UEFI, grub("x86_64-efi", "snponly.efi", "efinet")),
    # It takes no proxy's word. Debian's build for QEMU has this MAC, whatever the network card says.
    "u-boot": Loader(
        Firmware.BIOS, board=U_BOOT, next_server=APPLIANCE_ADDRESS, foreign=True, mac="52:52:52:52:52:52"
    ),
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
    with ExitStack() as stack:
        net = stack.enter_context(lan("loaders"))
        stack.enter_context(foreign_dhcp(net, place / "dhcp.log", netboot=netboot))
        stack.enter_context(boot_server(place, net))
        vm = Vm(
            name, place / "vm", loader.firmware, mac=MAC, tap=net.taps[0], memory_mb=512, board=loader.board
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
        machine.console.wait_for(MARKER, seconds=SECONDS)
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
    with ThreadPoolExecutor(len(LOADERS)) as pool:
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
    stages = [stage for stage, _ in seen[name].stages]
    assert set(stages[-2:]) == {Stage.KERNEL, Stage.INSTALLER}, seen[name]
    configurations = [message for stage, message in seen[name].stages if stage == Stage.SCRIPT]
    assert configurations and configurations[-1].startswith(f"{asked} for "), seen[name]


def test_u_boot_is_told_by_its_script_to_ask_for_its_configuration(seen: Mapping[str, Boot]) -> None:
    first = next(message for stage, message in seen["u-boot"].stages if stage == Stage.SCRIPT)
    assert first.startswith("boot.scr.uimg for ")
