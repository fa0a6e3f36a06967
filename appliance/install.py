"""Decides what an installation writes to which disk, and says it as a plan text and to people."""

import hashlib
import re
from dataclasses import dataclass

from appliance.disk_choice import Refused, choose_disk, size_text
from appliance.disk_model import MIB, Table
from appliance.disk_plan import (
    Formatted,
    Keep,
    Made,
    Mounted,
    PlannedDisk,
    Slice,
    formatted,
    lay_out_disks,
    loader_disks,
    make_all,
    mounted,
    partition_device,
    slice_use,
    table_lines,
)
from appliance.facts import parse_facts, render_facts
from appliance.farm_model import Release
from appliance.model import NO_TABLE, Disk, Facts, Firmware
from appliance.profile_model import Profile

__all__ = [
    "MIB",
    "Plan",
    "Refused",
    "Slice",
    "choose_disk",
    "default_name",
    "describe",
    "fingerprint",
    "fingerprint_in",
    "parse_facts",
    "partition_device",
    "plan_install",
    "planned",
    "render",
    "render_facts",
    "size_text",
    "slice_use",
]

STORAGE = "storage"
"""A release's file with programs for arrays, groups, containers and further file systems."""
PACKAGES = ("@system", "@world")
HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
OF_THE_WAY = ("report", "base", "pool")
"""Lines of a plan that say where its files come from and whom to tell, not what is done."""
PLANNED = re.compile(r"release \S+ on (?:bios|uefi), plan ([0-9a-f]{64})")
TABLES = {Table.GPT: "a GPT", Table.MBR: "an MBR"}


@dataclass(frozen=True)
class Plan:
    """All that an installation will do on one machine."""

    hostname: str
    mac: str
    firmware: Firmware
    profile: str
    release: str
    disks: tuple[PlannedDisk, ...]
    repositories: tuple[str, ...]
    """Of the release, the main one first."""
    packages: tuple[str, ...]
    kernel_arguments: str
    made: tuple[Made, ...] = ()
    """Arrays, groups, volumes and containers, each after what it is made of."""
    programs: bool = False
    """Whether it takes programs that not every installer has: the release's `storage`."""

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Of all disks."""
        return tuple(piece for one in self.disks for piece in one.slices)

    @property
    def formatted(self) -> tuple[Formatted, ...]:
        return formatted(self.disks, self.made, self.profile)

    @property
    def mounted(self) -> list[Mounted]:
        """What is mounted, those above first."""
        return mounted(self.formatted)


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
    disks = lay_out_disks(machine_facts.disks, profile.disk, firmware, profile.name)
    made = make_all(profile.disk, disks, profile.name)
    formatted(disks, made, profile.name)
    return Plan(
        hostname=hostname,
        mac=machine_facts.mac,
        firmware=firmware,
        profile=profile.name,
        release=release.id,
        disks=disks,
        repositories=release.repositories,
        packages=PACKAGES,
        kernel_arguments=profile.kernel_arguments.strip(),
        made=made,
        programs=profile.disk.needs_programs,
    )


def render(plan: Plan, *, report: str, base: str, pool: str) -> str:
    """The plan text a machine's installer carries out line by line; `report` is its secret for events."""
    lines = ["plan 1", f"report {report}", f"release {plan.release}", f"base {base}", f"pool {pool}"]
    lines.append(f"hostname {plan.hostname}")
    if plan.programs:
        lines.append(f"programs {STORAGE}")
    for one in plan.disks:
        lines += table_lines(one, plan.firmware)
    lines += [made.line for made in plan.made]
    for each in plan.formatted:
        about = f"{each.device} {each.holder.filesystem} {each.label}"
        if each.keep is Keep.FOUND:
            lines.append(f"keep {about}")
        else:
            lines.append(f"mkfs {about}" + (" new" if each.keep is Keep.FIRST else ""))
        lines += [f"subvolume {each.device} {subvolume.name}" for subvolume in each.holder.subvolumes]
    lines += [f"mount {one.device} {one.place} {one.options}".rstrip() for one in plan.mounted]
    lines += ["unpack stage", "unpack portage.tar"]
    lines += [f"tree tree-{name}.sqfs {name}" for name in plan.repositories]
    starts = loader_disks(plan.disks, plan.firmware)
    lines += [f"packages {' '.join(plan.packages)}", "unpack client.tar"]
    lines += [f"kernel {plan.kernel_arguments}".rstrip(), f"loader {plan.firmware.value} {' '.join(starts)}"]
    return "\n".join([*lines, "finish"]) + "\n"


def fingerprint(plan_text: str) -> str:
    """64 hexadecimal digits: the same from the network and from a medium, for one machine and release."""
    lines = [line for line in plan_text.splitlines() if line.partition(" ")[0] not in OF_THE_WAY]
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def planned(release: str, firmware: str, mark: str) -> str:
    """What a machine's timeline says of a plan; `mark` is its fingerprint."""
    return f"release {release} on {firmware}, plan {mark}"


def fingerprint_in(message: str) -> str:
    """The fingerprint that planned() wrote; empty when a message has none."""
    found = PLANNED.fullmatch(message)
    return found[1] if found else ""


def default_name(mac: str) -> str:
    """A host name for a machine nobody named."""
    return "m" + mac.replace(":", "")[-6:]


def describe(plan: Plan) -> list[str]:
    """The plan for a person: what is there, what will be there, what is installed on it."""
    lines = [
        f"{plan.hostname} ({plan.mac}, {plan.firmware.value})",
        f"profile {plan.profile}, release {plan.release}",
    ]
    for one in plan.disks:
        lines += _before(one)
    for one in plan.disks:
        lines += _after(one)
    for made in plan.made:
        about = f"{made.text}, {made.holds}" if made.holds else made.text
        lines.append(f"  {made.device or made.what.name} {size_text(made.size_bytes)} {about}")
    lines.append(f"installed: stage, {' '.join(plan.packages)} as binary packages, kernel, boot loader")
    if plan.kernel_arguments:
        lines.append(f"kernel arguments: {plan.kernel_arguments}")
    return lines


def contents(disk: Disk) -> list[str]:
    """What is on a disk now, one line each, for a person."""
    if not disk.table:
        return ["the machine did not report what is on it"]
    if not disk.partitions:
        table = "" if disk.table == NO_TABLE else f", its {disk.table} table is empty"
        return [f"no partition and no file system was found on it{table}"]
    return [
        " ".join((one.path, size_text(one.size_bytes), one.filesystem or "no known file system", one.label))
        for one in disk.partitions
    ]


def _before(one: PlannedDisk) -> list[str]:
    kept = {piece.device for piece in one.slices if piece.keep is Keep.FOUND}
    fate = f"everything on it is lost but {', '.join(sorted(kept))}" if kept else "everything on it is lost"
    lines = [f"before: {_disk_text(one.disk)}: {fate}"]
    for path, line in zip((p.path for p in one.disk.partitions), contents(one.disk), strict=False):
        lines.append(f"  {line}: {'kept' if path in kept else 'lost'}")
    return lines


def _after(one: PlannedDisk) -> list[str]:
    role = f" ({one.role})" if one.role else ""
    table = "keeps its table" if one.unchanged else f"has {TABLES[one.table]}"
    lines = [f"after: {one.disk.path}{role} {table} with {_count(len(one.slices), 'partition')}"]
    for piece in one.slices:
        part = piece.partition
        use = slice_use(part)
        kept = ", kept as it is" if piece.keep is Keep.FOUND else ""
        lines.append(f"  {piece.device} {size_text(piece.size_bytes)} {part.name}: {use}{kept}")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _disk_text(disk: Disk) -> str:
    about = " ".join(word for word in (disk.transport, disk.model, disk.serial) if word)
    return f"{disk.path} {size_text(disk.size_bytes)}" + (f" {about}" if about else "")
