"""Decides what an installation writes to which disk, and says it as a plan text and to people."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from appliance.errors import Problem
from appliance.facts import parse_facts, render_facts
from appliance.farm_model import Release
from appliance.model import Disk, Facts, Firmware
from appliance.site_model import DiskLayout, Partition, Profile

__all__ = ["Plan", "Refused", "Slice", "describe", "parse_facts", "plan_install", "render", "render_facts"]

MIB = 1024 * 1024
# GPT keeps 34 sectors at the start and 33 at the end (UEFI 2.10, 5.3); alignment to 1 MiB covers both.
RESERVED = MIB
SMALLEST_REST = 16 * MIB
ESP = "U"
LINUX = "L"
SWAP = "S"
BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
ESP_MOUNT = "/boot/efi"
LABEL_LENGTH = {"ext4": 16, "vfat": 11, "swap": 15}
PACKAGES = ("@system", "@world")
HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
PARTITION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,35}")
MOUNT = re.compile(r"/|(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")


class Refused(Problem):
    """The machine cannot be installed with this profile; nothing was written."""


@dataclass(frozen=True)
class Slice:
    """One partition at its place on the disk."""

    partition: Partition
    device: str
    start_bytes: int
    size_bytes: int
    type_code: str
    """sfdisk's word for the partition type: a letter or a GUID."""

    @property
    def end_bytes(self) -> int:
        return self.start_bytes + self.size_bytes

    @property
    def label(self) -> str:
        """The file system's label, cut to what the file system can hold."""
        name = self.partition.name[: LABEL_LENGTH[self.partition.filesystem]]
        return name.upper() if self.partition.filesystem == "vfat" else name


@dataclass(frozen=True)
class Plan:
    """All that an installation will do on one machine."""

    hostname: str
    mac: str
    firmware: Firmware
    profile: str
    release: str
    disk: Disk
    slices: tuple[Slice, ...]
    repositories: tuple[str, ...]
    """Of the release, the main one first."""
    packages: tuple[str, ...]
    kernel_arguments: str

    @property
    def mounted(self) -> list[Slice]:
        """Slices with a mount point, those above first."""
        found = [piece for piece in self.slices if piece.partition.mount]
        return sorted(found, key=lambda piece: _depth(piece.partition.mount))


def plan_install(machine_facts: Facts, profile: Profile, release: Release, *, hostname: str) -> Plan:
    """Decide; raises Refused with a sentence when it is not plain what to write where."""
    if not HOSTNAME.fullmatch(hostname) or len(hostname) > 253:
        raise Refused(f"host name {hostname!r} is not valid", hint="use letters, digits, hyphens (RFC 1123)")
    if any(ord(letter) < 32 for letter in profile.kernel_arguments):
        raise Refused(f"kernel arguments of profile {profile.name} hold a control character")
    if ":" not in release.snapshot:
        # Its installer knows other plans.
        raise Refused(f"release {release.id} is of an older DistServer", hint="build the profile again")
    firmware = machine_facts.firmware
    chosen = [part for part in profile.disk.partitions if part.firmware in (None, firmware)]
    _check_layout(chosen, firmware, profile.name)
    disk = _choose_disk(machine_facts.disks, profile.disk, profile.name)
    return Plan(
        hostname=hostname,
        mac=machine_facts.mac,
        firmware=firmware,
        profile=profile.name,
        release=release.id,
        disk=disk,
        slices=_lay_out(chosen, disk, profile.name),
        repositories=release.repositories,
        packages=PACKAGES,
        kernel_arguments=profile.kernel_arguments.strip(),
    )


def render(plan: Plan, *, report: str, base: str, pool: str) -> str:
    """The plan text a machine's installer carries out line by line; `report` is its secret for events."""
    lines = ["plan 1", f"report {report}", f"release {plan.release}", f"base {base}", f"pool {pool}"]
    lines += [f"hostname {plan.hostname}", f"disk {plan.disk.path}", "sfdisk label: gpt"]
    for piece in plan.slices:
        place = f"start={piece.start_bytes // MIB}MiB, size={piece.size_bytes // MIB}MiB"
        lines.append(f'sfdisk {place}, type={piece.type_code}, name="{piece.partition.name}"')
    for piece in plan.slices:
        if piece.partition.filesystem:
            lines.append(f"mkfs {piece.device} {piece.partition.filesystem} {piece.label}")
    lines += [f"mount {piece.device} {piece.partition.mount}" for piece in plan.mounted]
    lines += ["unpack stage", "unpack portage.tar"]
    lines += [f"tree tree-{name}.sqfs {name}" for name in plan.repositories]
    lines += [f"packages {' '.join(plan.packages)}", "unpack client.tar"]
    lines += [f"kernel {plan.kernel_arguments}".rstrip(), f"loader {plan.firmware.value} {plan.disk.path}"]
    return "\n".join([*lines, "finish"]) + "\n"


def describe(plan: Plan) -> list[str]:
    """The plan for a person: what is there, what will be there, what is installed on it."""
    lines = [
        f"{plan.hostname} ({plan.mac}, {plan.firmware.value})",
        f"profile {plan.profile}, release {plan.release}",
        f"before: {_disk_text(plan.disk)}: everything on it is lost",
        f"after: {plan.disk.path} has a GPT with {_count(len(plan.slices), 'partition')}",
    ]
    for piece in plan.slices:
        use = piece.partition.filesystem or "no file system (boot loader)"
        where = f" on {piece.partition.mount}" if piece.partition.mount else ""
        lines.append(f"  {piece.device} {size_text(piece.size_bytes)} {piece.partition.name}: {use}{where}")
    lines.append(f"installed: stage, {' '.join(plan.packages)} as binary packages, kernel, boot loader")
    if plan.kernel_arguments:
        lines.append(f"kernel arguments: {plan.kernel_arguments}")
    return lines


def size_text(size_bytes: int) -> str:
    """`8.0 GiB`"""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def partition_device(disk: str, number: int) -> str:
    """The kernel puts a p between a name that ends in a digit and the partition's number."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _depth(mount: str) -> tuple[int, str]:
    return (0 if mount == "/" else mount.count("/"), mount)


def _disk_text(disk: Disk) -> str:
    about = " ".join(word for word in (disk.transport, disk.model, disk.serial) if word)
    return f"{disk.path} {size_text(disk.size_bytes)}" + (f" {about}" if about else "")


def _mismatch(disk: Disk, layout: DiskLayout) -> str:
    """Why a disk is no candidate; empty when it is one."""
    if disk.removable:
        return "is removable"
    for name in ("transport", "model", "serial"):
        pattern, value = getattr(layout, name), getattr(disk, name)
        if pattern and not fnmatchcase(value.lower(), pattern.lower()):
            return f"has {name} {value or 'unknown'}, wanted {pattern}"
    if disk.size_bytes < layout.min_size_bytes:
        return f"is smaller than {size_text(layout.min_size_bytes)}"
    return ""


def _choose_disk(disks: Sequence[Disk], layout: DiskLayout, profile: str) -> Disk:
    if not disks:
        raise Refused(
            f"the machine reported no disk, profile {profile} needs one",
            hint="look at its cabling and controller mode; the installer's kernel may lack its driver",
        )
    reasons = [(disk, _mismatch(disk, layout)) for disk in disks]
    matching = [disk for disk, reason in reasons if not reason]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(f"{disk.path} {size_text(disk.size_bytes)}" for disk in matching)
        raise Refused(
            f"{len(matching)} disks match profile {profile} ({names}), expected exactly 1",
            hint="set [disk] serial, model or transport so that it names one of them",
        )
    why = "; ".join(f"{disk.path} {size_text(disk.size_bytes)} {reason}" for disk, reason in reasons)
    raise Refused(
        f"no disk matches profile {profile} ({why}), expected exactly 1",
        hint="change [disk] serial, model, transport or min_size, or put another disk into the machine",
    )


def _check_layout(chosen: Sequence[Partition], firmware: Firmware, profile: str) -> None:
    """Refuse what the installer could not carry out or what could not boot."""
    mounts = [part.mount for part in chosen if part.mount]
    for part in chosen:
        if not PARTITION_NAME.fullmatch(part.name):
            raise Refused(f"partition name {part.name!r} of profile {profile} is not valid")
        if part.filesystem and part.filesystem not in LABEL_LENGTH:
            known = ", ".join(sorted(LABEL_LENGTH))
            raise Refused(f"partition {part.name} wants {part.filesystem}, the installer makes {known}")
        if part.mount and (part.filesystem not in ("ext4", "vfat") or not MOUNT.fullmatch(part.mount)):
            raise Refused(f"partition {part.name} of profile {profile} cannot be mounted at {part.mount!r}")
        if part.size_bytes is not None and part.size_bytes <= 0:
            raise Refused(f"partition {part.name} of profile {profile} has no size")
    for what, values in (("mount points", mounts), ("partition names", [part.name for part in chosen])):
        if len(values) != len(set(values)):
            raise Refused(f"profile {profile} has {what} twice: {', '.join(sorted(values))}")
    if "/" not in mounts:
        raise Refused(f"profile {profile} has no partition mounted at /", hint="add one to [disk]")
    if sum(part.size_bytes is None for part in chosen) > 1:
        raise Refused(f"profile {profile} has more than one partition that takes the rest of the disk")
    codes = {_type_code(part) for part in chosen}
    if firmware is Firmware.UEFI and ESP not in codes:
        raise Refused(
            f"profile {profile} has no EFI system partition and the machine's firmware is UEFI",
            hint=f"add a vfat partition mounted at {ESP_MOUNT} with firmware = uefi",
        )
    if firmware is Firmware.BIOS and BIOS_BOOT not in codes:
        raise Refused(
            f"profile {profile} has no BIOS boot partition and the machine's firmware is BIOS",
            hint="add a 1 MiB partition without a file system and with firmware = bios",
        )


def _type_code(part: Partition) -> str:
    if part.filesystem == "vfat" and part.mount == ESP_MOUNT:
        return ESP
    if part.filesystem == "swap":
        return SWAP
    if not part.filesystem and part.firmware is Firmware.BIOS:
        return BIOS_BOOT
    return LINUX


def _lay_out(chosen: Sequence[Partition], disk: Disk, profile: str) -> tuple[Slice, ...]:
    """Give every partition its place, in whole MiB; one without a size takes what the others leave."""
    room = disk.size_bytes // MIB * MIB - 2 * RESERVED
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
    return tuple(slices)
