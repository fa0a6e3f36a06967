"""Finds block devices and what is on them: pyudev and /proc, with or without a running udevd."""

import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyudev

from appliance.errors import Problem
from appliance.medium import Medium
from appliance.run import run
from iso.image_file import read_medium
from iso.sticks import (
    SECTOR_BYTES,
    Block,
    Bus,
    Contents,
    Drive,
    Role,
    System,
    Use,
    is_removable,
    matches,
    wanted_by_system,
)

ATTRIBUTE_BYTES = 512
"""The unit of /sys/block/NAME/size, whatever the drive's own sectors are."""
BUSES = {
    "usb": Bus.USB,
    "memstick": Bus.MEMORY_STICK,
    "firewire": Bus.FIREWIRE,
    "nvme": Bus.NVME,
    "ata_port": Bus.ATA,
    "virtio": Bus.VIRTIO,
}
"""Subsystems of the devices above a block device."""
SCSI_CD = "5"
LOADER = Path("/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f")
EFI_ATTRIBUTES = 4
"""Bytes before the value of a variable in efivarfs (Linux, filesystems/efivarfs)."""
OCTAL = re.compile(r"\\([0-7]{3})")


def survey() -> System:
    """All disks of this host, what is on them and what they are used for.

    Raises Problem when libudev is missing. What may not be read (blkid needs root where no udevd keeps a
    database) is said in Contents.readable.
    """
    try:
        devices = list(pyudev.Context().list_devices(subsystem="block"))
    except ImportError as missing:
        raise Problem(f"block devices cannot be listed: {missing}", hint="install libudev1") from missing
    names = {device.device_number: _name(device) for device in devices}
    blocks = {_name(device): _block(device, names) for device in devices}
    disks = [device for device in devices if device.device_type == "disk"]
    drives = tuple(sorted((_drive(device) for device in disks), key=lambda drive: drive.name))
    return System(
        tuple(_with_medium(drive, blocks[drive.name]) for drive in drives),
        blocks,
        (*_mounts(names), *_swaps(names), *_needed(blocks)),
    )


def _name(device: Any) -> str:
    """As below /dev: the kernel writes cciss!c0d0 in /sys where that has cciss/c0d0."""
    return str(device.sys_name).replace("!", "/")


def _attribute(device: Any, name: str) -> str:
    """A sysfs attribute; empty when there is none."""
    value = device.attributes.get(name) if device is not None else None
    return _printable(value.decode(errors="replace")).strip() if value else ""


def _printable(text: str) -> str:
    """A stick's names come from whoever made it: nothing of them may steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _number(device: Any, name: str) -> int:
    text = _attribute(device, name)
    return int(text) if text.isdigit() else 0


def _block(device: Any, names: Mapping[int, str]) -> Block:
    name = _name(device)
    disk = name if device.device_type == "disk" else _name(device.find_parent("block", "disk"))
    place = Path(device.sys_path)
    below = {path.name.replace("!", "/") for path in place.glob("slaves/*")}
    size = _number(device, "size") * ATTRIBUTE_BYTES
    # A loop device on another device is no holder in the kernel's eyes: drivers/block/loop.c claims nothing.
    behind = _numbers_of(_attribute(device, "loop/backing_file"))
    below |= {names[number] for number in behind if number in names}
    return Block(name, disk, size, frozenset(below), _contents(device) if size else Contents())


def _drive(device: Any) -> Drive:
    scsi, usb = device.find_parent("scsi", "scsi_device"), device.find_parent("usb", "usb_device")
    card = device.find_parent("mmc")
    number = device.device_number
    serials = (
        _attribute(usb, "serial"),
        _attribute(card, "serial"),
        _attribute(device, "serial"),
        _attribute(device, "device/serial"),
        device.properties.get("ID_SERIAL_SHORT", ""),
    )
    return Drive(
        name=_name(device),
        number=(os.major(number), os.minor(number)),
        bus=_bus(device, scsi),
        size_bytes=_number(device, "size") * ATTRIBUTE_BYTES,
        removable=_attribute(device, "removable") == "1",
        vendor=_attribute(scsi, "vendor") or _attribute(usb, "manufacturer"),
        model=_attribute(scsi, "model") or _attribute(card, "name") or _attribute(device, "device/model"),
        serial=next(filter(None, serials), ""),
        read_only=_attribute(device, "ro") == "1",
        sector_bytes=_number(device, "queue/logical_block_size") or SECTOR_BYTES,
        sequence=_attribute(device, "diskseq"),
    )


def _bus(device: Any, scsi: Any) -> Bus:
    """What the nearest device above says that names a bus."""
    if _attribute(scsi, "type") == SCSI_CD:
        return Bus.OPTICAL
    for above in device.ancestors:
        if above.subsystem == "mmc":
            # drivers/mmc/core: SD and SDcombo are cards, MMC is a chip that is soldered in.
            return Bus.SD_CARD if _attribute(above, "type").startswith("SD") else Bus.MMC
        if bus := BUSES.get(above.subsystem):
            return bus
    return Bus.SCSI if scsi is not None else Bus.OTHER


def _contents(device: Any) -> Contents:
    """From udev's database, or from blkid where no udevd keeps one."""
    said = device.properties
    if device.is_initialized and ("ID_FS_TYPE" in said or "ID_PART_TABLE_TYPE" in said):
        return Contents(
            table=said.get("ID_PART_TABLE_TYPE", ""),
            file_system=said.get("ID_FS_TYPE", ""),
            # Of a whole disk "_ENC" has the signs that the plain one replaces (udev-builtin-blkid.c).
            label=_decoded(said.get("ID_FS_LABEL_ENC", "")),
            uuid=said.get("ID_FS_UUID", ""),
            part_uuid=said.get("ID_PART_ENTRY_UUID", ""),
            part_label=_decoded(said.get("ID_PART_ENTRY_NAME", "")),
        )
    return _probed(device)


def _decoded(text: str) -> str:
    plain = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes((int(found[1], 16),)), text.encode())
    return _printable(plain.decode(errors="replace"))


def _probed(device: Any) -> Contents:
    number = device.device_number
    try:
        with node(_name(device), (os.major(number), os.minor(number))) as path:
            path.open("rb").close()
            # 2: nothing was found, or an ambivalent result; 8: for a disk that is probably none.
            printed = run(["blkid", "-p", "-o", "export", path], ok=(0, 2, 8)).stdout
    except OSError:
        return Contents(readable=False)
    found = {key: re.sub(r"\\(.)", r"\1", _printable(value)) for key, value in _pairs(printed)}
    return Contents(
        table=found.get("PTTYPE", ""),
        file_system=found.get("TYPE", ""),
        label=found.get("LABEL", ""),
        uuid=found.get("UUID", ""),
        part_uuid=found.get("PART_ENTRY_UUID", ""),
        part_label=found.get("PART_ENTRY_NAME", ""),
    )


def _pairs(printed: str) -> Iterator[tuple[str, str]]:
    for line in printed.splitlines():
        key, _, value = line.partition("=")
        yield key, value


def _with_medium(drive: Drive, block: Block) -> Drive:
    """The drive with the DistServer medium that is on it; nobody looks into disks that are no sticks."""
    if block.contents.file_system != "iso9660" or not is_removable(drive):
        return drive
    with suppress(OSError, Problem), node(drive.name, drive.number) as path, path.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        if found := read_medium(read):
            return replace(drive, medium=medium_title(block.contents.label, found))
    return drive


def medium_title(label: str, medium: Medium) -> str:
    profiles = ", ".join(profile for _, profile in medium.releases)
    kind = "offline" if medium.offline else "online"
    owner = f", for {medium.machine.name} ({medium.machine.mac})" if medium.machine else ""
    return f"{medium.id} '{label}': {kind}, {profiles}{owner}, of {medium.created[:10]}"


@contextmanager
def node(name: str, number: tuple[int, int]) -> Iterator[Path]:
    """The device's node: that of /dev or, where a static /dev has none or another, one made for the block."""
    path, device = Path("/dev") / name, os.makedev(*number)
    with suppress(FileNotFoundError):
        found = path.stat()
        if stat.S_ISBLK(found.st_mode) and found.st_rdev == device:
            yield path
            return
    with TemporaryDirectory(prefix="distserver-usb-") as room:
        made = Path(room) / path.name
        try:
            os.mknod(made, stat.S_IFBLK | 0o600, device)
        except PermissionError as denied:
            raise Problem(f"there is no {path}, and none can be made", hint="run it as root") from denied
        yield made


def _mounts(names: Mapping[int, str]) -> Iterator[Use]:
    """Of this process and of the first one, which may see others; what else is mounted, O_EXCL finds."""
    lines: dict[str, None] = {}
    for process in ("self", "1"):
        with suppress(OSError):
            lines |= dict.fromkeys(Path(f"/proc/{process}/mountinfo").read_text().splitlines())
    for line in lines:
        words = line.split(" ")
        major, _, minor = words[2].partition(":")
        source = words[words.index("-") + 2]
        # btrfs has numbers of its own, but says where it was mounted from.
        for number in {os.makedev(int(major), int(minor)), *_numbers_of(_plain(source))} & names.keys():
            yield Use(names[number], Role.MOUNTED, _plain(words[4]))
    for member in Path("/sys/fs/btrfs").glob("*/devices/*"):
        yield Use(member.name.replace("!", "/"), Role.MOUNTED, "a btrfs of several devices")


def _swaps(names: Mapping[int, str]) -> Iterator[Use]:
    with suppress(OSError):
        for line in Path("/proc/swaps").read_text().splitlines()[1:]:
            for number in _numbers_of(_plain(line.split()[0])):
                if number in names:
                    yield Use(names[number], Role.SWAP)


def _needed(blocks: Mapping[str, Block]) -> Iterator[Use]:
    texts = {}
    for key, path in (("fstab", Path("/etc/fstab")), ("cmdline", Path("/proc/cmdline"))):
        with suppress(OSError):
            texts[key] = path.read_text(errors="replace")
    with suppress(OSError):
        texts["loader"] = LOADER.read_bytes()[EFI_ATTRIBUTES:].decode("utf-16-le", errors="replace")
    for spec, what in wanted_by_system(texts).items():
        for block in blocks.values():
            if matches(block, spec):
                yield Use(block.name, Role.NEEDED, what)


def _numbers_of(path: str) -> set[int]:
    """The number of the block device that a path means now."""
    with suppress(OSError):
        found = Path(path).stat() if path.startswith("/") else None
        if found and stat.S_ISBLK(found.st_mode):
            return {found.st_rdev}
    return set()


def _plain(text: str) -> str:
    """A path of /proc, where signs are written as octal numbers (proc(5))."""
    return OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


@contextmanager
def watching(drive: Drive) -> Iterator[Callable[[float], bool]]:
    """`gone(seconds)`: whether the medium was taken out, waiting so long for the kernel to say so.

    A pulled stick first fails the writes that are under way and is only then taken from /sys.
    """
    monitor = None
    # udevd's events do not come without one; the kernel's come always, but not into every container.
    with suppress(OSError):
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
        monitor.filter_by("block")
        monitor.start()

    def gone(seconds: float) -> bool:
        if not is_there(drive):
            return True
        if monitor is None:
            return False
        deadline = time.monotonic() + seconds
        while is_there(drive) and (left := deadline - time.monotonic()) > 0:
            monitor.poll(left)
        return not is_there(drive)

    yield gone


def is_there(drive: Drive) -> bool:
    """Whether this very medium is still in: not only one with its name."""
    place = Path(f"/sys/dev/block/{drive.number[0]}:{drive.number[1]}")
    try:
        size = int((place / "size").read_text()) * ATTRIBUTE_BYTES
        sequence = (place / "diskseq").read_text().strip() if drive.sequence else ""
    except (OSError, ValueError):
        return False
    return size == drive.size_bytes and sequence == drive.sequence
