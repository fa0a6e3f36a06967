"""Checks a TOML document against its keys; a complaint says where, what, and what was expected."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class Kind(Enum):
    TEXT = "a text in quotes"
    INTEGER = "a whole number"
    BOOLEAN = "true or false"
    WORDS = "a list of texts"
    SIZE = 'a size such as "512 MiB"'
    SPAN = 'a time such as "30 min", "12 h" or "2 d"'
    CLOCK = 'a time of day such as "04:00"'
    AMOUNT = 'a whole number such as 2, or a share such as "10 %"'


ANY = "*"
"""A key of Keys that stands for every key."""


@dataclass(frozen=True)
class Keys:
    """The keys of one table. A nested Keys is a table; with `many` it is an array of tables."""

    keys: "Mapping[str, Kind | Keys]"
    many: bool = False
    required: frozenset[str] = field(default_factory=frozenset)


UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
UNITS |= {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
SIZE = re.compile(r"\s*(\d+)\s*([A-Za-z]*)\s*")
CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def parse_size(text: str) -> int | None:
    """Bytes of `512 MiB`, `2G`, `4096`; None when it is no size."""
    found = SIZE.fullmatch(text)
    if not found or found[2].upper() not in UNITS:
        return None
    return int(found[1]) * UNITS[found[2].upper()]


SPAN_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SPAN = re.compile(r"\s*(\d+)\s*([a-z]+)\s*")


def parse_span(text: str) -> float | None:
    """Seconds of `30 min`, `12 h`, `2 d`; None when it is no time."""
    found = SPAN.fullmatch(text)
    if not found or found[2] not in SPAN_UNITS:
        return None
    return float(int(found[1]) * SPAN_UNITS[found[2]])


def parse_clock(text: str) -> int | None:
    """Minutes after midnight of `04:00`; None when it is no time of day."""
    found = CLOCK.fullmatch(text)
    return int(found[1]) * 60 + int(found[2]) if found else None


def read_text(file: Path, complaints: list[str]) -> str:
    """The text of a file; one that is not UTF-8 is a complaint and an empty text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as bad:
        complaints.append(f"{file}: byte {bad.start} is not UTF-8")
        return ""


def read_toml(file: Path, complaints: list[str]) -> tuple[dict[str, Any], str]:
    """The document and its text; an unreadable one is a complaint and an empty document."""
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text), text
    except FileNotFoundError:
        complaints.append(f"{file}: no such file")
    except UnicodeDecodeError as bad:
        complaints.append(f"{file}: byte {bad.start} is not UTF-8")
    except tomllib.TOMLDecodeError as bad:
        found = re.search(r"\(at line (\d+)", str(bad))
        line = int(found[1]) if found else len(text.splitlines())  # at its end
        complaints.append(f"{file}:{line}: {str(bad)[0].lower()}{str(bad)[1:]}")
    return {}, ""


def line_of(text: str, key: str) -> int | None:
    """The first line that sets `key` (or opens the table named so), counted from 1."""
    pattern = re.compile(rf'^\s*(?:"?{re.escape(key)}"?\s*=|\[+[^\]]*\b{re.escape(key)}\]+)')
    return next((n for n, line in enumerate(text.splitlines(), 1) if pattern.match(line)), None)


def check(file: Path, text: str, document: Mapping[str, Any], keys: Keys) -> list[str]:
    """Every complaint about `document`; empty when it is right."""

    def where(path: str, key: str) -> str:
        line = line_of(text, key)
        return f"{file}:{line}: {path}{key}" if line else f"{file}: {path}{key}"

    def walk(table: Mapping[str, Any], allowed: Keys, path: str) -> list[str]:
        found = []
        for key, value in table.items():
            wanted = allowed.keys.get(key, allowed.keys.get(ANY))
            if wanted is None:
                found.append(f"{where(path, key)}: unknown key{_nearest(key, allowed)}")
            elif isinstance(wanted, Keys):
                found += walk_tables(key, value, wanted, path)
            elif not _fits(value, wanted):
                found.append(f"{where(path, key)}: expected {wanted.value}, got {value!r}")
        found += [f"{file}: {path}{key}: missing" for key in sorted(allowed.required - set(table))]
        return found

    def walk_tables(key: str, value: Any, wanted: Keys, path: str) -> list[str]:
        shape = "an array of tables ([[...]])" if wanted.many else "a table ([...])"
        if wanted.many and isinstance(value, list) and all(isinstance(one, dict) for one in value):
            return [c for n, one in enumerate(value, 1) for c in walk(one, wanted, f"{path}{key}[{n}].")]
        if not wanted.many and isinstance(value, dict):
            return walk(value, wanted, f"{path}{key}.")
        return [f"{where(path, key)}: expected {shape}, got {value!r}"]

    return walk(document, keys, "")


def _nearest(key: str, allowed: Keys) -> str:
    near = difflib.get_close_matches(key, allowed.keys, n=1, cutoff=0.5)
    return f", did you mean {near[0]}?" if near else f", expected one of {', '.join(sorted(allowed.keys))}"


def _fits(value: Any, kind: Kind) -> bool:
    match kind:
        case Kind.TEXT:
            return isinstance(value, str)
        case Kind.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.BOOLEAN:
            return isinstance(value, bool)
        case Kind.WORDS:
            return isinstance(value, list) and all(isinstance(word, str) for word in value)
        case Kind.SIZE:
            return isinstance(value, str) and parse_size(value) is not None
        case Kind.SPAN:
            return isinstance(value, str) and parse_span(value) is not None
        case Kind.AMOUNT:
            return isinstance(value, int | str) and not isinstance(value, bool)
        case Kind.CLOCK:
            return isinstance(value, str) and parse_clock(value) is not None
