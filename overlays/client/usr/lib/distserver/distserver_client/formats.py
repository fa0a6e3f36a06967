"""Reads contents as their format says; each function returns the first complaint, or nothing."""

import configparser
import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from xml.parsers import expat

TIME = re.compile(r"[\dA-Za-z*,/~-]+")
SYSCTL = re.compile(r"-?[\w./*-]+\s*=.*|-[\w./*-]+")
VARIABLE = re.compile(r"\w+\s*=.*")
CRON_WORDS = ("@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")

Format = Callable[[bytes], str]


def python(content: bytes) -> str:
    try:
        compile(content, "it", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        return str(wrong)
    return ""


def json_text(content: bytes) -> str:
    try:
        json.loads(content)
    except (ValueError, RecursionError) as wrong:
        return str(wrong)
    return ""


def toml(content: bytes) -> str:
    try:
        tomllib.loads(content.decode())
    except (ValueError, RecursionError) as wrong:
        return str(wrong)
    return ""


def xml(content: bytes) -> str:
    try:
        # expat fetches nothing from elsewhere unless somebody gives it a handler for that.
        expat.ParserCreate().Parse(content, True)
    except expat.ExpatError as wrong:
        return str(wrong)
    return ""


def ini(content: bytes) -> str:
    reader = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        reader.read_string(content.decode(errors="surrogateescape"))
    except (configparser.Error, ValueError) as wrong:
        return str(wrong).splitlines()[0]
    return ""


def fstab(content: bytes) -> str:
    """Nothing is mounted twice at one place: of two that were added apart, one would be hidden."""
    seen: set[str] = set()
    for number, fields in _fields(content):
        target, numbers = fields[1:2], fields[4:6]
        if not 4 <= len(fields) <= 6:
            return f"line {number} has {len(fields)} fields, expected 4 to 6"
        if not target[0].startswith("/") and target[0] not in ("none", "swap"):
            return f"line {number} mounts at {target[0]!r}"
        if not all(one.isdecimal() for one in numbers):
            return f"line {number} ends with {' '.join(numbers)!r}, expected numbers"
        if target[0] in seen:
            return f"line {number} mounts at {target[0]!r} again"
        seen |= {*target} - {"none", "swap"}
    return ""


def passwd(content: bytes) -> str:
    return _colons(content, 7, numbers=(2, 3))


def group(content: bytes) -> str:
    return _colons(content, 4, numbers=(2,))


def shadow(content: bytes) -> str:
    return _colons(content, 9)


def gshadow(content: bytes) -> str:
    return _colons(content, 4)


def subid(content: bytes) -> str:
    return _colons(content, 3, numbers=(1, 2), once=False)


def crontab(content: bytes) -> str:
    """The system's, which name a user."""
    for number, fields in _fields(content):
        if VARIABLE.match(" ".join(fields)):
            continue
        named = fields[0].startswith("@")
        if named and fields[0] not in CRON_WORDS:
            return f"line {number} begins with {fields[0]!r}"
        if not named and not all(TIME.fullmatch(one) for one in fields[:5]):
            return f"line {number} does not begin with five times"
        if len(fields) < (3 if named else 7):
            return f"line {number} lacks a user or a command"
    return ""


def sysctl(content: bytes) -> str:
    for number, line in _lines(content):
        if not line.startswith(";") and not SYSCTL.fullmatch(line):
            return f"line {number} is not KEY = VALUE"
    return ""


def hosts(content: bytes) -> str:
    for number, fields in _fields(content):
        try:
            ipaddress.ip_address(fields[0].partition("%")[0])
        except ValueError:
            return f"line {number} begins with {fields[0]!r}, which is no address"
        if len(fields) < 2 or fields[1].startswith("#"):
            return f"line {number} has no name"
    return ""


def braces(content: bytes) -> str:
    """For languages with blocks in braces: each is closed, outside of quotes and comments."""
    depth, quote = 0, ""
    for number, line in enumerate(content.decode(errors="replace").split("\n"), 1):
        before = ""
        for letter in line:
            if before == "\\":
                before = ""
                continue
            if quote:
                quote = "" if letter == quote else quote
            elif letter in "\"'":
                quote = letter
            elif letter == "#" and (not before or before.isspace()):
                break
            depth += (letter == "{") - (letter == "}") if not quote else 0
            if depth < 0:
                return f"line {number} closes a block that is not open"
            before = letter
    return "a quote is not closed" if quote else f"{depth} blocks are not closed" if depth else ""


def _lines(content: bytes) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(content.decode(errors="surrogateescape").split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _fields(content: bytes) -> Iterator[tuple[int, list[str]]]:
    return ((number, line.split()) for number, line in _lines(content))


def _colons(content: bytes, count: int, *, numbers: tuple[int, ...] = (), once: bool = True) -> str:
    seen: set[str] = set()
    for number, line in _lines(content):
        fields = line.split(":")
        if line.startswith(("+", "-")):
            continue
        if len(fields) != count or not fields[0]:
            return f"line {number} has {len(fields)} fields, expected {count}"
        if not all(fields[at].isdecimal() for at in numbers):
            return f"line {number} has no number where one belongs"
        if once and fields[0] in seen:
            return f"line {number} names {fields[0]!r} again"
        seen.add(fields[0])
    return ""
