"""Virtual machines with real firmware: what QEMU is told, and a machine that is on while a block lasts."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Protocol

from appliance.boards import Board, Flash, usual_board
from appliance.console import Console
from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.model import Firmware
from appliance.run import Argument, end, run, running

START_SECONDS = 30.0
CONTROL_SECONDS = 10.0


class Accel(Enum):
    """What runs the guest's processor; the value is QEMU's -accel."""

    KVM = "kvm"
    TCG = "tcg,thread=multi"


class DiskInterface(Enum):
    VIRTIO = "virtio"
    AHCI = "ahci"
    NVME = "nvme"
    USB = "usb"


@dataclass(frozen=True)
class VmDisk:
    """A disk in a file: qcow2 when the file is named so, else raw."""

    path: Path
    size_bytes: int
    serial: str = ""
    interface: DiskInterface = DiskInterface.VIRTIO

    @property
    def format(self) -> str:
        return "qcow2" if self.path.suffix == ".qcow2" else "raw"


@dataclass(frozen=True)
class DirectBoot:
    """A kernel the firmware is handed by QEMU instead of looking for one."""

    kernel: Path
    initramfs: Path
    arguments: str = "console=ttyS0"


@dataclass(frozen=True)
class Vm:
    """A machine as it stands in the rack, switched off."""

    name: str
    directory: Path
    """Its UEFI variables (kept between power-ons), console.log and qemu.log."""
    firmware: Firmware
    mac: str = ""
    tap: str = ""
    """Interface of the network namespace QEMU runs in; empty: no network card."""
    memory_mb: int = 1024
    processors: int = 1
    board: Board | None = None
    """Another one than the usual x86 machine of its firmware (boards.py)."""
    keys: Path | None = None
    """UEFI: variables with enrolled keys, which it starts from instead of the board's own."""
    disks: tuple[VmDisk, ...] = ()
    network_first: bool = True
    rom: bool | None = None
    """Whether QEMU's iPXE option ROM is on the network card; None: on BIOS machines.

    UEFI: with it iPXE answers instead of the firmware's own PXE client.
    """
    ipv4_pxe: bool = True
    """UEFI: False leaves HTTP boot only."""
    ipv6_pxe: bool = False
    """UEFI: without a DHCPv6 server it costs a minute before the next device."""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""
    direct: DirectBoot | None = None

    @property
    def built_on(self) -> Board:
        return self.board or usual_board(self.firmware)

    @property
    def variables(self) -> Path:
        return self.directory / "vars.fd"

    @property
    def transcript(self) -> Path:
        return self.directory / "console.log"

    @property
    def log(self) -> Path:
        return self.directory / "qemu.log"


def argv(vm: Vm, accel: Accel, sockets: Path) -> list[str]:
    """QEMU's command line; its console and control sockets are `sockets`/console and `sockets`/qmp."""
    board = vm.built_on
    engine = Accel.TCG if board.foreign else accel
    return [
        board.qemu, "-name", vm.name, "-nodefaults", "-no-user-config", "-accel", engine.value,
        "-cpu", board.cpu, "-smp", str(vm.processors), "-m", f"{vm.memory_mb}M",
        *_firmware(vm),
        # -nographic tells SeaBIOS and iPXE to use the serial port (etc/sercon-port); -display none does not.
        "-nographic", *([] if board.foreign else ["-vga", "std"]), "-monitor", "none",
        # The machine starts when the console is attached: not one byte of it is missed.
        "-chardev", f"socket,id=console,path={_comma(sockets / 'console')},server=on,wait=on",
        "-serial", "chardev:console",
        "-qmp", f"unix:{_comma(sockets / 'qmp')},server=on,wait=off",
        "-device", "virtio-rng-pci",
        *_identity(vm),
        *_network(vm),
        *_disks(vm),
        *_direct(vm),
    ]  # fmt: skip


def _comma(value: str | Path) -> str:
    """A value inside one of QEMU's comma-separated options: commas are doubled (qemu(1), -drive)."""
    return str(value).replace(",", ",,")


def _firmware(vm: Vm) -> list[str]:
    board = vm.built_on
    if board.flash is None:
        return ["-machine", board.machine, *board.extra]
    return [
        "-machine", board.machine, *board.extra,
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={board.flash.code}",
        "-drive", f"if=pflash,unit=1,format=raw,file={_comma(vm.variables)}",
        # edk2 OvmfPkg reads these to leave out boot options; see OvmfPkg/PlatformDxe and NetworkPkg.
        *([] if vm.ipv4_pxe else ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]),
        *([] if vm.ipv6_pxe else ["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]),
    ]  # fmt: skip


def _identity(vm: Vm) -> list[str]:
    words = {"manufacturer": vm.vendor, "product": vm.product, "serial": vm.serial}
    given = [f"{key}={_comma(value)}" for key, value in words.items() if value]
    smbios = ["-smbios", ",".join(["type=1", *given])] if given else []
    return [*smbios, *(["-uuid", vm.uuid] if vm.uuid else [])]


def _network(vm: Vm) -> list[str]:
    if not vm.tap:
        return []
    has_rom = vm.firmware is Firmware.BIOS if vm.rom is None else vm.rom
    rom = "" if has_rom else ",romfile="
    index = 1 if vm.network_first else 2 + len(vm.disks)
    return [
        "-netdev", f"tap,id=net0,ifname={vm.tap},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=net0,mac={vm.mac}{rom},bootindex={index}",
    ]  # fmt: skip


def _disks(vm: Vm) -> list[str]:
    kinds = {disk.interface for disk in vm.disks}
    words: list[str] = []
    if DiskInterface.AHCI in kinds:
        words += ["-device", "ich9-ahci,id=ahci0"]
    if DiskInterface.USB in kinds:
        words += ["-device", "qemu-xhci,id=xhci0"]
    for number, disk in enumerate(vm.disks):
        # cache=unsafe: a test disk need not survive a crash of the host.
        drive = f"if=none,id=disk{number},format={disk.format},cache=unsafe,discard=unmap"
        words += ["-drive", f"{drive},file={_comma(disk.path)}"]
        words += ["-device", f"{_disk_device(disk, number)},drive=disk{number},bootindex={2 + number}"]
    return words


def _disk_device(disk: VmDisk, number: int) -> str:
    serial = f",serial={_comma(disk.serial)}" if disk.serial else ""
    match disk.interface:
        case DiskInterface.VIRTIO:
            return f"virtio-blk-pci{serial}"
        case DiskInterface.AHCI:
            return f"ide-hd,bus=ahci0.{number}{serial}"
        case DiskInterface.NVME:
            return f"nvme{serial or f',serial=nvme{number}'}"
        case DiskInterface.USB:
            return f"usb-storage,bus=xhci0.0,removable=on{serial}"


def _direct(vm: Vm) -> list[str]:
    if vm.direct is None:
        return []
    boot = vm.direct
    return ["-kernel", str(boot.kernel), "-initrd", str(boot.initramfs), "-append", boot.arguments]


def make_disk(disk: VmDisk) -> None:
    """A blank disk: it takes room only for what is written to it. Replaces what was there."""
    disk.path.parent.mkdir(parents=True, exist_ok=True)
    disk.path.unlink(missing_ok=True)
    if disk.format == "qcow2":
        run(["qemu-img", "create", "-q", "-f", "qcow2", disk.path, str(disk.size_bytes)])
    else:
        disk.path.touch()
        os.truncate(disk.path, disk.size_bytes)


class Process(Protocol):
    """A child process, as appliance.run.running() gives it."""

    pid: int

    def poll(self) -> int | None: ...


@dataclass(frozen=True)
class PoweredOn:
    """A machine that is on."""

    vm: Vm
    console: Console
    process: Process
    control: Path
    stop: Callable[[], None]

    def wait_for_exit(self, *, seconds: float) -> None:
        """Wait until the guest has switched the machine off."""
        name = f"{self.vm.name} switches itself off"
        wait_until(self.process.poll, seconds=seconds, what=name, last_seen=self.console.tail)

    def power_off(self) -> None:
        """Pull the plug; a machine that is already off stays off.

        QEMU closes its images on SIGTERM; only one that hangs (KVM may) is killed.
        """
        self.stop()

    def reset(self) -> None:
        """Press the reset button: the firmware starts again."""
        _control(self.control, "system_reset")


@contextmanager
def power_on(vm: Vm, *, accel: Accel = Accel.TCG, prefix: Sequence[Argument] = ()) -> Iterator[PoweredOn]:
    """A machine that is on until the block is left.

    `prefix` puts it into a network namespace (`Lan.exec_prefix`). It dies with the thread that switched it on
    (setpriv --pdeathsig), so nothing keeps running when the caller is killed.
    """
    vm.directory.mkdir(parents=True, exist_ok=True)
    flash = vm.built_on.flash
    if flash and not vm.variables.exists():
        _copy_variables(flash, vm.keys or flash.variables, vm.variables)
    # A socket's path is at most 107 bytes (unix(7)): the machine's own directory may be too deep.
    with tempfile.TemporaryDirectory(prefix="distserver-vm-") as place:
        sockets = Path(place)
        program = ["setpriv", "--pdeathsig", "KILL", *argv(vm, accel, sockets)]
        with (
            running(program, prefix=prefix, output=vm.log) as process,
            _attached(vm, process, sockets / "console") as line,
            Console(line.fileno(), vm.transcript) as console,
        ):
            on = PoweredOn(vm, console, process, sockets / "qmp", partial(end, process))
            try:
                _wait_for_guest(on)
                yield on
            finally:
                on.power_off()


def _copy_variables(flash: Flash, template: Path, variables: Path) -> None:
    for file in (flash.code, template):
        if not file.exists():
            raise Problem(f"no UEFI firmware: {file} is missing", hint=f"install the package {flash.package}")
    partial = variables.with_suffix(".partial")
    shutil.copyfile(template, partial)
    partial.rename(variables)


@contextmanager
def _attached(vm: Vm, process: Process, path: Path) -> Iterator[socket.socket]:
    """The machine's serial line, as soon as QEMU offers it."""

    def connect() -> bool | None:
        _check_running(vm, process)
        try:
            line.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return True

    with socket.socket(socket.AF_UNIX) as line:
        wait_until(connect, seconds=START_SECONDS, what=f"QEMU offers the console of {vm.name}")
        yield line


def _wait_for_guest(on: PoweredOn) -> None:
    """Wait until QEMU has taken all devices and the guest runs: only then its control socket answers."""

    def answer() -> bool | None:
        _check_running(on.vm, on.process)
        try:
            _control(on.control, "query-status")
        except (OSError, ControlClosed):
            return None
        return True

    wait_until(answer, seconds=START_SECONDS, what=f"QEMU starts {on.vm.name}")


def _check_running(vm: Vm, process: Process) -> None:
    status = process.poll()
    if status is not None:
        raise Problem(
            f"machine {vm.name} cannot be switched on: QEMU ended with status {status}",
            hint=vm.log.read_text(errors="replace")[-1000:].strip(),
        )


class ControlClosed(Exception):
    """QEMU went away before it answered."""


def _control(path: Path, command: str) -> None:
    """Give QEMU one command of its machine protocol (QMP: a greeting, qmp_capabilities, then commands)."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(CONTROL_SECONDS)
        line.connect(str(path))
        with line.makefile("rwb") as talk:
            for step in ("qmp_capabilities", command):
                talk.write(json.dumps({"execute": step}).encode() + b"\n")
                talk.flush()
                _await_reply(talk.readline, step)


def _await_reply(readline: Callable[[], bytes], step: str) -> None:
    for raw in iter(readline, b""):
        reply = json.loads(raw)
        if "error" in reply:
            raise Problem(f"QEMU refused {step}: {reply['error'].get('desc')}")
        if "return" in reply:
            return
    raise ControlClosed(f"QEMU closed its control socket before it answered {step}")
