"""The partition tables of an image, read back as firmware reads them."""

import struct
import uuid
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from iso.partitions import (
    BACKUP_SECTORS,
    ESP,
    SYSTEM_AREA_BYTES,
    Disk,
    Partition,
    backup,
    boot_image,
    image_blocks,
    system_area,
)

DISKS = st.builds(
    lambda blocks, seed, first, size: Disk(
        blocks * 4, seed, (Partition(ESP, "EFI", first * 4, size),) if size else ()
    ),
    st.integers(0, 1 << 22).map(image_blocks),
    st.binary(max_size=32),
    st.integers(17, 200),
    st.integers(0, 500),
)


def read_gpt(sector_at: dict[int, bytes], lba: int) -> tuple[int, int, int, int, uuid.UUID, list[bytes]]:
    """What the header at `lba` says, after its checksums were found right: UEFI 2.10, section 5.3.2."""
    header = sector_at[lba]
    signature, _, size, checksum, _, here, other, first, last, guid, array, count, each, array_checksum = (
        struct.unpack_from("<8sIIIIQQQQ16sQIII", header)
    )
    assert (signature, size, count, each) == (b"EFI PART", 92, 128, 128)
    assert zlib.crc32(header[:16] + bytes(4) + header[20:92]) == checksum
    assert not any(header[92:])
    entries = b"".join(sector_at[array + number] for number in range(32))
    assert zlib.crc32(entries) == array_checksum
    assert here == lba
    used = [entries[at : at + 128] for at in range(0, len(entries), 128) if any(entries[at : at + 128])]
    return other, first, last, array, uuid.UUID(bytes_le=guid), used


def sectors(disk: Disk) -> dict[int, bytes]:
    head, tail = system_area(disk, mbr=None, bios_block=0), backup(disk)
    assert len(head) == SYSTEM_AREA_BYTES
    assert len(tail) == BACKUP_SECTORS * 512
    start = disk.sectors - BACKUP_SECTORS
    return {n: head[n * 512 : (n + 1) * 512] for n in range(64)} | {
        start + n: tail[n * 512 : (n + 1) * 512] for n in range(BACKUP_SECTORS)
    }


@given(DISKS)
def test_both_tables_are_valid_and_say_the_same(disk: Disk) -> None:
    found = sectors(disk)
    other, first, last, array, guid, entries = read_gpt(found, 1)
    assert (other, first, last, array) == (disk.sectors - 1, 34, disk.sectors - 34, 2)
    back, first_again, last_again, array_again, guid_again, entries_again = read_gpt(found, disk.sectors - 1)
    assert (back, array_again) == (1, disk.sectors - 33)
    assert (first_again, last_again, guid_again, entries_again) == (first, last, guid, entries)
    assert len(entries) == len(disk.partitions)
    for entry, one in zip(entries, disk.partitions, strict=True):
        kind, own, start, end, flags, name = struct.unpack("<16s16sQQQ72s", entry)
        assert (uuid.UUID(bytes_le=kind), flags) == (ESP, 0)
        assert (start, end) == (one.first, one.first + one.sectors - 1)
        assert name.decode("utf-16-le").rstrip("\0") == "EFI"
        assert uuid.UUID(bytes_le=own) != guid


@given(DISKS)
def test_the_mbr_protects_the_gpt(disk: Disk) -> None:
    mbr = sectors(disk)[0]
    entries = [struct.unpack_from("<BxxxBxxxII", mbr, 446 + 16 * number) for number in range(4)]
    assert entries == [(0, 0xEE, 1, disk.sectors - 1), (0x80, 0, 0, 1), (0, 0, 0, 0), (0, 0, 0, 0)]
    assert mbr[510:] == b"\x55\xaa"
    assert not any(mbr[:440])


@given(st.integers(0, 1 << 31))
def test_the_backup_and_the_padding_fit_behind_the_files(used: int) -> None:
    total = image_blocks(used)
    assert total % 512 == 0
    assert 150 <= total - BACKUP_SECTORS / 4 - used < 150 + 512


def test_an_image_of_more_than_2_tib_has_a_protective_entry_that_ends_early() -> None:
    mbr = sectors(Disk(1 << 33, b""))[0]
    assert struct.unpack_from("<I", mbr, 446 + 12) == (0xFFFFFFFF,)


def test_guids_come_from_the_seed_alone() -> None:
    one, again, other = (Disk(4096, seed) for seed in (b"a", b"a", b"b"))
    assert system_area(one, mbr=None, bios_block=0) == system_area(again, mbr=None, bios_block=0)
    assert one.guid("disk") != other.guid("disk")
    assert one.guid("disk").version == 4


def test_grubs_mbr_is_told_where_the_core_proper_is() -> None:
    code = bytes(range(256)) * 2
    area = system_area(Disk(4096, b""), mbr=code, bios_block=76)
    assert area[:0x1B0] == code[:0x1B0]
    assert struct.unpack_from("<Q", area, 0x1B0) == (76 * 4 + 4,)
    assert area[440:444] != code[440:444]
    with pytest.raises(Problem, match="439 bytes long"):
        system_area(Disk(4096, b""), mbr=code[:439], bios_block=76)


@given(st.binary(min_size=2556, max_size=2600), st.integers(17, 1 << 30))
def test_the_boot_image_knows_where_it_lies(core: bytes, block: int) -> None:
    image = boot_image(core, block)
    assert struct.unpack_from("<IIII", image, 8)[:3] == (16, block, len(core))
    assert struct.unpack_from("<Q", image, 2548) == (block * 4 + 5,)
    padded = image + bytes(-len(image) % 4)
    rest = sum(struct.unpack_from("<I", padded, at)[0] for at in range(64, len(padded), 4))
    assert struct.unpack_from("<I", image, 20) == (rest & 0xFFFFFFFF,)
    assert (image[:8], image[64:2548], image[2556:]) == (core[:8], core[64:2548], core[2556:])


def test_what_is_no_core_is_refused() -> None:
    with pytest.raises(Problem, match="2555 bytes long"):
        boot_image(bytes(2555), 20)
