"""Writes the kernel's initramfs format (newc cpio): the same entries give the same bytes."""

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TRAILER = "TRAILER!!!"
MAX_FILE = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """One name in the archive, relative to /; owner is always root."""

    name: str
    mode: int
    """Type and permission bits, as in stat.st_mode."""
    data: bytes = b""
    """A file's content or a link's target."""
    device: tuple[int, int] = (0, 0)
    """Major and minor of a device node."""


def directory(name: str, permissions: int = 0o755) -> Entry:
    return Entry(name, stat.S_IFDIR | permissions)


def file(name: str, data: bytes, permissions: int = 0o644) -> Entry:
    return Entry(name, stat.S_IFREG | permissions, data)


def link(name: str, target: str) -> Entry:
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def node(name: str, major: int, minor: int, permissions: int = 0o600) -> Entry:
    return Entry(name, stat.S_IFCHR | permissions, device=(major, minor))


def cpio(entries: Iterable[Entry], *, epoch: int = 0) -> bytes:
    """The archive, sorted by name, with missing parent directories added.

    The kernel makes no parent directories by itself (init/initramfs.c); sorting puts each before what it
    holds. Every time stamp is `epoch`. Raises ValueError for a name given twice or not relative.
    """
    table = _with_parents(entries)
    parts: list[bytes] = []
    for number, name in enumerate(sorted(table), 1):
        parts += _record(table[name], number, epoch)
    parts += _record(Entry(TRAILER, 0), 0, 0)
    size = sum(map(len, parts))
    parts.append(bytes(-size % 512))
    return b"".join(parts)


def _with_parents(entries: Iterable[Entry]) -> dict[str, Entry]:
    table: dict[str, Entry] = {}
    for entry in entries:
        words = entry.name.split("/")
        if not entry.name or any(word in ("", ".", "..") for word in words) or entry.name == TRAILER:
            raise ValueError(f"archive name {entry.name!r} is not a relative path")
        if entry.name in table:
            raise ValueError(f"archive name {entry.name!r} comes twice")
        if len(entry.data) > MAX_FILE:
            raise ValueError(f"{entry.name} is {len(entry.data)} bytes long, cpio holds {MAX_FILE}")
        table[entry.name] = entry
    for name in list(table):
        for parent in _parents(name):
            if not stat.S_ISDIR(table.setdefault(parent, directory(parent)).mode):
                raise ValueError(f"archive name {parent!r} holds {name!r} but is no directory")
    return table


def _parents(name: str) -> Iterator[str]:
    words = name.split("/")[:-1]
    for count in range(1, len(words) + 1):
        yield "/".join(words[:count])


def _record(entry: Entry, number: int, epoch: int) -> list[bytes]:
    """Header, name and data, each padded to 4 bytes (Linux, driver-api/early-userspace/buffer-format)."""
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, epoch, len(entry.data), 0, 0, *entry.device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return [header, name, bytes(-(len(header) + len(name)) % 4), entry.data, bytes(-len(entry.data) % 4)]
