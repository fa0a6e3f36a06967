"""The picture of a disk: every partition is seen, large ones are wider, and nothing is outside."""

from dataclasses import replace
from itertools import pairwise

import pytest

from appliance.disk_plan import PlannedDisk, Slice
from appliance.model import NO_TABLE, Disk, DiskPartition
from appliance.profile_model import Partition
from webui.disk_picture import LEAST, WIDTH, draw, draw_now

GIB = 1 << 30
MIB = 1 << 20


def plan(*sizes: int) -> PlannedDisk:
    pieces = tuple(
        Slice(Partition(f"p{number}", size), f"/dev/vda{number}", 0, size, "L")
        for number, size in enumerate(sizes, 1)
    )
    return PlannedDisk(Disk("/dev/vda", sum(sizes)), pieces)


@pytest.mark.parametrize("sizes", [(1 << 20, 8 << 40), (GIB,), (1, 2, 3, 4), tuple(range(1, 129))])
def test_blocks_lie_side_by_side_over_the_whole_width(sizes: tuple[int, ...]) -> None:
    blocks = draw(plan(*sizes))
    assert [block.number for block in blocks] == list(range(1, len(sizes) + 1))
    for block, after in pairwise(blocks):
        assert block.left + block.width == pytest.approx(after.left, abs=0.2)
    assert blocks[0].left == 0
    assert blocks[-1].left + blocks[-1].width == pytest.approx(WIDTH, abs=0.2)


def test_the_smallest_partition_has_room_for_its_number_and_the_largest_is_the_widest() -> None:
    small, large = draw(plan(1 << 20, 8 << 40))
    assert small.width == pytest.approx(LEAST, abs=0.2)
    assert large.width > 900


def test_a_disk_without_partitions_is_no_picture() -> None:
    assert draw(replace(plan(GIB), slices=())) == ()


def now(*parts: tuple[str, int, int], table: str = "gpt", size: int = GIB) -> list[tuple[str, int]]:
    """Path and size of what is seen of a disk; the path of free space is empty."""
    found = tuple(DiskPartition(path, start, length) for path, start, length in parts)
    seen = draw_now(Disk("/dev/sda", size, table=table, partitions=found))
    assert [one.block.number for one in seen] == list(range(1, len(seen) + 1))
    return [(one.partition.path if one.partition else "", one.size_bytes) for one in seen]


def test_partitions_are_drawn_in_their_order_with_what_is_free_between_and_behind_them() -> None:
    seen = now(("/dev/sda2", 512 * MIB, 256 * MIB), ("/dev/sda1", MIB, 255 * MIB))
    assert seen == [
        ("/dev/sda1", 255 * MIB),
        ("", 256 * MIB),
        ("/dev/sda2", 256 * MIB),
        ("", 256 * MIB),
    ]


def test_what_alignment_leaves_is_not_called_free() -> None:
    assert now(("/dev/sda1", MIB, GIB - 2 * MIB)) == [("/dev/sda1", GIB - 2 * MIB)]


def test_a_file_system_without_a_table_is_the_whole_disk() -> None:
    assert now(("/dev/sda", 0, GIB), table=NO_TABLE) == [("/dev/sda", GIB)]


def test_a_blank_disk_is_free_and_one_that_was_not_reported_is_no_picture() -> None:
    assert now(table=NO_TABLE) == [("", GIB)]
    assert now(table="") == []


def test_partitions_that_overlap_or_leave_the_disk_or_have_no_size_are_drawn_all_the_same() -> None:
    odd = ("/dev/sda1", 0, 0), ("/dev/sda2", 10, 8 * GIB), ("/dev/sda3", 5, 9 * GIB)
    assert [path for path, _ in now(*odd)] == ["/dev/sda1", "/dev/sda3", "/dev/sda2"]
    assert now(("/dev/sda1", 0, 0), size=0) == [("/dev/sda1", 0)]
