"""Reads Portage's record of what a package put where, and compares it with what is there; pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

VOLATILE = (
    "/run/",
    "/tmp/",
    "/dev/",
    "/proc/",
    "/sys/",
    "/var/run/",
    "/var/lock/",
    "/var/tmp/",
    "/var/cache/",
)
"""What lies there may go at any time, and comes again by itself."""
KEEP = re.compile(r"/\.keep[^/]*$")
"""A mark that keeps a directory from being removed when it is empty (keepdir, PMS 12.3.9)."""


class Kind(Enum):
    """The first word of a line of CONTENTS (portage.dblink.writeContents)."""

    FILE = "obj"
    LINK = "sym"
    DIRECTORY = "dir"
    PIPE = "fif"
    DEVICE = "dev"


@dataclass(frozen=True)
class Entry:
    """A line of CONTENTS."""

    kind: Kind
    path: str
    md5: str = ""
    mtime: int = 0
    """Whole seconds since the epoch."""
    target: str = ""
    """Of a link."""

    @property
    def is_steady(self) -> bool:
        """Whether anything is wrong when it is not there."""
        return not self.path.startswith(VOLATILE) and not KEEP.search(self.path)


@dataclass(frozen=True)
class Seen:
    """What is at the path of an entry, links not followed."""

    kind: Kind
    mtime: int = 0
    target: str = ""


class Look(Enum):
    """What is to be thought of a file by its kind and time alone."""

    SAME = "same"
    """By its time; its content may be read some day."""
    READ = "read"
    """Its content says."""


def parse(text: str) -> Iterator[Entry]:
    """Paths may have blanks, and all that splitlines() ends a line at; lines of another form are left out."""
    for line in text.split("\n"):
        word, _, rest = line.partition(" ")
        match word:
            case "obj":
                path, _, numbers = rest.rpartition(" ")
                path, _, md5 = path.rpartition(" ")
                if path and numbers.isdigit():
                    yield Entry(Kind.FILE, path, md5=md5.lower(), mtime=int(numbers))
            case "sym":
                path, arrow, rest = rest.partition(" -> ")
                target, _, numbers = rest.rpartition(" ")
                if arrow and numbers.isdigit():
                    yield Entry(Kind.LINK, path, target=target)
            case "dir" | "fif" | "dev" if rest:
                yield Entry(Kind(word), rest)


def compare(entry: Entry, seen: Seen | None) -> Look | str:
    """How an entry differs, as words; `seen` is None when nothing is there."""
    if seen is None:
        return "missing"
    if entry.kind is Kind.DIRECTORY:
        # A directory may be a link to one: /lib since /usr was merged.
        return Look.SAME if seen.kind in (Kind.DIRECTORY, Kind.LINK) else f"a {NAMES[seen.kind]} is there"
    if seen.kind is not entry.kind:
        return f"a {NAMES[seen.kind]} is there"
    if entry.kind is Kind.LINK and seen.target != entry.target:
        return f"points to {seen.target}"
    if entry.kind is Kind.FILE and seen.mtime != entry.mtime:
        return Look.READ
    return Look.SAME


NAMES = {
    Kind.FILE: "file",
    Kind.LINK: "link",
    Kind.DIRECTORY: "directory",
    Kind.PIPE: "pipe",
    Kind.DEVICE: "device",
}
