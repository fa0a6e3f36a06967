"""What a disk holds after a power cut, made from all that a machine wrote to it; pure but for the files."""

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# struct log_write_super and log_write_entry, drivers/md/dm-log-writes.c; QEMU's blklogwrites writes the same.
MAGIC, VERSION = 0x6A736677736872, 1
SUPER = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
FLUSH, FUA, DISCARD = 1, 2, 4
SECTOR_BYTES = 512
"""The unit in which entries name places; the log's own sectors may be larger."""


@dataclass(frozen=True)
class Entry:
    """A write or a flush, in the order in which the guest asked for them."""

    offset_bytes: int
    size_bytes: int
    flush: bool
    data_at: int
    """Where in the log its content is."""
    end: int
    """How long the log was when it was taken down."""


@dataclass(frozen=True)
class Loss:
    """What of a cut's last writes is on the disk."""

    kept: tuple[int, ...]
    """Numbers of entries, in order."""
    torn: int | None
    """One of them of which only some sectors came to the disk."""
    torn_bytes: int = 0


def read(log: Path) -> tuple[Entry, ...]:
    """All whole entries; raises ValueError for a file that is no such log."""
    found = []
    size_bytes = log.stat().st_size
    with log.open("rb") as source:
        magic, version, _, sector = SUPER.unpack(source.read(SUPER.size))
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError(f"{log} is no log of writes")
        at = sector
        while at + sector <= size_bytes:
            source.seek(at)
            place, count, flags, _ = ENTRY.unpack(source.read(ENTRY.size))
            length = 0 if flags & DISCARD else count * sector
            if at + sector + length > size_bytes:
                break
            begin = place * sector
            found.append(Entry(begin, length, bool(flags & FLUSH), at + sector, at + sector + length))
            at += sector + length
    return tuple(found)


def durable(entries: Sequence[Entry], cut: int) -> int:
    """How many of the first `cut` entries no power cut takes away: all up to the last flush."""
    return next((number for number in range(cut, 0, -1) if entries[number - 1].flush), 0)


def lose(entries: Sequence[Entry], cut: int, chance: random.Random) -> Loss:
    """What is left of the writes that were in the disk's cache: some of them, one of them in part."""
    open_ones = [n for n in range(durable(entries, cut), cut) if entries[n].size_bytes]
    kept = tuple(n for n in open_ones if chance.random() < 0.5)
    if not kept:
        return Loss((), None)
    torn = chance.choice(kept)
    sectors = entries[torn].size_bytes // SECTOR_BYTES
    return Loss(kept, torn, chance.randint(0, sectors) * SECTOR_BYTES)


class Replay:
    """A disk that is brought from cut to cut; cuts come in their order."""

    def __init__(self, log: Path, disk: Path) -> None:
        self.log, self.disk, self.done = log, disk, 0
        self.entries = read(log)

    def forward(self, cut: int) -> None:
        """Write what is durable at this cut."""
        until = durable(self.entries, cut)
        self._write(self.disk, ((n, self.entries[n].size_bytes) for n in range(self.done, until)))
        self.done = until

    def finish(self, disk: Path, loss: Loss) -> None:
        """Write what came to a copy of the disk beside that."""
        sizes = ((n, loss.torn_bytes if n == loss.torn else self.entries[n].size_bytes) for n in loss.kept)
        self._write(disk, sizes)

    def _write(self, disk: Path, numbers: Iterator[tuple[int, int]]) -> None:
        with self.log.open("rb") as source, disk.open("r+b") as sink:
            for number, size_bytes in numbers:
                _copy(source, sink, self.entries[number], size_bytes)


def _copy(source: BinaryIO, sink: BinaryIO, entry: Entry, size_bytes: int) -> None:
    source.seek(entry.data_at)
    sink.seek(entry.offset_bytes)
    sink.write(source.read(size_bytes))
