"""The disk label of Sun machines, which Open Firmware and Linux read: eight partitions by cylinder. Pure."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import Problem

SECTOR = 512
HEADS, SECTORS = 16, 63
CYLINDER_BYTES = HEADS * SECTORS * SECTOR
PARTITIONS = 8
WHOLE_DISK = 2
"""The third partition is the whole disk by custom, and tools complain without it."""
MAGIC, SANE, VERSION = 0xDABE, 0x600DDEEE, 1
UNUSED, BOOT, ROOT, SWAP, BACKUP, LINUX = 0x00, 0x01, 0x02, 0x03, 0x05, 0x83
RPM, INTERLEAVE = 5400, 1


@dataclass(frozen=True)
class Slice:
    """A partition in whole cylinders."""

    tag: int
    first: int
    cylinders: int

    @property
    def first_sector(self) -> int:
        return self.first * HEADS * SECTORS


def plan(disk_bytes: int, wanted: Sequence[tuple[int, int | None]]) -> dict[int, Slice]:
    """Slices by their place (0 to 7) for (tag, bytes) in order; None: the rest, and only for the last.

    The first cylinder is left out: it holds the label, and a boot block where firmware looks for one. Raises
    Problem when they do not fit.
    """
    last = disk_bytes // CYLINDER_BYTES
    places = [place for place in range(PARTITIONS) if place != WHOLE_DISK]
    if len(wanted) > len(places):
        raise Problem(f"a Sun disk label has room for {len(places)} partitions, {len(wanted)} are wanted")
    found = {WHOLE_DISK: Slice(BACKUP, 0, last)}
    at = 1
    for place, (tag, size) in zip(places, wanted, strict=False):
        cylinders = last - at if size is None else -(-size // CYLINDER_BYTES)
        if cylinders < 1 or at + cylinders > last:
            raise Problem(
                f"the disk has {last} cylinders of {CYLINDER_BYTES} bytes, too few for its partitions",
                hint="take a bigger disk or make the partitions smaller",
            )
        found[place] = Slice(tag, at, cylinders)
        at += cylinders
    return found


def label(disk_bytes: int, slices: dict[int, Slice]) -> bytes:
    """The first sector of a disk of this size."""
    none = Slice(UNUSED, 0, 0)
    each = [slices.get(place, none) for place in range(PARTITIONS)]
    cylinders = disk_bytes // CYLINDER_BYTES
    head = b"DistServer".ljust(128, b"\0")
    tags = b"".join(struct.pack(">HH", one.tag, 0) for one in each)
    table = struct.pack(">I8sH", VERSION, b"", PARTITIONS) + tags
    table += struct.pack(">H12sI", 0, b"", SANE)
    geometry = struct.pack(">HHHHHHHHH", RPM, cylinders, 0, 0, 0, INTERLEAVE, cylinders, 0, HEADS)
    geometry += struct.pack(">H4s", SECTORS, b"")
    places = b"".join(struct.pack(">II", one.first, one.cylinders * HEADS * SECTORS) for one in each)
    sector = (head + table).ljust(SECTOR - 2 - 2 - len(places) - len(geometry), b"\0") + geometry + places
    sector += struct.pack(">H", MAGIC)
    words = struct.unpack(f">{len(sector) // 2}H", sector)
    checksum = 0
    for word in words:
        checksum ^= word
    return sector + struct.pack(">H", checksum)
