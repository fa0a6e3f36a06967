"""Reads the disks of a profile: `[disk]`, or several `[[disks]]`, and what is made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.disk_model import (
    FILESYSTEMS,
    METADATA,
    RAID_LEVELS,
    DiskLayout,
    DiskRole,
    Group,
    Luks,
    Partition,
    Raid,
    Subvolume,
    Table,
    Volume,
)
from appliance.model import PC_FIRMWARE, Firmware
from appliance.schema import Keys, Kind, parse_size

SUBVOLUME = Keys(
    {"name": Kind.TEXT, "mount": Kind.TEXT, "options": Kind.TEXT},
    many=True,
    required=frozenset({"name", "mount"}),
)
HOLDER: Mapping[str, Kind | Keys] = {
    "filesystem": Kind.TEXT,
    "mount": Kind.TEXT,
    "options": Kind.TEXT,
    "subvolume": SUBVOLUME,
}
PARTITION = Keys(
    {"name": Kind.TEXT, "size": Kind.TEXT, "firmware": Kind.TEXT, "keep": Kind.BOOLEAN, **HOLDER},
    many=True,
    required=frozenset({"name", "size"}),
)
DISK: Mapping[str, Kind | Keys] = {
    "min_size": Kind.SIZE,
    "max_size": Kind.SIZE,
    "transport": Kind.TEXT,
    "model": Kind.TEXT,
    "serial": Kind.TEXT,
    "path": Kind.TEXT,
    "rotational": Kind.BOOLEAN,
    "table": Kind.TEXT,
    "partition": PARTITION,
}
KEYS: Mapping[str, Kind | Keys] = {
    "disk": Keys(DISK),
    "disks": Keys({"role": Kind.TEXT, **DISK}, many=True, required=frozenset({"role", "partition"})),
    "raid": Keys(
        {
            "name": Kind.TEXT,
            "level": Kind.INTEGER,
            "members": Kind.WORDS,
            "metadata": Kind.TEXT,
            **HOLDER,
        },
        many=True,
        required=frozenset({"name", "level", "members"}),
    ),
    "lvm": Keys(
        {
            "name": Kind.TEXT,
            "members": Kind.WORDS,
            "volume": Keys(
                {"name": Kind.TEXT, "size": Kind.TEXT, **HOLDER},
                many=True,
                required=frozenset({"name", "size"}),
            ),
        },
        many=True,
        required=frozenset({"name", "members", "volume"}),
    ),
    "luks": Keys(
        {"name": Kind.TEXT, "on": Kind.TEXT, **HOLDER},
        many=True,
        required=frozenset({"name", "on"}),
    ),
}
LAYOUT = ("disk", "disks", "raid", "lvm", "luks")
"""The tables that together are the layout: a child with disks of its own inherits none of them."""


def inherited_layout(inherited: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of the parents' tables: `disk` and `disks` are two ways to say one thing."""
    if "disks" in own or ("disk" in own and "disks" in inherited):
        return {key: value for key, value in inherited.items() if key not in LAYOUT}
    return inherited


def read_disks(file: Path, folded: Mapping[str, Any], complaints: list[str]) -> DiskLayout:
    """The layout that the folded tables say, for a document that has `disk.partition` or `disks`."""
    if "disks" in folded:
        tables = [(f"disks[{n}]", table) for n, table in enumerate(folded["disks"], 1)]
    else:
        tables = [("disk", folded["disk"])]
    read = [_role(f"{file}: {name}", table, complaints) for name, table in tables]
    first = read[0]
    raids, groups, containers = (folded.get(key, ()) for key in ("raid", "lvm", "luks"))
    layout = DiskLayout(
        **first,
        others=tuple(DiskRole(**one) for one in read[1:]),
        raids=tuple(_raid(f"{file}: raid[{n}]", one, complaints) for n, one in enumerate(raids, 1)),
        groups=tuple(_group(f"{file}: lvm[{n}]", one, complaints) for n, one in enumerate(groups, 1)),
        containers=tuple(
            Luks(one["name"], one["on"], **_holder(f"{file}: luks[{n}]", one, complaints))
            for n, one in enumerate(containers, 1)
        ),
    )
    _check(file, layout, complaints)
    return layout


def _check(file: Path, layout: DiskLayout, complaints: list[str]) -> None:
    key = "disks" if layout.role else "disk.partition"
    names = [one.name for role in layout.disks for one in role.partitions]
    complaints += [f"{file}: {key}: {name} is there twice" for name in _twice(names)]
    roles = [role.role for role in layout.disks]
    complaints += [f"{file}: disks: the role {role} is there twice" for role in _twice(roles)]
    if roots(layout) != 1:
        complaints.append(f'{file}: {key}: expected exactly one with mount = "/"')


def roots(layout: DiskLayout) -> int:
    """How many things of a layout are mounted at /."""
    places = [(one.mount, *(each.mount for each in one.subvolumes)) for one in layout.holders]
    return sum(mount == "/" for mounts in places for mount in mounts)


def _twice(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})


def _role(where: str, table: Mapping[str, Any], complaints: list[str]) -> dict[str, Any]:
    partitions = tuple(
        _partition(f"{where}.partition[{n}]", entry, complaints)
        for n, entry in enumerate(table["partition"], 1)
    )
    rests = [part.name for part in partitions if part.size_bytes is None]
    if rests and (len(rests) > 1 or partitions[-1].size_bytes is not None):
        complaints.append(f'{where}.partition: only the last one may have size = "rest"')
    kind = table.get("table", Table.GPT.value)
    if kind not in {one.value for one in Table}:
        complaints.append(f"{where}.table: expected gpt or mbr, got {kind!r}")
        kind = Table.GPT.value
    return {
        "partitions": partitions,
        "min_size_bytes": parse_size(table.get("min_size", "0")) or 0,
        "max_size_bytes": parse_size(table["max_size"]) if "max_size" in table else None,
        **{name: table.get(name, "") for name in ("transport", "model", "serial", "path", "role")},
        "rotational": table.get("rotational"),
        "table": Table(kind),
    }


def _partition(where: str, entry: Mapping[str, Any], complaints: list[str]) -> Partition:
    firmware = entry.get("firmware", "")
    if firmware not in ("", *(one.value for one in PC_FIRMWARE)):
        complaints.append(f"{where}.firmware: expected bios or uefi, got {firmware!r}")
        firmware = ""
    return Partition(
        name=entry["name"],
        size_bytes=_size(where, entry["size"], complaints),
        firmware=Firmware(firmware) if firmware else None,
        keep=entry.get("keep", False),
        **_holder(where, entry, complaints),
    )


def _size(where: str, text: str, complaints: list[str]) -> int | None:
    size = None if text == "rest" else parse_size(text)
    if text != "rest" and not size:
        complaints.append(f'{where}.size: expected a size such as "512 MiB" or "rest", got {text!r}')
    return size


def _holder(where: str, entry: Mapping[str, Any], complaints: list[str]) -> dict[str, Any]:
    if entry.get("filesystem", "") not in (*FILESYSTEMS, ""):
        complaints.append(
            f"{where}.filesystem: expected {', '.join(FILESYSTEMS)} or nothing, got {entry['filesystem']!r}"
        )
    return {
        **{name: entry.get(name, "") for name in ("filesystem", "mount", "options")},
        "subvolumes": tuple(Subvolume(**one) for one in entry.get("subvolume", ())),
    }


def _raid(where: str, entry: Mapping[str, Any], complaints: list[str]) -> Raid:
    if entry["level"] not in RAID_LEVELS:
        known = ", ".join(map(str, RAID_LEVELS))
        complaints.append(f"{where}.level: expected one of {known}, got {entry['level']}")
    metadata = entry.get("metadata", METADATA[0])
    if metadata not in METADATA:
        complaints.append(f"{where}.metadata: expected one of {', '.join(METADATA)}, got {metadata!r}")
    members = tuple(entry["members"])
    return Raid(entry["name"], entry["level"], members, metadata, **_holder(where, entry, complaints))


def _group(where: str, entry: Mapping[str, Any], complaints: list[str]) -> Group:
    volumes = tuple(
        Volume(
            one["name"],
            _size(f"{where}.volume[{n}]", one["size"], complaints),
            **_holder(f"{where}.volume[{n}]", one, complaints),
        )
        for n, one in enumerate(entry["volume"], 1)
    )
    return Group(entry["name"], tuple(entry["members"]), volumes)
