"""The facts text: what a machine says of itself, one fact a line."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace
from typing import Any

from appliance.errors import Problem
from appliance.model import Disk, DiskPartition, Facts, Firmware, PciDevice

MAX_BYTES = 64 * 1024
MAX_VALUE = 256
MAX_DISKS = 256
MAX_PARTITIONS = 256
"""Of all disks together."""
MAX_PCI = 512
MAX_FLAGS = 1024
MAX_NUMBER = 2**63 - 1
FLAGS_A_LINE = 200
"""Characters of a line of processor flags; a machine's own has thousands."""
TEXTS: tuple[str, ...] = (
    "uuid",
    "cpu",
    "arch",
    "vendor",
    "product",
    "serial",
    "family",
    "sku",
    "board_vendor",
    "board",
)
TEXTS += ("bios_vendor", "bios_version")
SINGLE = frozenset({"mac", "firmware", "memory", "cpus", "secureboot", *TEXTS})
FLAG = re.compile(r"[A-Za-z0-9_.+-]{1,40}")
PCI_ID = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
PCI_CLASS = re.compile(r"[0-9a-f]{6}")
SECURE_BOOT = {"on": True, "off": False}
MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
DISK_PATH = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9/_.-]{0,63}")
TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,30}")


def parse_facts(text: str) -> Facts:
    """Read a facts text; unknown keys are ignored, a malformed line raises Problem with its number."""
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise Problem(f"facts are {size} bytes long, expected at most {MAX_BYTES}")
    values: dict[str, str] = {}
    disks: dict[str, Disk] = {}
    flags: set[str] = set()
    devices: set[PciDevice] = set()
    for number, line in enumerate(text.split("\n"), 1):
        key, _, rest = line.strip().partition(" ")
        value = _printable(rest.strip(), number, key)
        if key == "disk":
            disk = _disk(value, number)
            if disk.path in disks:
                raise _malformed(number, f"disk {disk.path} once", "it a second time")
            disks[disk.path] = disk
            if len(disks) > MAX_DISKS:
                raise _malformed(number, f"at most {MAX_DISKS} disks", "one more")
        elif key == "table":
            disk = _with_table(disks, value, number)
            disks[disk.path] = disk
        elif key == "place":
            disk = _with_place(disks, value, number)
            disks[disk.path] = disk
        elif key == "part":
            disk = _with_partition(disks, value, number)
            disks[disk.path] = disk
        elif key == "flags":
            flags |= _flags(value, number)
            if len(flags) > MAX_FLAGS:
                raise _malformed(number, f"at most {MAX_FLAGS} processor flags", "more")
        elif key == "pci":
            devices.add(_pci(value, number))
            if len(devices) > MAX_PCI:
                raise _malformed(number, f"at most {MAX_PCI} PCI devices", "one more")
        elif key in SINGLE:
            if key in values:
                raise _malformed(number, f"{key} once", "it a second time")
            values[key] = _checked(key, value, number)
    for key in ("mac", "firmware"):
        if key not in values:
            raise Problem(f"facts have no {key} line, expected one")
    return Facts(
        mac=values["mac"],
        firmware=Firmware(values["firmware"]),
        memory_bytes=int(values.get("memory", "0")),
        cpus=int(values.get("cpus", "0")),
        secure_boot=SECURE_BOOT.get(values.get("secureboot", "")),
        cpu_flags=tuple(sorted(flags)),
        pci=sorted_devices(devices),
        **{name: values.get(name, "") for name in TEXTS},
        disks=tuple(disks.values()),
    )


def chosen_in(text: str) -> str:
    """The profile that a person chose on the machine's console, from a line `choose NAME`; empty: none.

    Of a text that parse_facts() took.
    """
    return _said(text, "choose")


def rescue_in(text: str) -> str:
    """The token of a rescue shell, from a line `rescue TOKEN`; empty: it is none.

    Of a text that parse_facts() took.
    """
    return _said(text, "rescue")


def _said(text: str, wanted: str) -> str:
    for number, line in enumerate(text.split("\n"), 1):
        key, _, rest = line.strip().partition(" ")
        if key == wanted:
            return _printable(rest.strip(), number, key)
    return ""


def render_facts(facts: Facts) -> str:
    """The text that parse_facts reads back as the same facts."""
    lines = [f"mac {facts.mac}", f"firmware {facts.firmware.value}", f"memory {facts.memory_bytes}"]
    lines += [f"{name} {value}" for name in TEXTS if (value := getattr(facts, name))]
    lines += [f"cpus {facts.cpus}"] if facts.cpus else []
    lines += [f"secureboot {word}" for word, on in SECURE_BOOT.items() if facts.secure_boot is on]
    lines += [f"flags {line}" for line in _folded(facts.cpu_flags)]
    lines += [f"pci {one.id} {one.class_code} {one.subsystem or '-'}" for one in facts.pci]
    for disk in facts.disks:
        words = (disk.path, disk.size_bytes, disk.transport or "-", int(disk.removable), disk.serial or "-")
        lines.append(" ".join(("disk", *map(str, words), disk.model)).rstrip())
        if disk.place or disk.rotational is not None:
            turns = "-" if disk.rotational is None else int(disk.rotational)
            lines.append(f"place {disk.path} {disk.place or '-'} {turns}")
        if disk.table:
            lines.append(f"table {disk.path} {disk.table}")
        for one in disk.partitions:
            about = f"{one.filesystem or '-'} {one.label or '-'}"
            lines.append(f"part {one.path} {disk.path} {one.start_bytes} {one.size_bytes} {about}")
    return "\n".join(lines) + "\n"


def _folded(flags: Iterable[str]) -> list[str]:
    return textwrap.wrap(" ".join(flags), FLAGS_A_LINE, break_long_words=False, break_on_hyphens=False)


def facts_of(fields: Mapping[str, Any]) -> Facts:
    """Facts from their fields in JSON; those of an older server lack some."""
    return Facts(
        **{
            **fields,
            "firmware": Firmware(fields["firmware"]),
            "disks": tuple(map(disk_of, fields["disks"])),
            "cpu_flags": tuple(fields.get("cpu_flags", ())),
            "pci": tuple(PciDevice(**one) for one in fields.get("pci", ())),
        }
    )


def sorted_devices(devices: Iterable[PciDevice]) -> tuple[PciDevice, ...]:
    return tuple(sorted(devices, key=astuple))


def disk_of(fields: Mapping[str, Any]) -> Disk:
    """A disk from its fields in JSON; those of an older server say nothing of partitions."""
    inside = tuple(DiskPartition(**one) for one in fields.get("partitions", ()))
    return Disk(**{**fields, "partitions": inside})


def named_mac(text: str) -> str | None:
    """The machine that a facts text is of, without reading the rest of it; None when it names none."""
    for line in text.split("\n"):
        key, _, value = line.strip().partition(" ")
        if key == "mac":
            return normal_mac(value)
    return None


def normal_mac(text: str) -> str | None:
    """A MAC address in lower case with colons; None when it is not one."""
    lower = text.strip().lower()
    return lower.replace("-", ":") if MAC.fullmatch(lower) else None


def _malformed(number: int, expected: str, came: str) -> Problem:
    return Problem(f"facts line {number}: expected {expected}, came {came}")


def _printable(value: str, number: int, key: str) -> str:
    """The value with what could disturb a terminal or a log replaced: firmware vendors write anything."""
    if len(value) > MAX_VALUE:
        raise _malformed(number, f"{key[:20]} of at most {MAX_VALUE} characters", f"{len(value)}")
    return "".join(letter if letter.isprintable() else "?" for letter in value)


def _number(word: str, number: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", word) or int(word) > MAX_NUMBER:
        raise _malformed(number, f"{what} as a decimal number", repr(word))
    return int(word)


def _checked(key: str, value: str, number: int) -> str:
    match key:
        case "mac":
            mac = normal_mac(value)
            if mac is None:
                raise _malformed(number, "a MAC address of 6 octets", repr(value))
            return mac
        case "firmware":
            if value not in {firmware.value for firmware in Firmware}:
                known = " or ".join(firmware.value for firmware in Firmware)
                raise _malformed(number, f"firmware {known}", repr(value))
            return value
        case "memory":
            return str(_number(value, number, "memory in bytes"))
        case "cpus":
            return str(_number(value, number, "the number of processors"))
        case "secureboot":
            if value not in SECURE_BOOT:
                raise _malformed(number, "secureboot on or off", repr(value))
            return value
        case _:
            return value


def _flags(value: str, number: int) -> set[str]:
    words = value.split()
    for word in words:
        if not FLAG.fullmatch(word):
            raise _malformed(number, "flags of a processor", repr(word))
    return set(words)


def _pci(value: str, number: int) -> PciDevice:
    """The device of a line `pci VENDOR:DEVICE CLASS SUBSYSTEM`, the last one `-` when it has none."""
    words = value.lower().split()
    if len(words) != 3:
        raise _malformed(number, "pci VENDOR:DEVICE CLASS SUBSYSTEM", f"{len(words)} words after pci")
    device, code, subsystem = words
    if not PCI_ID.fullmatch(device) or not PCI_CLASS.fullmatch(code):
        raise _malformed(number, "a PCI device as 8086:100e 020000", repr(f"{device} {code}"))
    if subsystem != "-" and not PCI_ID.fullmatch(subsystem):
        raise _malformed(number, "a PCI subsystem as 103c:1234", repr(subsystem))
    return PciDevice(device, code, "" if subsystem == "-" else subsystem)


def _disk(value: str, number: int) -> Disk:
    words = value.split(None, 5)
    if len(words) < 5:
        wanted = "disk PATH SIZE TRANSPORT REMOVABLE SERIAL [MODEL]"
        raise _malformed(number, wanted, f"{len(words)} words after disk")
    path, size, transport, removable, serial = words[:5]
    if not DISK_PATH.fullmatch(path) or ".." in path:
        raise _malformed(number, "a disk's path under /dev", repr(path))
    if removable not in ("0", "1"):
        raise _malformed(number, "removable 0 or 1", repr(removable))
    return Disk(
        path=path,
        size_bytes=_number(size, number, "a disk's size in bytes"),
        transport="" if transport == "-" else transport,
        removable=removable == "1",
        serial="" if serial == "-" else serial,
        model=words[5] if len(words) == 6 else "",
    )


def _with_table(disks: Mapping[str, Disk], value: str, number: int) -> Disk:
    """The disk of a line `table DISK KIND`: all that is on it follows."""
    words = value.split()
    if len(words) != 2:
        raise _malformed(number, "table DISK KIND", f"{len(words)} words after table")
    disk = _known(disks, words[0], number)
    if disk.table:
        raise _malformed(number, f"the table of {disk.path} once", "it a second time")
    if not TABLE.fullmatch(words[1]):
        raise _malformed(number, "the kind of a partition table", repr(words[1]))
    return replace(disk, table=words[1])


def _with_place(disks: Mapping[str, Disk], value: str, number: int) -> Disk:
    """The disk of a line `place DISK WHERE ROTATIONAL`."""
    words = value.split()
    if len(words) != 3 or words[2] not in ("0", "1", "-"):
        raise _malformed(number, "place DISK WHERE 0|1|-", repr(value[:60]))
    disk = _known(disks, words[0], number)
    turns = None if words[2] == "-" else words[2] == "1"
    return replace(disk, place="" if words[1] == "-" else words[1], rotational=turns)


def _with_partition(disks: Mapping[str, Disk], value: str, number: int) -> Disk:
    """The disk of a line `part PATH DISK START SIZE FSTYPE LABEL`, with that partition."""
    words = value.split()
    if len(words) != 6:
        wanted = "part PATH DISK START SIZE FSTYPE LABEL"
        raise _malformed(number, wanted, f"{len(words)} words after part")
    path, whole, start, size, filesystem, label = words
    disk = _known(disks, whole, number)
    if not disk.table:
        raise _malformed(number, f"the table of {whole} before what is in it", repr(path))
    if not DISK_PATH.fullmatch(path) or ".." in path:
        raise _malformed(number, "a partition's path under /dev", repr(path))
    if any(path == one.path for other in disks.values() for one in other.partitions):
        raise _malformed(number, f"partition {path} once", "it a second time")
    if sum(len(other.partitions) for other in disks.values()) == MAX_PARTITIONS:
        raise _malformed(number, f"at most {MAX_PARTITIONS} partitions", "one more")
    found = DiskPartition(
        path=path,
        start_bytes=_number(start, number, "a partition's start in bytes"),
        size_bytes=_number(size, number, "a partition's size in bytes"),
        filesystem="" if filesystem == "-" else filesystem,
        label="" if label == "-" else label,
    )
    return replace(disk, partitions=(*disk.partitions, found))


def _known(disks: Mapping[str, Disk], path: str, number: int) -> Disk:
    if path not in disks:
        raise _malformed(number, "a disk that an earlier line names", repr(path))
    return disks[path]
