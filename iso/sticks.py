"""Which drives may be written on: facts about block devices in, a stick or a refusal out. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

SECTOR_BYTES = 512
"""What the partition tables of our images count in."""


class Bus(Enum):
    """How a drive is connected; the value is how people call it."""

    USB = "USB"
    SD_CARD = "SD card"
    MEMORY_STICK = "Memory Stick"
    FIREWIRE = "FireWire"
    MMC = "soldered flash (eMMC)"
    OPTICAL = "CD drive"
    ATA = "SATA"
    NVME = "NVMe"
    SCSI = "SCSI"
    VIRTIO = "virtio"
    OTHER = "none that is known"


REMOVABLE = frozenset({Bus.USB, Bus.SD_CARD, Bus.MEMORY_STICK, Bus.FIREWIRE})
"""The bus decides, not the removable flag: USB disks deny it, and disks at hot-plug SATA ports claim it
(libata sets it for ports that the firmware calls external)."""


class Role(Enum):
    """What the running system does with a block device."""

    MOUNTED = "is mounted at"
    SWAP = "is swap space"
    NEEDED = "is what the system boots from or mounts:"


SYSTEM_PLACES = ("/", "/boot", "/boot/efi", "/efi", "/etc", "/home", "/opt", "/srv", "/usr", "/var")


@dataclass(frozen=True)
class Contents:
    """What is on a device, in the words of blkid."""

    table: str = ""
    """gpt or dos."""
    file_system: str = ""
    label: str = ""
    uuid: str = ""
    part_uuid: str = ""
    part_label: str = ""
    readable: bool = True
    """False: it could not be looked at."""


@dataclass(frozen=True)
class Block:
    """A block device: a whole disk, a partition, or something that is built on others."""

    name: str
    disk: str
    """The whole disk it is a part of; its own name when it is one."""
    size_bytes: int = 0
    built_on: frozenset[str] = frozenset()
    """Devices it makes use of: of LVM, RAID, encryption, a loop device."""
    contents: Contents = Contents()


@dataclass(frozen=True)
class Drive:
    """A whole disk, as far as it can be told from outside."""

    name: str
    """The kernel's, as below /dev."""
    number: tuple[int, int]
    bus: Bus
    size_bytes: int
    """0: a drive without a medium, such as an empty slot of a card reader."""
    removable: bool = True
    """What it says of itself."""
    vendor: str = ""
    model: str = ""
    serial: str = ""
    read_only: bool = False
    sector_bytes: int = SECTOR_BYTES
    sequence: str = ""
    """Another number for each medium that ever had this name (Linux 5.15: diskseq)."""
    medium: str = ""
    """Which DistServer medium is on it."""

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.vendor, self.model))) or "a drive without a name"


@dataclass(frozen=True)
class Use:
    block: str
    role: Role
    where: str = ""


@dataclass(frozen=True)
class System:
    """All block devices of a host, and what it does with them."""

    drives: tuple[Drive, ...] = ()
    blocks: Mapping[str, Block] = field(default_factory=lambda: MappingProxyType({}))
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True)
class Reason:
    said: str
    fix: str = ""


@dataclass(frozen=True)
class Stick:
    """A drive that may be written on."""

    drive: Drive
    note: str = ""
    """What a person should know before."""


@dataclass(frozen=True)
class Refused:
    drive: Drive
    reasons: tuple[Reason, ...]


def judge(drive: Drive, system: System) -> Stick | Refused:
    """Whether this drive may lose all that is on it."""
    reasons = (*_uses(drive, system), *_kind(drive))
    if reasons:
        return Refused(drive, reasons)
    if drive.bus is Bus.USB and not drive.removable:
        return Stick(drive, "a USB disk that says it is not removable")
    return Stick(drive)


def is_removable(drive: Drive) -> bool:
    """Whether a person looks for it in a list of sticks."""
    return drive.bus in REMOVABLE


def too_small(drive: Drive, image_bytes: int) -> str | None:
    """Why an image does not fit on a drive."""
    if image_bytes <= drive.size_bytes:
        return None
    missing = image_bytes - drive.size_bytes
    return (
        f"{drive.name} holds {amount(drive.size_bytes)} and the image has {amount(image_bytes)}:"
        f" it is {missing} bytes too small"
    )


def tower(disk: str, blocks: Mapping[str, Block]) -> list[Block]:
    """A disk, its partitions, what is built on them, and so on up; a device comes after what it needs."""
    names = [disk]
    found = []
    for name in names:
        if block := blocks.get(name):
            found.append(block)
        above = (
            one.name for one in blocks.values() if name in one.built_on or (one.disk == name != one.name)
        )
        names += sorted(set(above) - {*names})
    return found


def _uses(drive: Drive, system: System) -> list[Reason]:
    reasons = []
    stands = tower(drive.name, system.blocks)
    own = {one.name for one in stands if one.disk == drive.name}
    names = {one.name for one in stands} | {drive.name}
    for use in system.uses:
        if use.block in names:
            reasons.append(_used(use, built=use.block not in own | {drive.name}))
    for block in stands:
        if block.name not in own:
            reasons.append(_taken(block, names))
    # What the system lives on first: it is why the drive stays refused when the rest is unmounted.
    return sorted(dict.fromkeys(reasons), key=lambda reason: "running system" not in reason.said)


def _used(use: Use, *, built: bool) -> Reason:
    subject = f"{use.block}, which is built on it," if built else use.block
    said = " ".join(filter(None, (subject, use.role.value, use.where)))
    if use.role is Role.MOUNTED and use.where not in SYSTEM_PLACES:
        return Reason(said, f"umount {_quoted(use.where)}")
    if use.role is Role.SWAP:
        return Reason(f"it belongs to the running system: {said}", f"swapoff /dev/{use.block}")
    return Reason(f"it belongs to the running system: {said}")


def _taken(block: Block, names: Iterable[str]) -> Reason:
    below = ", ".join(sorted(block.built_on & set(names))) or block.disk
    fix = f"give it up first (`lsblk /dev/{block.name}` shows what it is)"
    return Reason(f"{block.name} is built on {below} and uses it", fix)


def _kind(drive: Drive) -> list[Reason]:
    reasons = []
    if drive.bus not in REMOVABLE:
        claim = ", whatever it says of itself" if drive.removable else ""
        reasons.append(Reason(f"it is no removable medium{claim}: its bus is {drive.bus.value}"))
    if drive.size_bytes == 0:
        reasons.append(Reason("there is no medium in it", "put one in"))
    if drive.read_only:
        reasons.append(Reason("it is read-only", "look for a switch at its side"))
    if drive.size_bytes and drive.sector_bytes != SECTOR_BYTES:
        text = f"its sectors have {drive.sector_bytes} bytes, and the image's partition table counts in 512"
        reasons.append(Reason(f"{text}: firmware would not find it", "take another stick"))
    return reasons


def wanted_by_system(texts: Mapping[str, str]) -> dict[str, str]:
    """Devices that the system needs though it may not use them now: TAG=VALUE or a path, and for what.

    `texts`: `fstab`, `cmdline` (of the kernel) and `loader` (the partition the boot loader came from, as
    systemd-boot and others say it in LoaderDevicePartUUID: systemd.io/BOOT_LOADER_INTERFACE).
    """
    found: dict[str, str] = {}
    for line in texts.get("fstab", "").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 2 and (words[1] in SYSTEM_PLACES or words[2] == "swap"):
            found[words[0].replace('"', "")] = words[1] if words[1] in SYSTEM_PLACES else "swap"
    for word in texts.get("cmdline", "").split():
        key, _, value = word.partition("=")
        if key in ("root", "resume") and value:
            found.setdefault(value, f"{key}= of the kernel")
    if loader := texts.get("loader", "").strip("\0 \n"):
        found.setdefault(f"PARTUUID={loader}", "its boot loader")
    return found


def matches(block: Block, spec: str) -> bool:
    """Whether TAG=VALUE or a path of fstab(5) means this device."""
    tag, _, value = spec.partition("=")
    contents = block.contents
    said = {
        "UUID": contents.uuid,
        "LABEL": contents.label,
        "PARTUUID": contents.part_uuid,
        "PARTLABEL": contents.part_label,
    }.get(tag)
    if said is None:
        return spec == f"/dev/{block.name}"
    return bool(said) and said.lower() == value.lower()


def describe(drive: Drive, blocks: Mapping[str, Block]) -> list[str]:
    """What is on a drive and would be lost, a line for each part."""
    lines = [f"DistServer medium {drive.medium}"] if drive.medium else []
    parts = [one for one in tower(drive.name, blocks) if one.disk == drive.name]
    for block in sorted(parts, key=lambda one: _natural(one.name)):
        contents = block.contents
        what = [] if block.name == drive.name else [block.name]
        what += [f"partition table {contents.table}"] if contents.table and block.name == drive.name else []
        what += [contents.file_system] if contents.file_system else []
        what += (
            [f"'{contents.label or contents.part_label}'"] if contents.label or contents.part_label else []
        )
        what += [] if contents.readable else ["cannot be looked at"]
        what += [] if block.name == drive.name else [amount(block.size_bytes)]
        if what:
            lines.append(" ".join(what))
    return lines or ["nothing that is known"]


def amount(size_bytes: int) -> str:
    """Bytes as they stand on a stick's label: in powers of ten."""
    value = float(size_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit in ("bytes", "kB") else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit takes every value")


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdigit() else (0, word) for word in re.split(r"(\d+)", name)]


def _quoted(path: str) -> str:
    return f"'{path}'" if re.search(r"[^\w@%+=:,./-]", path) else path
