"""Virtual machines with real firmware: what one is made of, and what QEMU is told."""

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from appliance.boards import Board, usual_board
from appliance.model import Firmware
from appliance.run import run


class Accel(Enum):
    """What runs the guest's processor; the value is QEMU's -accel."""

    KVM = "kvm"
    TCG = "tcg,thread=multi"


class DiskInterface(Enum):
    VIRTIO = "virtio"
    IDE = "ide"
    """The two channels of PC boards before AHCI (PIIX3)."""
    AHCI = "ahci"
    NVME = "nvme"
    SCSI = "scsi"
    """Behind LSI's 53c895a, which SeaBIOS boots from and Linux drives with sym53c8xx.

    Linux 6.1 starts QEMU's Fusion-MPT controller (mptsas1068), but finds no disk behind it.
    """
    USB = "usb"


@dataclass(frozen=True)
class VmDisk:
    """A disk in a file: qcow2 when the file is named so, else raw."""

    path: Path
    size_bytes: int
    serial: str = ""
    interface: DiskInterface = DiskInterface.VIRTIO
    write_log: Path | None = None
    """An empty file that takes down, in order, every write and flush of the guest (dm-log-writes' format).

    The guest then sees a disk with a volatile write cache.
    """

    @property
    def format(self) -> str:
        return "qcow2" if self.path.suffix == ".qcow2" else "raw"


class Slot(Enum):
    """Where a medium is put in."""

    CD = "cd"
    USB = "usb"


@dataclass(frozen=True)
class VmMedium:
    """An image in the machine's CD drive, or on a USB stick."""

    path: Path
    slot: Slot = Slot.CD
    writable: bool = False
    """USB: what the guest writes reaches the file. Without, it goes to a copy that is thrown away."""


@dataclass(frozen=True)
class DirectBoot:
    """A kernel the firmware is handed by QEMU instead of looking for one."""

    kernel: Path
    initramfs: Path | None
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
    medium: VmMedium | None = None
    medium_first: bool = True
    """Whether the medium is asked before network and disks, or after them."""
    nic: str = "virtio-net-pci"
    """QEMU's name of the network card. OVMF drives none but virtio's itself: others want `rom`."""
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
        *_controllers(vm),
        *_disks(vm),
        *_medium(vm),
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
        "-device", f"{vm.nic},netdev=net0,mac={vm.mac}{rom},bootindex={index}",
    ]  # fmt: skip


def _controllers(vm: Vm) -> list[str]:
    kinds = {disk.interface for disk in vm.disks}
    slot = vm.medium.slot if vm.medium else None
    words: list[str] = []
    if DiskInterface.AHCI in kinds:
        words += ["-device", "ich9-ahci,id=ahci0"]
    if DiskInterface.SCSI in kinds:
        words += ["-device", "lsi53c895a,id=lsi0"]
    if DiskInterface.USB in kinds or slot is Slot.USB:
        words += ["-device", "qemu-xhci,id=xhci0"]
    if slot is Slot.CD and vm.built_on.foreign:
        words += ["-device", "virtio-scsi-pci,id=scsi0"]
    return words


def _disks(vm: Vm) -> list[str]:
    words: list[str] = []
    for number, disk in enumerate(vm.disks):
        words += ["-drive", f"if=none,id=disk{number},{_drive(disk)}"]
        words += ["-device", f"{_disk_device(disk, number)},drive=disk{number},bootindex={2 + number}"]
    return words


def _drive(disk: VmDisk) -> str:
    file = _comma(disk.path)
    if disk.write_log is None:
        # cache=unsafe: a test disk need not survive a crash of the host.
        return f"format={disk.format},cache=unsafe,discard=unmap,file={file}"
    log = _comma(disk.write_log)
    layers = f"driver=blklogwrites,file.driver={disk.format},file.file.driver=file,file.file.filename={file}"
    return f"{layers},log.driver=raw,log.file.driver=file,log.file.filename={log},cache=writeback"


def _disk_device(disk: VmDisk, number: int) -> str:
    serial = f",serial={_comma(disk.serial)}" if disk.serial else ""
    match disk.interface:
        case DiskInterface.IDE:
            return f"ide-hd,bus=ide.{number // 2}{serial}"
        case DiskInterface.VIRTIO:
            return f"virtio-blk-pci{serial}"
        case DiskInterface.AHCI:
            return f"ide-hd,bus=ahci0.{number}{serial}"
        case DiskInterface.NVME:
            return f"nvme{serial or f',serial=nvme{number}'}"
        case DiskInterface.SCSI:
            return f"scsi-hd,bus=lsi0.0,scsi-id={number}{serial}"
        case DiskInterface.USB:
            return f"usb-storage,bus=xhci0.0,removable=on{serial}"


def _medium(vm: Vm) -> list[str]:
    if vm.medium is None:
        return []
    medium = vm.medium
    match medium.slot:
        case Slot.CD:
            # Both x86 machines have an IDE bus of this name (pc: PIIX3, q35: AHCI); arm64's "virt" has none.
            device = "scsi-cd,bus=scsi0.0" if vm.built_on.foreign else "ide-cd,bus=ide.0"
            access = "media=cdrom,readonly=on"
        case Slot.USB:
            device = "usb-storage,bus=xhci0.0,removable=on"
            access = "cache=unsafe" if medium.writable else "snapshot=on"
    index = 0 if vm.medium_first else 3 + len(vm.disks)
    return [
        "-drive", f"if=none,id=medium,format=raw,{access},file={_comma(medium.path)}",
        "-device", f"{device},id=medium-drive,drive=medium,bootindex={index}",
    ]  # fmt: skip


def _direct(vm: Vm) -> list[str]:
    if vm.direct is None:
        return []
    boot = vm.direct
    initramfs = ["-initrd", str(boot.initramfs)] if boot.initramfs else []
    return ["-kernel", str(boot.kernel), *initramfs, "-append", boot.arguments]


def make_disk(disk: VmDisk) -> None:
    """A blank disk: it takes room only for what is written to it. Replaces what was there."""
    disk.path.parent.mkdir(parents=True, exist_ok=True)
    disk.path.unlink(missing_ok=True)
    if disk.format == "qcow2":
        run(["qemu-img", "create", "-q", "-f", "qcow2", disk.path, str(disk.size_bytes)])
    else:
        disk.path.touch()
        os.truncate(disk.path, disk.size_bytes)
