"""Which disk of a machine plays which role of a profile: exactly one each, or nothing is written. Pure."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from appliance.disk_model import DiskLayout, DiskRole
from appliance.errors import Problem
from appliance.model import Disk

PATTERNS = ("transport", "model", "serial", "path")


class Refused(Problem):
    """The machine cannot be installed with this profile; nothing was written."""


def size_text(size_bytes: int) -> str:
    """`8.0 GiB`"""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def choose_disk(disks: Sequence[Disk], layout: DiskRole, profile: str) -> Disk:
    """The one disk that plays a role; raises Refused when none does, or several."""
    role = f"role {layout.role} of profile {profile}" if layout.role else f"profile {profile}"
    table = "[[disks]]" if layout.role else "[disk]"
    if not disks:
        raise Refused(
            f"the machine reported no disk, {role} needs one",
            hint="look at its cabling and controller mode; the installer's kernel may lack its driver",
        )
    reasons = [(disk, mismatch(disk, layout)) for disk in disks]
    matching = [disk for disk, reason in reasons if not reason]
    if len(matching) == 1:
        return matching[0]
    if matching:
        names = ", ".join(f"{disk.path} {size_text(disk.size_bytes)}" for disk in matching)
        raise Refused(
            f"{len(matching)} disks match {role} ({names}), expected exactly 1",
            hint=f"set {table} serial, model or transport so that it names one of them",
        )
    why = "; ".join(f"{disk.path} {size_text(disk.size_bytes)} {reason}" for disk, reason in reasons)
    raise Refused(
        f"no disk matches {role} ({why}), expected exactly 1",
        hint=f"change {table} serial, model, transport or min_size, or put another disk into the machine",
    )


def choose_disks(disks: Sequence[Disk], layout: DiskLayout, profile: str) -> tuple[Disk, ...]:
    """One disk for each role, in the order of the profile; raises Refused when that is not plain.

    Each role is looked at by itself: that another one took a disk makes nothing plain.
    """
    chosen = [choose_disk(disks, role, profile) for role in layout.disks]
    for number, disk in enumerate(chosen):
        for earlier in range(number):
            if chosen[earlier].path == disk.path:
                first, second = layout.disks[earlier].role, layout.disks[number].role
                raise Refused(
                    f"{disk.path} {size_text(disk.size_bytes)} matches the roles {first} and {second} "
                    f"of profile {profile}, expected a disk for each",
                    hint="set [[disks]] serial, path or sizes so that each names a disk of its own",
                )
    return tuple(chosen)


def mismatch(disk: Disk, layout: DiskRole) -> str:
    """Why a disk is no candidate; empty when it is one."""
    if disk.removable:
        return "is removable"
    for name in PATTERNS:
        pattern, value = getattr(layout, name), getattr(disk, "place" if name == "path" else name)
        if pattern and not fnmatchcase(value.lower(), pattern.lower()):
            return f"has {name} {value or 'unknown'}, wanted {pattern}"
    if layout.rotational is not None and disk.rotational is not layout.rotational:
        return "does not rotate" if layout.rotational else "rotates, or does not say whether it does"
    if disk.size_bytes < layout.min_size_bytes:
        return f"is smaller than {size_text(layout.min_size_bytes)}"
    if layout.max_size_bytes is not None and disk.size_bytes > layout.max_size_bytes:
        return f"is larger than {size_text(layout.max_size_bytes)}"
    return ""
