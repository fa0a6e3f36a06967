"""The facts text: what a machine says of itself, one fact a line."""

import re

from appliance.errors import Problem
from appliance.model import Disk, Facts, Firmware

MAX_BYTES = 64 * 1024
MAX_VALUE = 256
MAX_DISKS = 256
MAX_NUMBER = 2**63 - 1
TEXTS = ("uuid", "cpu", "vendor", "product", "serial")
SINGLE = frozenset({"mac", "firmware", "memory", *TEXTS})
MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}")
DISK_PATH = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9/_.-]{0,63}")


def parse_facts(text: str) -> Facts:
    """Read a facts text; unknown keys are ignored, a malformed line raises Problem with its number."""
    size = len(text.encode(errors="replace"))
    if size > MAX_BYTES:
        raise Problem(f"facts are {size} bytes long, expected at most {MAX_BYTES}")
    values: dict[str, str] = {}
    disks: dict[str, Disk] = {}
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
        **{name: values.get(name, "") for name in TEXTS},
        disks=tuple(disks.values()),
    )


def render_facts(facts: Facts) -> str:
    """The text that parse_facts reads back as the same facts."""
    lines = [f"mac {facts.mac}", f"firmware {facts.firmware.value}", f"memory {facts.memory_bytes}"]
    lines += [f"{name} {value}" for name in TEXTS if (value := getattr(facts, name))]
    for disk in facts.disks:
        words = (disk.path, disk.size_bytes, disk.transport or "-", int(disk.removable), disk.serial or "-")
        lines.append(" ".join(("disk", *map(str, words), disk.model)).rstrip())
    return "\n".join(lines) + "\n"


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
                raise _malformed(number, "firmware bios or uefi", repr(value))
            return value
        case "memory":
            return str(_number(value, number, "memory in bytes"))
        case _:
            return value


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
