"""A disk's partitions as a picture: one block each, wide as they are large, the smallest still seen. Pure."""

from dataclasses import dataclass

from appliance.disk_check import parts_of
from appliance.disk_model import MIB, DiskRole, Partition
from appliance.disk_plan import PlannedDisk
from appliance.model import Disk, DiskPartition, Firmware

WIDTH = 1000
LEAST = 28
"""A block with its number in it."""
LEAST_FREE = 4 * MIB
"""Less between partitions is what alignment leaves."""


@dataclass(frozen=True)
class Block:
    """A partition in a picture that is WIDTH wide."""

    number: int
    left: float
    width: float


@dataclass(frozen=True)
class Stretch:
    """A part of a disk as it is now; without a partition nothing is there that is known."""

    block: Block
    size_bytes: int
    partition: DiskPartition | None = None


def draw_now(disk: Disk) -> tuple[Stretch, ...]:
    """Partitions in their order, with what is free between and behind them; () when nothing was reported."""
    if not disk.table:
        return ()
    found: list[tuple[DiskPartition | None, int]] = []
    end = 0
    for one in sorted(disk.partitions, key=lambda one: (one.start_bytes, one.path)):
        if one.start_bytes - end >= LEAST_FREE:
            found.append((None, one.start_bytes - end))
        found.append((one, one.size_bytes))
        end = max(end, one.start_bytes + one.size_bytes)
    if disk.size_bytes - end >= LEAST_FREE or not found:
        found.append((None, max(disk.size_bytes - end, 0)))
    blocks = blocks_of([size for _, size in found])
    return tuple(Stretch(block, size, one) for block, (one, size) in zip(blocks, found, strict=True))


def draw(planned: PlannedDisk) -> tuple[Block, ...]:
    """The disk as the plan leaves it; what is between and behind the partitions is left out."""
    return blocks_of([piece.size_bytes for piece in planned.slices])


def draw_layout(layout: DiskRole, firmware: Firmware) -> tuple[tuple[Partition, Block], ...]:
    """The partitions that machines with this firmware get, on the smallest disk that matches.

    Where no smallest one is known the rest is as large as everything else.
    """
    chosen = parts_of(layout, firmware)
    known = sum(one.size_bytes or 0 for one in chosen)
    rest = max(layout.min_size_bytes - known, known, 1)
    blocks = blocks_of([rest if one.size_bytes is None else one.size_bytes for one in chosen])
    return tuple(zip(chosen, blocks, strict=True))


def blocks_of(sizes: list[int]) -> tuple[Block, ...]:
    spare = WIDTH - LEAST * len(sizes)
    if spare < 0:  # more than fit: all alike
        sizes, spare = [1] * len(sizes), WIDTH
        least = 0.0
    else:
        least = float(LEAST)
    # A machine may say that all of its partitions are empty.
    whole = sum(sizes) or 1
    blocks: list[Block] = []
    left = 0.0
    for number, size in enumerate(sizes, 1):
        width = least + spare * size / whole
        blocks.append(Block(number, round(left, 1), round(width, 1)))
        left += width
    return tuple(blocks)
