"""What of a profile's disks could not be made, or could not boot: said before anything is written. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from appliance.disk_choice import Refused
from appliance.disk_model import (
    FILESYSTEMS,
    METADATA,
    MOUNTABLE,
    RAID_LEVELS,
    DiskLayout,
    DiskRole,
    Holder,
    Partition,
    Subvolume,
    Table,
)
from appliance.model import PC_FIRMWARE, Firmware

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}")
MADE_NAME = re.compile(r"[a-z][a-z0-9_]{0,14}")
"""Of groups, volumes, arrays and containers: a hyphen would be doubled in /dev/mapper."""
MOUNT = re.compile(r"/|(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
OPTIONS = re.compile(r"[A-Za-z0-9_:.=+@-]+(?:,[A-Za-z0-9_:.=+@-]+)*")
SUBVOLUME = re.compile(r"[A-Za-z0-9@_][A-Za-z0-9@_.-]{0,30}")
ESP = re.compile(r"/boot/efi\d?")
"""Of several disks each has one: /boot/efi, /boot/efi2 ..."""
MOST_ON_MBR = 4


def is_esp(part: Partition) -> bool:
    return part.filesystem == "vfat" and bool(ESP.fullmatch(part.mount))


def is_bios_boot(part: Partition) -> bool:
    return not part.filesystem and part.firmware is Firmware.BIOS


def parts_of(role: DiskRole, firmware: Firmware) -> list[Partition]:
    """The partitions that a machine with this firmware gets."""
    return [part for part in role.partitions if part.firmware in (None, firmware)]


def mounts_of(holder: Holder) -> Iterator[tuple[str, str, Subvolume | None]]:
    """Where what is in it is mounted, with which options; a subvolume by itself."""
    if holder.mount:
        yield holder.mount, holder.options, None
    for one in holder.subvolumes:
        options = ",".join(word for word in (f"subvol={one.name}", holder.options, one.options) if word)
        yield one.mount, options, one


def check_layout(layout: DiskLayout, firmware: Firmware, profile: str) -> None:
    """Raises Refused for what the installer could not carry out or what could not boot."""
    chosen = [parts_of(role, firmware) for role in layout.disks]
    there = [part for parts in chosen for part in parts]
    made: list[Holder] = [*layout.raids, *layout.containers]
    made += [volume for group in layout.groups for volume in group.volumes]
    for part in there:
        if not NAME.fullmatch(part.name):
            raise Refused(f"partition name {part.name!r} of profile {profile} is not valid")
        if part.size_bytes is not None and part.size_bytes <= 0:
            raise Refused(f"partition {part.name} of profile {profile} has no size")
    for name in [one.name for one in made] + [group.name for group in layout.groups]:
        if not MADE_NAME.fullmatch(name):
            raise Refused(f"name {name!r} of profile {profile} is not valid", hint="a-z, 0-9, _, up to 15")
    holders = [*there, *made]
    for holder in holders:
        _check_holder(holder, profile)
    mounts = [mount for holder in holders for mount, _, _ in mounts_of(holder)]
    names = [part.name for part in there] + [group.name for group in layout.groups]
    names += [raid.name for raid in layout.raids] + [luks.name for luks in layout.containers]
    for what, values in (("mount points", mounts), ("partition names", names)):
        if len(values) != len(set(values)):
            raise Refused(f"profile {profile} has {what} twice: {', '.join(sorted(values))}")
    if "/" not in mounts:
        raise Refused(f"profile {profile} has no partition mounted at /", hint="add one to [disk]")
    for role, parts in zip(layout.disks, chosen, strict=True):
        _check_table(role, parts, profile)
    _check_made(layout, holders, profile)
    _check_boot(layout, chosen, mounts, firmware, profile)


def _check_holder(holder: Holder, profile: str) -> None:
    name = holder.name
    if holder.filesystem and holder.filesystem not in FILESYSTEMS:
        known = ", ".join(FILESYSTEMS)
        raise Refused(f"partition {name} wants {holder.filesystem}, the installer makes {known}")
    if holder.subvolumes and (holder.filesystem != "btrfs" or holder.mount):
        raise Refused(
            f"{name} of profile {profile} has subvolumes, expected btrfs without a mount of its own"
        )
    if len({one.name for one in holder.subvolumes}) < len(holder.subvolumes):
        raise Refused(f"{name} of profile {profile} has a subvolume twice")
    for mount, options, subvolume in mounts_of(holder):
        fits = holder.filesystem in MOUNTABLE and MOUNT.fullmatch(mount)
        if not fits or (options and not OPTIONS.fullmatch(options)):
            raise Refused(f"partition {name} of profile {profile} cannot be mounted at {mount!r}")
        if subvolume and not SUBVOLUME.fullmatch(subvolume.name):
            raise Refused(f"subvolume name {subvolume.name!r} of profile {profile} is not valid")


def _check_table(role: DiskRole, parts: Sequence[Partition], profile: str) -> None:
    if sum(part.size_bytes is None for part in parts) > 1:
        raise Refused(f"profile {profile} has more than one partition that takes the rest of the disk")
    if role.table is Table.MBR and len(parts) > MOST_ON_MBR:
        raise Refused(
            f"profile {profile} has {len(parts)} partitions in an MBR, expected at most {MOST_ON_MBR}",
            hint='use table = "gpt", or a volume group in one partition',
        )
    for part in parts:
        if part.keep and (part.filesystem not in MOUNTABLE or part.subvolumes or part.mount in ("", "/")):
            raise Refused(
                f"partition {part.name} of profile {profile} is kept, expected a file system of its own "
                f"that is mounted, and not at /"
            )


def _check_made(layout: DiskLayout, holders: Sequence[Holder], profile: str) -> None:
    """Members are there, each is a part of one thing, and none is a part of itself."""
    by_name = {one.name: one for one in holders}
    partitions = {part.name for role in layout.disks for part in role.partitions}
    uses: list[tuple[str, str]] = [(raid.name, one) for raid in layout.raids for one in raid.members]
    uses += [(group.name, one) for group in layout.groups for one in group.members]
    uses += [(luks.name, luks.on) for luks in layout.containers]
    for user, one in uses:
        if one not in by_name:
            raise Refused(f"{user} of profile {profile} is made of {one}, which is not there")
        held = by_name[one]
        if held.filesystem or held.mount or held.subvolumes:
            raise Refused(f"{one} of profile {profile} has a file system and is a part of {user}")
    twice = sorted(name for name, count in Counter(one for _, one in uses).items() if count > 1)
    if twice:
        raise Refused(f"{twice[0]} of profile {profile} is a part of several things")
    for raid in layout.raids:
        least = RAID_LEVELS.get(raid.level)
        if least is None or raid.metadata not in METADATA:
            raise Refused(f"array {raid.name} of profile {profile}: level {raid.level}, {raid.metadata}")
        if len(raid.members) < least:
            raise Refused(f"array {raid.name} of profile {profile} needs {least} members or more")
        if not set(raid.members) <= partitions:
            raise Refused(f"array {raid.name} of profile {profile} is not made of partitions")
    for group in layout.groups:
        if not group.members or len({one.name for one in group.volumes}) < len(group.volumes):
            raise Refused(f"group {group.name} of profile {profile} has no member, or a volume twice")
        if sum(one.size_bytes is None for one in group.volumes) > 1:
            raise Refused(f"group {group.name} of profile {profile} gives the rest to several volumes")


def _check_boot(
    layout: DiskLayout,
    chosen: Sequence[Sequence[Partition]],
    mounts: Sequence[str],
    firmware: Firmware,
    profile: str,
) -> None:
    if firmware not in PC_FIRMWARE:
        raise Refused(f"the installer has no boot loader for the firmware {firmware.value}")
    there = [part for parts in chosen for part in parts]
    if firmware is Firmware.UEFI and not any(is_esp(part) for part in there):
        raise Refused(
            f"profile {profile} has no EFI system partition and the machine's firmware is UEFI",
            hint="add a vfat partition mounted at /boot/efi with firmware = uefi",
        )
    if firmware is Firmware.BIOS and not any(
        role.table is Table.MBR or any(map(is_bios_boot, parts))
        for role, parts in zip(layout.disks, chosen, strict=True)
    ):
        raise Refused(
            f"profile {profile} has no BIOS boot partition and the machine's firmware is BIOS",
            hint="add a 1 MiB partition without a file system and with firmware = bios",
        )
    holds_boot = "/boot" if "/boot" in mounts else "/"
    if any(holds_boot in (mount for mount, _, _ in mounts_of(one)) for one in _hidden(layout)):
        raise Refused(
            f"profile {profile} has its kernel inside LUKS, which no boot loader opens by itself",
            hint="add a partition mounted at /boot that is not in the container",
        )


def _hidden(layout: DiskLayout) -> list[Holder]:
    """What is inside of containers, or of groups that are."""
    names = {one.name for one in layout.containers}
    groups = [group for group in layout.groups if names & set(group.members)]
    return [*layout.containers, *(volume for group in groups for volume in group.volumes)]
