"""Reads a part of a log of any size, searches it with bounded work, and takes the terminal's orders out."""

import re
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 64 * 1024
SEARCH_BYTES = 8 << 20
"""Read for one search; the answer says where to go on."""
CHUNK_BYTES = 1 << 20
MOST_FOUND = 100
LINE_LENGTH = 500
CLEAR_SCREEN = "\x1b[2J"
# ECMA-48: CSI, and OSC, DCS and the like up to their terminator; then every other control character.
ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class LogPage:
    """Bytes `start` to `end` of a log that has `size`."""

    text: str
    start: int
    end: int
    size: int

    @property
    def before(self) -> int:
        """Where the part before it begins."""
        return max(0, self.start - PAGE_BYTES)


@dataclass(frozen=True)
class Found:
    """Lines with a text in them, each with the byte it begins at."""

    lines: tuple[tuple[int, str], ...]
    looked_to: int
    size: int


def clean(raw: bytes) -> str:
    """Text that orders no terminal and turns no line around; tabs and line ends stay."""
    text = ESCAPES.sub("", raw.decode("utf-8", errors="replace").replace("\r\n", "\n"))
    return CONTROLS.sub("", text)


def as_left(raw: bytes) -> str:
    """Like clean(), each line as a terminal shows it in the end: what was written over is not there."""
    # Firmware and boot loaders clear the screen where a program would begin a line.
    text = ESCAPES.sub("", raw.decode("utf-8", errors="replace").replace(CLEAR_SCREEN, "\n"))
    return "\n".join(CONTROLS.sub("", _overwritten(line)) for line in text.split("\n"))


def _overwritten(line: str) -> str:
    shown = [part for part in line.split("\r") if part]
    left: list[str] = []
    for letter in shown[-1] if shown else "":
        if letter != "\b":
            left.append(letter)
        elif left:
            left.pop()
    return "".join(left)


def page(log: Path, start: int | None = None) -> LogPage:
    """From a byte on, or the end when it is None. Raises OSError."""
    with log.open("rb") as source:
        size = source.seek(0, 2)
        wanted = size - PAGE_BYTES if start is None else start
        begin = min(max(0, wanted), max(0, size - 1))
        source.seek(begin)
        raw = source.read(PAGE_BYTES)
    return LogPage(clean(raw), begin, begin + len(raw), size)


def search(log: Path, text: str, start: int = 0) -> Found:
    """Whatever the case of letters; stops after SEARCH_BYTES or MOST_FOUND lines. Raises OSError."""
    wanted = text.encode().lower()
    found: list[tuple[int, str]] = []
    with log.open("rb") as source:
        size = source.seek(0, 2)
        at = min(max(0, start), size)
        source.seek(at)
        last = min(size, at + SEARCH_BYTES)
        while at < last and len(found) < MOST_FOUND:
            # A line without an end is looked at in pieces.
            line = source.readline(CHUNK_BYTES)
            if not line:
                break
            place = line.lower().find(wanted)
            if place >= 0:
                shown = line[max(0, place - LINE_LENGTH // 2) :][:LINE_LENGTH]
                found.append((at, clean(shown).rstrip("\n")))
            at += len(line)
    return Found(tuple(found), at, size)
