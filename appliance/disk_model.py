"""What a profile says of disks: which are meant, their partitions, and what is made of these; frozen."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from appliance.model import Firmware

MIB = 1024 * 1024
FILESYSTEMS = ("ext4", "xfs", "btrfs", "vfat", "swap")
MOUNTABLE = ("ext4", "xfs", "btrfs", "vfat")
RAID_LEVELS = {0: 2, 1: 2, 5: 3, 10: 4}
"""The levels of md that the installer makes, each with the fewest members it takes here."""
METADATA = ("1.2", "1.0", "0.90")


class Table(Enum):
    GPT = "gpt"
    MBR = "mbr"


@dataclass(frozen=True)
class Subvolume:
    """A subvolume of a btrfs."""

    name: str
    mount: str
    options: str = ""
    """Of mount(8), with commas between them."""


class Holder(Protocol):
    """Something with a device that has a file system, swap, or is a part of something else."""

    @property
    def name(self) -> str: ...
    @property
    def filesystem(self) -> str: ...
    @property
    def mount(self) -> str: ...
    @property
    def options(self) -> str: ...
    @property
    def subvolumes(self) -> tuple[Subvolume, ...]: ...


@dataclass(frozen=True)
class Partition:
    name: str
    size_bytes: int | None
    """None: the rest of the disk."""
    filesystem: str = ""
    """One of FILESYSTEMS, or empty for none."""
    mount: str = ""
    firmware: Firmware | None = None
    """Only made on machines with this firmware."""
    options: str = ""
    subvolumes: tuple[Subvolume, ...] = ()
    keep: bool = False
    """Its file system stays when the machine is installed anew."""


@dataclass(frozen=True)
class Raid:
    """An array of md."""

    name: str
    level: int
    members: tuple[str, ...]
    """Names of partitions."""
    metadata: str = "1.2"
    filesystem: str = ""
    mount: str = ""
    options: str = ""
    subvolumes: tuple[Subvolume, ...] = ()


@dataclass(frozen=True)
class Luks:
    """An encrypted container."""

    name: str
    on: str
    """The name of what it is on: a partition, an array, a logical volume."""
    filesystem: str = ""
    mount: str = ""
    options: str = ""
    subvolumes: tuple[Subvolume, ...] = ()


@dataclass(frozen=True)
class Volume:
    """A logical volume."""

    name: str
    size_bytes: int | None
    """None: the rest of the group."""
    filesystem: str = ""
    mount: str = ""
    options: str = ""
    subvolumes: tuple[Subvolume, ...] = ()


@dataclass(frozen=True)
class Group:
    """A volume group of LVM."""

    name: str
    members: tuple[str, ...]
    volumes: tuple[Volume, ...]


@dataclass(frozen=True)
class DiskRole:
    """One disk of a machine: which it is, and what its partitions are."""

    partitions: tuple[Partition, ...]
    min_size_bytes: int = 0
    """A disk smaller than this does not match."""
    transport: str = ""
    model: str = ""
    serial: str = ""
    """Glob patterns a disk must match; empty matches any."""
    max_size_bytes: int | None = None
    path: str = ""
    """Glob for where it is plugged in, as /dev/disk/by-path says it, such as pci-0000:00:1f.2-ata-1."""
    rotational: bool | None = None
    table: Table = Table.GPT
    role: str = ""
    """What people call it; empty in the simple form, which has one disk."""


@dataclass(frozen=True)
class DiskLayout(DiskRole):
    """All disks of a profile: the first one, the others, and what is made of their partitions."""

    others: tuple[DiskRole, ...] = ()
    raids: tuple[Raid, ...] = ()
    groups: tuple[Group, ...] = ()
    containers: tuple[Luks, ...] = ()

    @property
    def disks(self) -> tuple[DiskRole, ...]:
        return (self, *self.others)

    @property
    def holders(self) -> Iterator[Holder]:
        for disk in self.disks:
            yield from disk.partitions
        yield from self.raids
        yield from self.containers
        for group in self.groups:
            yield from group.volumes

    @property
    def needs_programs(self) -> bool:
        """Whether installing it takes more than the programs of every installer."""
        return self.is_assembled or any(one.filesystem in ("xfs", "btrfs") for one in self.holders)

    @property
    def is_assembled(self) -> bool:
        """Whether a part of it is there only after a program put it together."""
        return bool(self.raids or self.groups or self.containers)
