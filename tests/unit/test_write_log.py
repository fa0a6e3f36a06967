"""What a power cut leaves of a disk's writes."""

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.write_log import DISCARD, FLUSH, MAGIC, SECTOR_BYTES, Entry, Replay, durable, lose, read


def log_of(place: Path, entries: list[tuple[int, bytes, int]]) -> Path:
    """Sector, content and flags of each, as QEMU writes them down."""
    file = place / "log"
    found = [struct.pack("<QQQI", MAGIC, 1, len(entries), SECTOR_BYTES).ljust(SECTOR_BYTES, b"\0")]
    for sector, content, flags in entries:
        head = struct.pack("<QQQQ", sector, len(content) // SECTOR_BYTES, flags, 0)
        found += [head.ljust(SECTOR_BYTES, b"\0"), content]
    file.write_bytes(b"".join(found))
    return file


def sectors(*values: int) -> bytes:
    return b"".join(bytes([value]) * SECTOR_BYTES for value in values)


def test_what_was_flushed_is_there_and_of_the_rest_a_part(tmp_path: Path) -> None:
    log = log_of(tmp_path, [(0, sectors(1, 2), 0), (0, b"", FLUSH), (1, sectors(3), 0), (2, sectors(4), 0)])
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.write_bytes(bytes(4 * SECTOR_BYTES))
    replay = Replay(log, disk)
    replay.forward(4)
    assert disk.read_bytes() == sectors(1, 2, 0, 0)
    seen = set()
    for seed in range(40):
        copy.write_bytes(disk.read_bytes())
        replay.finish(copy, lose(replay.entries, 4, random.Random(seed)))
        seen.add(copy.read_bytes())
    assert seen == {sectors(1, second, third, 0) for second in (2, 3) for third in (0, 4)}


def test_a_write_can_be_torn_between_sectors(tmp_path: Path) -> None:
    log = log_of(tmp_path, [(0, sectors(7, 7, 7), 0)])
    disk = tmp_path / "disk"
    seen = set()
    for seed in range(80):
        disk.write_bytes(bytes(3 * SECTOR_BYTES))
        replay = Replay(log, disk)
        replay.finish(disk, lose(replay.entries, 1, random.Random(seed)))
        seen.add(disk.read_bytes().count(7) // SECTOR_BYTES)
    assert seen == {0, 1, 2, 3}


def test_a_log_that_was_cut_off_itself_ends_at_its_last_whole_entry(tmp_path: Path) -> None:
    log = log_of(tmp_path, [(0, sectors(1), 0), (5, b"", DISCARD), (1, sectors(2, 3), 0)])
    assert [one.offset_bytes for one in read(log)] == [0, 5 * SECTOR_BYTES, SECTOR_BYTES]
    log.write_bytes(log.read_bytes()[:-1])
    assert len(read(log)) == 2


def test_another_file_is_no_log(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="no log of writes"):
        read(file)


@given(st.lists(st.booleans(), max_size=30), st.data())
def test_nothing_is_lost_that_a_flush_followed(flushes: list[bool], data: st.DataObject) -> None:
    entries = [Entry(0, 0 if flush else SECTOR_BYTES, flush, 0, 0) for flush in flushes]
    cut = data.draw(st.integers(0, len(entries)))
    safe = durable(entries, cut)
    assert not any(one.flush for one in entries[safe:cut])
    assert safe == 0 or entries[safe - 1].flush
    loss = lose(entries, cut, random.Random(0))
    assert all(safe <= number < cut for number in loss.kept)
