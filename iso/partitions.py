"""What makes an image bootable from a USB stick, and GRUB's boot image findable: bytes in, bytes out."""

import struct
import uuid
import zlib
from dataclasses import dataclass
from hashlib import sha256

from appliance.errors import Problem

SECTOR_BYTES = 512
SECTORS_A_BLOCK = 4
SYSTEM_AREA_BYTES = 32768
"""The first 16 blocks of 2048 bytes, which ISO 9660 leaves to others (ECMA-119 6.2.1)."""

ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ENTRIES, ENTRY_BYTES = 128, 128
ARRAY_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR_BYTES
FIRST_USABLE = 2 + ARRAY_SECTORS
BACKUP_SECTORS = ARRAY_SECTORS + 1
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
MBR_ENTRY = struct.Struct("<B3sB3sII")

PADDING_BLOCKS = 150
"""Behind the last file: Linux reads ahead, and CDs written track at once end in two unreadable blocks."""
ROUND_BLOCKS = 512
"""Images are whole MiB, so that tools which write large blocks write all of them."""

CODE_BYTES = 440
GRUB_MBR_LBA = 0x1B0
"""Where boot_hybrid.img has the sector of the core (GRUB, include/grub/i386/pc/boot.h, KERNEL_SECTOR under
HYBRID_BOOT); the core's first four sectors are cdboot.img, so the core proper is 4 sectors on."""
GRUB_CORE_LBA = 2048 + 0x1F4
"""Where diskboot.img, the fifth sector of the boot image, has the sector that follows it."""
INFO_TABLE = struct.Struct("<IIII40x")
INFO_TABLE_AT = 8
VOLUME_DESCRIPTOR_BLOCK = 16


@dataclass(frozen=True)
class Partition:
    """One GPT partition; `first` and `sectors` count sectors of 512 bytes."""

    kind: uuid.UUID
    name: str
    first: int
    sectors: int


@dataclass(frozen=True)
class Disk:
    """A whole image as a disk of `sectors`; GUIDs are made from `seed`, never by chance."""

    sectors: int
    seed: bytes
    partitions: tuple[Partition, ...] = ()

    def guid(self, what: str) -> uuid.UUID:
        return uuid.UUID(bytes=sha256(self.seed + what.encode()).digest()[:16], version=4)


def image_blocks(used: int) -> int:
    """How many blocks an image has whose files end before block `used`: padding and the backup GPT fit."""
    needed = used + PADDING_BLOCKS + -(-BACKUP_SECTORS // SECTORS_A_BLOCK)
    return needed + -needed % ROUND_BLOCKS


def system_area(disk: Disk, *, mbr: bytes | None, bios_block: int) -> bytes:
    """MBR, GPT and zeros: what stands before the first volume descriptor.

    `mbr` is GRUB's boot_hybrid.img or None, `bios_block` the block of the El Torito image that it loads.
    """
    table = _mbr(disk, mbr, bios_block) + _header(disk, primary=True)
    return (table + _array(disk)).ljust(SYSTEM_AREA_BYTES, b"\0")


def backup(disk: Disk) -> bytes:
    """The last BACKUP_SECTORS of the disk: the array again, then its header."""
    return _array(disk) + _header(disk, primary=False)


def boot_image(core: bytes, block: int) -> bytes:
    """GRUB's El Torito image for BIOS, told that it lies at `block`.

    cdboot.img reads the boot info table (mkisofs(8), "EL TORITO BOOT INFORMATION TABLE"), diskboot.img the
    64-bit sector that xorriso writes for --grub2-boot-info.
    """
    if len(core) < GRUB_CORE_LBA + 8:
        raise Problem(f"the BIOS boot image is {len(core)} bytes long, expected GRUB's cdboot.img and a core")
    image = bytearray(core)
    struct.pack_into("<Q", image, GRUB_CORE_LBA, block * SECTORS_A_BLOCK + 5)
    padded = bytes(image) + b"\0" * (-len(image) % 4)
    end = INFO_TABLE_AT + INFO_TABLE.size
    words = struct.unpack(f"<{(len(padded) - end) // 4}I", padded[end:])
    INFO_TABLE.pack_into(
        image, INFO_TABLE_AT, VOLUME_DESCRIPTOR_BLOCK, block, len(core), sum(words) & 0xFFFFFFFF
    )
    return bytes(image)


def _mbr(disk: Disk, code: bytes | None, bios_block: int) -> bytes:
    sector = bytearray(SECTOR_BYTES)
    if code is not None:
        if len(code) < CODE_BYTES:
            raise Problem(f"the MBR is {len(code)} bytes long, expected GRUB's boot_hybrid.img of 512")
        sector[:CODE_BYTES] = code[:CODE_BYTES]
        struct.pack_into("<Q", sector, GRUB_MBR_LBA, bios_block * SECTORS_A_BLOCK + 4)
    sector[CODE_BYTES : CODE_BYTES + 4] = disk.guid("mbr").bytes[:4]
    # edk2 and Linux believe a GPT only beside an entry of type 0xEE, not active, that begins at sector 1.
    protective = MBR_ENTRY.pack(0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, min(disk.sectors - 1, 0xFFFFFFFF))
    # Some BIOSes start only disks with an active partition. An entry of type 0 is none for everybody else
    # (xorriso --mbr-force-bootable).
    active = MBR_ENTRY.pack(0x80, b"\0\1\0", 0, b"\0\1\0", 0, 1)
    sector[446:478] = protective + active
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def _array(disk: Disk) -> bytes:
    entries = b"".join(
        ENTRY.pack(
            one.kind.bytes_le,
            disk.guid(f"partition {number}").bytes_le,
            one.first,
            one.first + one.sectors - 1,
            0,
            one.name.encode("utf-16-le"),
        )
        for number, one in enumerate(disk.partitions)
    )
    return entries.ljust(ENTRIES * ENTRY_BYTES, b"\0")


def _header(disk: Disk, *, primary: bool) -> bytes:
    last = disk.sectors - 1
    array = _array(disk)

    def packed(checksum: int) -> bytes:
        return HEADER.pack(
            b"EFI PART",
            0x00010000,
            HEADER.size,
            checksum,
            0,
            1 if primary else last,
            last if primary else 1,
            FIRST_USABLE,
            last - BACKUP_SECTORS,
            disk.guid("disk").bytes_le,
            2 if primary else last - ARRAY_SECTORS,
            ENTRIES,
            ENTRY_BYTES,
            zlib.crc32(array),
        )

    return packed(zlib.crc32(packed(0))).ljust(SECTOR_BYTES, b"\0")
