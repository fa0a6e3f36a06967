"""What a match rule says: its keys in profile.toml, each of its conditions in words, and as JSON. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from appliance.model import Firmware
from appliance.profile_model import RULE_TEXTS, DiskRule, MatchRule
from appliance.schema import Keys, Kind, parse_size

MATCH = Keys(
    {
        **dict.fromkeys(RULE_TEXTS, Kind.TEXT),
        **dict.fromkeys(("oui", "cpu_flags", "pci"), Kind.WORDS),
        **dict.fromkeys(("min_memory", "max_memory"), Kind.SIZE),
        **dict.fromkeys(("min_cpus", "max_cpus", "priority"), Kind.INTEGER),
        "firmware": Kind.TEXT,
        "secure_boot": Kind.BOOLEAN,
        "disk": Keys(
            {
                "count": Kind.INTEGER,
                "min_size": Kind.SIZE,
                "max_size": Kind.SIZE,
                "transport": Kind.TEXT,
                "model": Kind.TEXT,
            }
        ),
        "arm": Kind.BOOLEAN,
    },
    many=True,
)
OUI = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){0,5}")
FLAG = re.compile(r"-?[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,39}")
HEX = r"[0-9a-f?*]"
PCI_ID = re.compile(rf"{HEX}{{1,4}}:{HEX}{{1,4}}")
PCI_CLASS = re.compile(rf"{HEX}{{2,6}}")
PCI_SHAPE = '"VENDOR:DEVICE", "class CC", "subsystem VENDOR:DEVICE" or several of them'
GIB, MIB = 2**30, 2**20


def read_rule(table: Mapping[str, Any], source: str, complaints: list[str]) -> MatchRule:
    """The rule of one table [[match]] whose keys and kinds were checked; `source` begins each complaint."""
    disk = table.get("disk")
    firmware = table.get("firmware", "")
    if firmware not in ("", *(one.value for one in Firmware)):
        known = ", ".join(one.value for one in Firmware)
        complaints.append(f"{source}.firmware: expected {known}, got {firmware!r}")
        firmware = ""
    rule = MatchRule(
        **{name: table.get(name, "") for name in RULE_TEXTS},
        arm=table.get("arm", False),
        source=source,
        priority=table.get("priority", 0),
        firmware=Firmware(firmware) if firmware else None,
        secure_boot=table.get("secure_boot"),
        oui=tuple(one.lower().replace("-", ":") for one in table.get("oui", ())),
        cpu_flags=tuple(table.get("cpu_flags", ())),
        pci=tuple(" ".join(one.lower().split()) for one in table.get("pci", ())),
        min_memory_bytes=_size(table, "min_memory"),
        max_memory_bytes=_size(table, "max_memory"),
        min_cpus=table.get("min_cpus"),
        max_cpus=table.get("max_cpus"),
        disk=None if disk is None else _disk(disk),
    )
    complaints += [f"{source}.{said}" for said in _mistakes(rule)]
    return rule


def conditions(rule: MatchRule) -> Mapping[str, str]:
    """Each condition of a rule by its key, as a person reads it; their number is how specific it is."""
    said = {name: value for name in RULE_TEXTS if (value := getattr(rule, name))}
    if rule.firmware:
        said["firmware"] = rule.firmware.value
    if rule.secure_boot is not None:
        said["secure_boot"] = "on" if rule.secure_boot else "off"
    for name in ("oui", "cpu_flags", "pci"):
        if words := getattr(rule, name):
            said[name] = (" or " if name == "oui" else ", ").join(words)
    if memory := between(rule.min_memory_bytes, rule.max_memory_bytes, size=True):
        said["memory"] = memory
    if cpus := between(rule.min_cpus, rule.max_cpus):
        said["cpus"] = cpus
    if rule.disk:
        said["disk"] = about_disk(rule.disk)
    return said


def between(least: int | None, most: int | None, *, size: bool = False) -> str:
    """`2 to 4`, `at least 2`, `at most 4`; empty without bounds. With `size` they are bytes."""
    low, high = (None if one is None else size_words(one) if size else str(one) for one in (least, most))
    if low is not None and high is not None:
        return low if low == high else f"{low} to {high}"
    if low is not None:
        return f"at least {low}"
    return f"at most {high}" if high is not None else ""


def size_words(size_bytes: int) -> str:
    """In GiB or MiB with one digit behind the point, when it has any."""
    unit, name = (GIB, "GiB") if size_bytes >= GIB else (MIB, "MiB")
    return f"{size_bytes / unit:.1f}".removesuffix(".0") + f" {name}"


def about_disk(rule: DiskRule) -> str:
    """`exactly 2 disks, scsi, 4 GiB to 9 GiB`."""
    disks = "at least 1 disk" if rule.count is None else f"exactly {rule.count} disk{'s' * (rule.count != 1)}"
    size = between(rule.min_size_bytes, rule.max_size_bytes, size=True)
    return ", ".join(filter(None, (disks, rule.transport, rule.model, size)))


def rule_fields(rule: MatchRule) -> dict[str, Any]:
    """For JSON; rule_of() makes the same rule of it."""
    return asdict(rule) | {"firmware": rule.firmware.value if rule.firmware else None}


def rule_of(said: Mapping[str, Any]) -> MatchRule:
    """Raises TypeError, KeyError or ValueError for what is no rule."""
    lists = {name: tuple(said[name]) for name in ("oui", "cpu_flags", "pci")}
    disk = DiskRule(**said["disk"]) if said["disk"] else None
    firmware = Firmware(said["firmware"]) if said["firmware"] else None
    names = {one.name for one in fields(MatchRule)}
    if said.keys() != names:
        raise KeyError(min(said.keys() ^ names))
    return MatchRule(**{**said, **lists, "disk": disk, "firmware": firmware})


def _size(table: Mapping[str, Any], key: str) -> int | None:
    return parse_size(table[key]) if key in table else None


def _disk(table: Mapping[str, Any]) -> DiskRule:
    return DiskRule(
        count=table.get("count"),
        min_size_bytes=_size(table, "min_size"),
        max_size_bytes=_size(table, "max_size"),
        transport=table.get("transport", ""),
        model=table.get("model", ""),
    )


def _mistakes(rule: MatchRule) -> list[str]:
    """What no machine could mean: `KEY: expected ..., got ...`."""
    found = [
        f'oui: expected octets such as "00:1b:78", got {one!r}' for one in rule.oui if not OUI.fullmatch(one)
    ]
    found += [
        f'cpu_flags: expected flags such as "mmx" or "-sse", got {one!r}'
        for one in rule.cpu_flags
        if not FLAG.fullmatch(one)
    ]
    found += [f"pci: expected {PCI_SHAPE}, got {one!r}" for one in rule.pci if not pci_parts(one)]
    ranges = [
        ("memory", rule.min_memory_bytes, rule.max_memory_bytes),
        ("cpus", rule.min_cpus, rule.max_cpus),
    ]
    if rule.disk:
        ranges.append(("disk.size", rule.disk.min_size_bytes, rule.disk.max_size_bytes))
    for name, least, most in ranges:
        if least is not None and most is not None and least > most:
            found.append(f"{name}: at least {least} and at most {most} is no number")
    if rule.disk and rule.disk.count is not None and rule.disk.count < 0:
        found.append(f"disk.count: expected 0 or more, got {rule.disk.count}")
    return found


def pci_parts(pattern: str) -> Mapping[str, str]:
    """Globs of `id`, `class` and `subsystem` in a pattern without its `-`; empty when it is none."""
    words: Sequence[str] = pattern.removeprefix("-").split()
    parts = {}
    if words and words[0] not in ("class", "subsystem"):
        parts["id"], words = words[0], words[1:]
    if len(words) % 2:
        return {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name in parts or name not in ("class", "subsystem"):
            return {}
        parts[name] = value
    shapes = {"id": PCI_ID, "class": PCI_CLASS, "subsystem": PCI_ID}
    return parts if all(shapes[name].fullmatch(value) for name, value in parts.items()) else {}
