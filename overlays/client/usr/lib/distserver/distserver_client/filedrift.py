"""Looks for installed files that are not as packages left them, and reads no more than a bound at a time."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from distserver_client import durable
from distserver_client.contents import Entry, Kind, Look, Seen, compare, parse
from distserver_client.origins import Origins
from distserver_client.protection import Protection

NAME = "files.json"
CHANGED, WAITS, MERGED = "changed", "waits for an answer", "merged with what was changed here"
CHANGED_BYTES = 256 << 20
"""So much of files with another time is read in one look; the others are read in the next ones."""
ROUND_BYTES = 64 << 20
"""So much of all other files, one package after the other: who sets back the time of a file is found, too."""
Print = tuple[int, int, int, int]
"""Inode, size, and times of content and of inode in nanoseconds: while they stay the content does."""


@dataclass(frozen=True)
class Differs:
    """A file that is not what its package installed."""

    path: str
    said: str


@dataclass(frozen=True)
class Local:
    """A configuration file that is not what its package installed, which is no drift."""

    path: str
    said: str
    """Whether it waits for an answer, was merged, or was changed here without any question."""


@dataclass(frozen=True)
class Scanned:
    drift: tuple[Differs, ...] = ()
    local: tuple[Local, ...] = ()
    unread: int = 0
    """Files with another time for which the bound of reading left nothing; the next look reads them."""


@dataclass
class Remembered:
    """What earlier looks read, so that little is read twice; and how far the round is."""

    known: dict[str, tuple[Print, str]] = field(default_factory=dict)
    """path -> what the file was like, and its MD5 then; of those with another time or content."""
    after: tuple[str, int] = ("", -1)
    """category/PF and line of CONTENTS that the round read last."""


@dataclass
class Scanner:
    """One look; `whole` reads the content of every file, whatever that takes."""

    root: Path
    protection: Protection
    origins: Origins
    remembered: Remembered = field(default_factory=Remembered)
    whole: bool = False
    changed_bytes: int = CHANGED_BYTES
    round_bytes: int = ROUND_BYTES
    _unread: int = 0
    _known: dict[str, tuple[Print, str]] = field(default_factory=dict)

    def scan(self) -> Scanned:
        """All packages; `remembered` is what the next look begins with."""
        places = list(records(self.root))
        found: dict[str, tuple[Entry, str]] = {}
        for name, place in places:
            for number, entry in enumerate(entries(place)):
                if said := self._judge(entry, (name, number)):
                    found[entry.path] = entry, said
        if self.round_bytes > 0:
            self.remembered.after = ("", -1)  # all were read
        for _, place in places if found else ():
            # Of two packages that have it the later one's file is there.
            for entry in entries(place):
                if entry.path in found and not self._judge(entry):
                    del found[entry.path]
        self.remembered.known = self._known
        return self._sorted(found.values())

    def _sorted(self, found: Iterable[tuple[Entry, str]]) -> Scanned:
        drift, local = [], []
        for entry, said in sorted(found, key=lambda one: one[0].path):
            if entry.kind in (Kind.FILE, Kind.LINK) and self.protection.covers(entry.path):
                local.append(Local(entry.path, self._by_person(entry.path, said)))
            else:
                drift.append(Differs(entry.path, said))
        return Scanned(tuple(drift), tuple(local), self._unread)

    def _by_person(self, path: str, said: str) -> str:
        """Nothing of its content: it may be a secret."""
        if path in self.origins.open:
            return WAITS
        if path in self.origins.done:
            return MERGED
        return "removed here" if said == "missing" else "changed here"

    def _judge(self, entry: Entry, turn: tuple[str, int] | None = None) -> str:
        """How it differs; empty when it does not, as far as that is known.

        `turn`: where it stands, if the round may come to it.
        """
        if not entry.is_steady:
            return ""
        place = self.root / entry.path.lstrip("/")
        try:
            status = place.lstat()
            look = compare(entry, _seen(place, status))
        except OSError:
            return str(compare(entry, None))
        if isinstance(look, str):
            return look
        if entry.kind is not Kind.FILE:
            return ""
        md5 = self._md5(place, entry, status, is_changed=look is Look.READ, turn=turn)
        return CHANGED if md5 and md5 != entry.md5 else ""

    def _md5(
        self,
        place: Path,
        entry: Entry,
        status: os.stat_result,
        *,
        is_changed: bool,
        turn: tuple[str, int] | None,
    ) -> str:
        """Of its content; empty: it was not read, and there is no sign that it is another."""
        now = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        before = None if self.whole else self.remembered.known.get(entry.path)
        known = self._known.get(entry.path) or before
        if known and known[0] == now:
            self._known[entry.path] = known
            return known[1]
        if not self._may_read(status.st_size, is_changed=is_changed, turn=turn):
            self._unread += is_changed and turn is not None
            return ""
        md5 = read_md5(place)
        if is_changed or md5 != entry.md5:
            self._known[entry.path] = now, md5
        return md5

    def _may_read(self, size_bytes: int, *, is_changed: bool, turn: tuple[str, int] | None) -> bool:
        if self.whole:
            return turn is not None
        if is_changed:
            if self.changed_bytes <= 0:
                return False
            self.changed_bytes -= size_bytes
            return True
        if turn is None or turn <= self.remembered.after or self.round_bytes <= 0:
            return False
        self.round_bytes -= size_bytes
        self.remembered.after = turn
        return True


def load(place: Path) -> tuple[Remembered, Scanned]:
    """Of the state directory: what to begin with, and what the last look found."""
    try:
        said = json.loads((place / NAME).read_bytes())
        rows = said["known"].items()
        known = {str(path): ((a, b, c, d), str(md5)) for path, (a, b, c, d, md5) in rows}
        name, number = said["after"]
        drift = tuple(Differs(str(path), str(how)) for path, how in said["drift"])
        local = tuple(Local(str(path), str(how)) for path, how in said["local"])
        return Remembered(known, (str(name), int(number))), Scanned(drift, local, int(said["unread"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Remembered(), Scanned()


def save(place: Path, one: Remembered, found: Scanned) -> None:
    said = {
        "after": one.after,
        "known": {path: [*numbers, md5] for path, (numbers, md5) in sorted(one.known.items())},
        "drift": [[each.path, each.said] for each in found.drift],
        "local": [[each.path, each.said] for each in found.local],
        "unread": found.unread,
    }
    durable.replace(place / NAME, json.dumps(said, sort_keys=True).encode(), 0o600)


def records(root: Path) -> Iterator[tuple[str, Path]]:
    """category/PF and CONTENTS of each installed package."""
    for place in sorted((root / "var/db/pkg").glob("*/*/CONTENTS")):
        # A merge that was cut off; Portage itself looks past it (vartree.py).
        if not place.parent.name.startswith("-MERGING-"):
            yield f"{place.parent.parent.name}/{place.parent.name}", place


def entries(place: Path) -> Iterator[Entry]:
    """Of a CONTENTS."""
    try:
        return parse(place.read_bytes().decode(errors="surrogateescape"))
    except OSError:  # it was removed meanwhile
        return iter(())


def _seen(place: Path, status: os.stat_result) -> Seen:
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return Seen(Kind.LINK, target=str(place.readlink()))
    kinds = ((stat.S_ISREG, Kind.FILE), (stat.S_ISDIR, Kind.DIRECTORY), (stat.S_ISFIFO, Kind.PIPE))
    kind = next((kind for test, kind in kinds if test(mode)), Kind.DEVICE)
    return Seen(kind, mtime=status.st_mtime_ns // 10**9)


def read_md5(place: Path) -> str:
    """The MD5 of a content, which is what CONTENTS has of it; empty when it cannot be read."""
    try:
        with place.open("rb") as source:
            return hashlib.file_digest(source, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError:
        return ""
