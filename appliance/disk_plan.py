"""Where on which disk everything of a profile comes to lie, what is made of it, and what is kept. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from appliance.disk_check import (
    check_layout,
    is_bios_boot,
    is_esp,
    mounts_of,
    parts_of,
)
from appliance.disk_choice import Refused, choose_disks, size_text
from appliance.disk_model import (
    MIB,
    DiskLayout,
    DiskRole,
    Group,
    Holder,
    Luks,
    Partition,
    Raid,
    Table,
    Volume,
)
from appliance.model import NO_TABLE, Disk, Firmware

# GPT keeps 34 sectors at the start and 33 at the end (UEFI 2.10, 5.3); alignment to 1 MiB covers both.
# Before the first partition of an MBR GRUB has its second part.
RESERVED = MIB
SMALLEST_REST = 16 * MIB
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
MOST_OF_MBR = 2**32 * 512
"""Its entries count sectors with 32 bits."""
LABEL_LENGTH = {"ext4": 16, "xfs": 12, "btrfs": 36, "vfat": 11, "swap": 15}
LEAST = {"xfs": 300 * MIB, "btrfs": 128 * MIB}
"""What mkfs.xfs 6 and mkfs.btrfs refuse below."""
EXTENT = 4 * MIB
# More than any of these takes for itself: md with 1 MiB before the data and the superblock behind it, LVM
# with the alignment it takes from an array, LUKS2 with its two headers and the area of the keys.
OF_RAID, OF_GROUP, OF_LUKS = 2 * MIB, 8 * MIB, 16 * MIB


class Keep(Enum):
    """What becomes of a partition's file system that a profile wants kept."""

    NO = "no"
    FOUND = "found"
    """It is there, and stays."""
    FIRST = "first"
    """It is not there yet."""


@dataclass(frozen=True)
class Slice:
    """One partition at its place on the disk."""

    partition: Partition
    device: str
    start_bytes: int
    size_bytes: int
    type_code: str
    """sfdisk's word for the partition type: a letter or a GUID."""
    keep: Keep = Keep.NO

    @property
    def end_bytes(self) -> int:
        return self.start_bytes + self.size_bytes

    @property
    def label(self) -> str:
        return label_of(self.partition)


@dataclass(frozen=True)
class PlannedDisk:
    """A disk and what its table will be."""

    disk: Disk
    slices: tuple[Slice, ...]
    table: Table = Table.GPT
    role: str = ""

    @property
    def unchanged(self) -> bool:
        """Its table is left as it is, since something in it is kept."""
        return any(piece.keep is Keep.FOUND for piece in self.slices)


@dataclass(frozen=True)
class Made:
    """An array, a group (without a device of its own), a volume of one, or a container."""

    what: Raid | Group | Volume | Luks
    device: str
    size_bytes: int
    of: tuple[str, ...]
    """Devices; of a volume the name of its group."""

    @property
    def line(self) -> str:
        """How a plan says that it is to be made."""
        match self.what:
            case Raid(level=level, metadata=metadata, name=name):
                return f"raid {self.device} {level} {metadata} {name} {' '.join(self.of)}"
            case Group(name=name):
                return f"vg {name} {' '.join(self.of)}"
            case Volume(name=name):
                return f"lv {self.of[0]} {name} {self.size_bytes // MIB}"
            case Luks(name=name):
                return f"luks {self.of[0]} {name}"

    @property
    def holds(self) -> str:
        return "" if isinstance(self.what, Group) else holds(self.what)

    @property
    def text(self) -> str:
        """For a person."""
        match self.what:
            case Raid(level=level, metadata=metadata):
                return f"RAID {level} (metadata {metadata}) of {', '.join(self.of)}"
            case Group():
                return f"volume group of {', '.join(self.of)}"
            case Volume():
                return f"logical volume of {self.of[0]}"
            case Luks():
                return f"LUKS on {self.of[0]}"


@dataclass(frozen=True)
class Formatted:
    """A device with a file system or swap."""

    device: str
    holder: Holder
    size_bytes: int
    keep: Keep = Keep.NO

    @property
    def label(self) -> str:
        return label_of(self.holder)


@dataclass(frozen=True)
class Mounted:
    device: str
    place: str
    options: str


def label_of(holder: Holder) -> str:
    """The file system's label, cut to what the file system can hold."""
    name = holder.name[: LABEL_LENGTH[holder.filesystem]]
    return name.upper() if holder.filesystem == "vfat" else name


def holds(holder: Holder) -> str:
    """`ext4 on /home`; empty for what is only a part of something else."""
    if not holder.filesystem:
        return ""
    places = [
        f"{place} ({subvolume.name})" if subvolume else place for place, _, subvolume in mounts_of(holder)
    ]
    return holder.filesystem + (f" on {', '.join(places)}" if places else "")


def slice_use(part: Partition) -> str:
    """`ext4 on /`"""
    if is_bios_boot(part):
        return "no file system (boot loader)"
    return holds(part) or "a part of what follows"


def partition_device(disk: str, number: int) -> str:
    """The kernel puts a p between a name that ends in a digit and the partition's number."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def lay_out_disks(
    found: Sequence[Disk], layout: DiskLayout, firmware: Firmware, profile: str
) -> tuple[PlannedDisk, ...]:
    """Choose and lay out the disks; raises Refused with a sentence when it is not plain what to do."""
    check_layout(layout, firmware, profile)
    chosen = choose_disks(found, layout, profile)
    return tuple(
        _lay_out(parts_of(role, firmware), role, disk, profile)
        for role, disk in zip(layout.disks, chosen, strict=True)
    )


def _type_code(part: Partition) -> str:
    if is_esp(part):
        return "U"
    if part.filesystem == "swap":
        return "S"
    if is_bios_boot(part):
        return BIOS_BOOT
    return "L"


def _lay_out(chosen: Sequence[Partition], role: DiskRole, disk: Disk, profile: str) -> PlannedDisk:
    """Give every partition its place, in whole MiB; one without a size takes what the others leave."""
    room = disk.size_bytes // MIB * MIB - 2 * RESERVED
    if role.table is Table.MBR:
        # Its boot partition is the space before the first one.
        chosen = [part for part in chosen if not is_bios_boot(part)]
        room = min(room, MOST_OF_MBR - 2 * RESERVED)
    sizes = [None if part.size_bytes is None else -(-part.size_bytes // MIB) * MIB for part in chosen]
    fixed = sum(size for size in sizes if size is not None)
    rest = room - fixed
    if rest < (SMALLEST_REST if None in sizes else 0):
        wanted = fixed + 2 * RESERVED + (SMALLEST_REST if None in sizes else 0)
        raise Refused(
            f"{disk.path} holds {size_text(disk.size_bytes)}, "
            f"the partitions of profile {profile} need {size_text(wanted)}",
            hint="make partitions in [disk] smaller, or use a larger disk",
        )
    slices: list[Slice] = []
    start = RESERVED
    for number, (part, size) in enumerate(zip(chosen, sizes, strict=True), 1):
        length = rest if size is None else size
        slices.append(Slice(part, partition_device(disk.path, number), start, length, _type_code(part)))
        start += length
    return PlannedDisk(disk, _with_kept(slices, disk, role.table, profile), role.table, role.role)


def _with_kept(slices: Sequence[Slice], disk: Disk, table: Table, profile: str) -> tuple[Slice, ...]:
    """What is to be kept and is there; raises Refused when something like it is there that does not fit."""
    wanted = [piece for piece in slices if piece.partition.keep]
    if not wanted:
        return tuple(slices)
    names = ", ".join(piece.partition.name for piece in wanted)
    if not disk.table:
        raise Refused(
            f"profile {profile} keeps {names}, and nobody knows what is on {disk.path}",
            hint="let its installer start once, so that it says what is there",
        )
    there = [one for one in disk.partitions for piece in wanted if one.label == piece.label]
    if not there:
        return tuple(_marked(piece, Keep.FIRST) for piece in slices)
    found = {(one.path, one.start_bytes, one.size_bytes) for one in disk.partitions}
    planned = {(piece.device, piece.start_bytes, piece.size_bytes) for piece in slices}
    same_table = disk.table == {Table.GPT: "gpt", Table.MBR: "dos"}[table]
    if disk.table == NO_TABLE or not same_table or found != planned:
        raise Refused(
            f"{there[0].path} is the {there[0].label} that profile {profile} keeps, and the partitions of "
            f"{disk.path} are not where the profile puts them: nothing is written",
            hint="give the profile the sizes that are there, or take keep away after a backup",
        )
    on_it = {one.path: one for one in disk.partitions}
    for piece in wanted:
        now = on_it[piece.device]
        if (now.filesystem, now.label) != (piece.partition.filesystem, piece.label):
            raise Refused(
                f"{piece.device} holds {now.filesystem or 'nothing that is known'} {now.label}, and profile "
                f"{profile} keeps {piece.partition.filesystem} {piece.label} there: nothing is written",
                hint="name it as it is there, or take keep away after a backup",
            )
    return tuple(_marked(piece, Keep.FOUND) for piece in slices)


def _marked(piece: Slice, keep: Keep) -> Slice:
    if not piece.partition.keep:
        return piece
    return Slice(piece.partition, piece.device, piece.start_bytes, piece.size_bytes, piece.type_code, keep)


def make_all(layout: DiskLayout, disks: Sequence[PlannedDisk], profile: str) -> tuple[Made, ...]:
    """What is made of partitions, each after what it is made of; raises Refused when it does not fit."""
    known = {piece.partition.name: (piece.device, piece.size_bytes) for one in disks for piece in one.slices}
    waiting: list[tuple[Raid | Group | Luks, tuple[str, ...]]] = [
        (raid, raid.members) for raid in layout.raids
    ]
    waiting += [(group, group.members) for group in layout.groups]
    waiting += [(luks, (luks.on,)) for luks in layout.containers]
    made: list[Made] = []
    arrays = 0
    while waiting:
        ready = next((one for one in waiting if all(name in known for name in one[1])), None)
        if ready is None:
            raise Refused(f"{waiting[0][0].name} of profile {profile} is made of itself, or of nothing here")
        waiting.remove(ready)
        what, members = ready
        devices = tuple(known[name][0] for name in members)
        sizes = [known[name][1] for name in members]
        match what:
            case Raid():
                new = [Made(what, f"/dev/md{arrays}", usable(what.level, sizes), devices)]
                arrays += 1
            case Group():
                new = [Made(what, "", sum(map(extents, sizes)) * EXTENT, devices)]
                new += _volumes(what, new[0].size_bytes, profile)
            case Luks():
                new = [Made(what, f"/dev/mapper/{what.name}", sizes[0] - OF_LUKS, devices)]
        made += new
        known |= {one.what.name: (one.device, one.size_bytes) for one in new if one.device}
    return tuple(made)


def usable(level: int, sizes: Sequence[int]) -> int:
    """How many bytes an array of members of these sizes surely has."""
    least = max(min(sizes) - OF_RAID, 0) // MIB * MIB
    count = {0: len(sizes), 1: 1, 5: len(sizes) - 1, 10: len(sizes) // 2}[level]
    return least * count


def extents(size_bytes: int) -> int:
    """How many of them a member of a group surely has."""
    return max(size_bytes - OF_GROUP, 0) // EXTENT


def _volumes(group: Group, room: int, profile: str) -> list[Made]:
    sizes = [
        None if one.size_bytes is None else -(-one.size_bytes // EXTENT) * EXTENT for one in group.volumes
    ]
    rest = room - sum(size for size in sizes if size is not None)
    if rest < (SMALLEST_REST if None in sizes else 0):
        raise Refused(
            f"group {group.name} of profile {profile} has room for {size_text(room)}, its volumes need more",
            hint="make volumes smaller, or use larger disks",
        )
    return [
        Made(one, f"/dev/mapper/{group.name}-{one.name}", rest if size is None else size, (group.name,))
        for one, size in zip(group.volumes, sizes, strict=True)
    ]


def formatted(disks: Sequence[PlannedDisk], made: Sequence[Made], profile: str) -> tuple[Formatted, ...]:
    """Everything with a file system or swap; raises Refused for one that is too small for its kind."""
    found = [
        Formatted(piece.device, piece.partition, piece.size_bytes, piece.keep)
        for one in disks
        for piece in one.slices
        if piece.partition.filesystem
    ]
    for one in made:
        if not isinstance(one.what, Group) and one.what.filesystem:
            found.append(Formatted(one.device, one.what, one.size_bytes))
    for each in found:
        least = LEAST.get(each.holder.filesystem, 0)
        if each.size_bytes < least:
            raise Refused(
                f"{each.holder.name} of profile {profile} has {size_text(each.size_bytes)}, "
                f"{each.holder.filesystem} needs {size_text(least)}"
            )
    return tuple(found)


def mounted(some: Sequence[Formatted]) -> list[Mounted]:
    """What is mounted, those above first."""
    found = [
        Mounted(one.device, place, options) for one in some for place, options, _ in mounts_of(one.holder)
    ]
    return sorted(found, key=lambda one: (0 if one.place == "/" else one.place.count("/"), one.place))


def loader_disks(disks: Sequence[PlannedDisk], firmware: Firmware) -> list[str]:
    """The disks that get a boot loader: each from which the machine may start."""
    fits: Mapping[Firmware, Callable[[PlannedDisk], bool]] = {
        Firmware.UEFI: lambda one: any(is_esp(piece.partition) for piece in one.slices),
        Firmware.BIOS: lambda one: (
            one.table is Table.MBR or any(is_bios_boot(piece.partition) for piece in one.slices)
        ),
    }
    return [one.disk.path for one in disks if fits[firmware](one)]


def table_lines(one: PlannedDisk, firmware: Firmware) -> Iterator[str]:
    """The lines of a plan for a disk's table."""
    yield f"disk {one.disk.path}"
    if one.unchanged:
        yield f"unchanged {one.disk.path}"
        return
    yield f"sfdisk label: {'dos' if one.table is Table.MBR else 'gpt'}"
    for number, piece in enumerate(one.slices):
        place = f"start={piece.start_bytes // MIB}MiB, size={piece.size_bytes // MIB}MiB"
        if one.table is Table.GPT:
            yield f'sfdisk {place}, type={piece.type_code}, name="{piece.partition.name}"'
        else:
            # Some BIOSes start no disk without an active partition; GRUB does not look which it is.
            active = ", bootable" if firmware is Firmware.BIOS and number == 0 else ""
            yield f"sfdisk {place}, type={piece.type_code}{active}"
