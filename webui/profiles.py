"""Profiles: who inherits from whom, and one of them with the file and line of each of its values."""

from collections.abc import Sequence

from flask import Blueprint, render_template

from appliance.disk_choice import size_text
from appliance.disk_model import DiskLayout, DiskRole, Partition, Volume
from appliance.disk_plan import holds, slice_use
from appliance.match_rules import conditions
from appliance.model import PC_FIRMWARE
from webui.access import Role, needs
from webui.context import services
from webui.disk_picture import Block, draw_layout

area = Blueprint("profiles", __name__)

Picture = tuple[str, tuple[tuple[Partition, Block], ...]]


@area.get("/profiles")
@needs(Role.VIEWER)
def profiles() -> str:
    desk = services()
    return render_template(
        "profiles.html", tree=desk.profile_desk.tree(), now=desk.clock(), wrong=desk.live.wrong()
    )


@area.get("/profile/<name>")
@needs(Role.VIEWER)
def profile(name: str) -> str:
    desk = services()
    seen = desk.profile_desk.look(name)
    return render_template(
        "profile.html",
        seen=seen,
        pictures=pictures(seen.profile.disk) if seen.profile else [],
        rules=[(rule, conditions(rule)) for rule in seen.profile.match] if seen.profile else [],
        made=made_of(seen.profile.disk) if seen.profile else [],
        use=slice_use,
        wrong=desk.live.wrong(),
    )


def pictures(layout: DiskLayout) -> Sequence[Picture]:
    """Of each disk one for all machines, or one for each firmware when they differ."""
    return [picture for role in layout.disks for picture in _pictures(role)]


def _pictures(role: DiskRole) -> Sequence[Picture]:
    drawn = {firmware.value: draw_layout(role, firmware) for firmware in PC_FIRMWARE}
    first = next(iter(drawn.values()))
    name = f"{role.role}, " if role.role else ""
    if all(one == first for one in drawn.values()):
        return [(f"{name}BIOS and UEFI", first)]
    return [(f"{name}{firmware.upper()}", one) for firmware, one in drawn.items()]


def made_of(layout: DiskLayout) -> Sequence[tuple[str, str, str, str]]:
    """Name, what it is, what it is made of and what it holds, of what is not a partition."""
    found = [
        (one.name, f"RAID {one.level}, metadata {one.metadata}", ", ".join(one.members), holds(one))
        for one in layout.raids
    ]
    for group in layout.groups:
        found.append((group.name, "volume group", ", ".join(group.members), ""))
        found += [
            (one.name, f"logical volume, {_size(one)}", group.name, holds(one)) for one in group.volumes
        ]
    return [*found, *((one.name, "LUKS container", one.on, holds(one)) for one in layout.containers)]


def _size(volume: Volume) -> str:
    return "the rest" if volume.size_bytes is None else size_text(volume.size_bytes)
