"""Writes the image of a medium; the only user of pycdlib."""

import errno
import fcntl
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from pycdlib import PyCdlib
from pycdlib.dates import DirectoryRecordDate, VolumeDescriptorDate
from pycdlib.dr import DirectoryRecord
from pycdlib.headervd import PrimaryOrSupplementaryVD
from pycdlib.inode import Inode

from appliance import durable
from appliance.errors import Problem
from iso import layout, partitions
from iso.layout import BIOS_PATH, BLOCK_BYTES, CATALOG_PATH, EFI_PATH, Image, Place, Tree
from iso.payload import Content, Copier, put, survey

APPLICATION = "DISTSERVER"
FILE_MODE, DIRECTORY_MODE = 0o100444, 0o040555
UEFI_PLATFORM = 0xEF
BIOS_LOAD_SECTORS = 4
EFI_MOST_SECTORS = 0xFFFF
"""El Torito's sector count has 16 bits (El Torito 1.0, section 2.2)."""
JOLIET_LABEL_LENGTH = 16
MODIFIED_AT = 830
"""Where a volume descriptor has the time of its modification (ECMA-119 8.4.27)."""
NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Written:
    """A finished image."""

    size_bytes: int
    sha256: str


def silent(done_bytes: int, total_bytes: int) -> None:
    """The progress callback of who does not look."""


def write_image(image: Image, output: Path, progress: Callable[[int, int], None] = silent) -> Written:
    """Write the image of a medium, all or nothing; the same Image gives the same bytes.

    `progress` is told the bytes done and those of the whole image. Problem: a name, label or boot image
    that cannot be, a file that is not there or changes meanwhile, no space. What was there under the name
    of `output` stays until the new image is complete and on the disk.
    """
    files = _files(image)
    with _partial(output) as target:
        medium = author(image, files, target)
        # A disk that is too small says so before anything is copied.
        os.posix_fallocate(target.fileno(), 0, medium.size_bytes)
        copier = Copier(target.fileno(), medium.size_bytes, progress)
        return Written(medium.size_bytes, copier.fill(medium.placed))


def _files(image: Image) -> dict[str, Content]:
    files = survey(layout.contents(image))
    if image.efi is not None and not 0 < _sectors(files[EFI_PATH]) <= EFI_MOST_SECTORS:
        raise Problem(
            f"{image.efi} has {files[EFI_PATH].size} bytes, but firmware starts less than 32 MiB from a CD",
            hint="make a smaller FAT image for UEFI" if files[EFI_PATH].size else "it is empty",
        )
    return files


@dataclass(frozen=True)
class Authored:
    """An image that has everything but the content of its files, which goes to these offsets."""

    size_bytes: int
    placed: tuple[tuple[int, Content], ...]


def author(image: Image, files: Mapping[str, Content], target: BinaryIO) -> Authored:
    """Write all that makes a medium of these files: volume descriptors, directories, boot records, GPT."""
    catalog = [CATALOG_PATH] if {BIOS_PATH, EFI_PATH} & files.keys() else []
    iso = PyCdlib()
    inodes = _describe(iso, image.label, layout.lay_out([*files, *catalog]), files)
    starts, total_blocks = _place(iso, inodes, files)
    _stamp(iso, image.made_at)
    _write_metadata(iso, target, image.made_at)
    iso.close()
    size_bytes = total_blocks * BLOCK_BYTES
    disk = _disk(image, files, starts, size_bytes)
    bios_block = starts.get(BIOS_PATH, 0)
    put(target.fileno(), partitions.system_area(disk, mbr=image.mbr, bios_block=bios_block), 0)
    tail = partitions.backup(disk)
    put(target.fileno(), tail, size_bytes - len(tail))
    placed = {start: files[path] for path, start in starts.items()}
    if image.bios is not None:
        placed[bios_block] = replace(files[BIOS_PATH], source=partitions.boot_image(image.bios, bios_block))
    return Authored(
        size_bytes, tuple((block * BLOCK_BYTES, content) for block, content in sorted(placed.items()))
    )


def _sectors(content: Content) -> int:
    return -(-content.size // partitions.SECTOR_BYTES)


@contextmanager
def _partial(output: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name of `output` when the block ends well, and is gone when it does not."""
    part = output.with_name(f".{output.name}.partial")
    try:
        with part.open("ab") as lock:
            _hold(lock, part, output)
            try:
                with part.open("wb+") as target:
                    yield target
                    os.fsync(target.fileno())
                part.replace(output)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        durable.sync(output.parent)
    except OSError as no:
        if no.errno in NO_SPACE:
            raise Problem(f"there is no space for {output}: {no.strerror}") from no
        if no.filename in (str(part), str(output), str(output.parent)):
            raise Problem(f"{output} cannot be written: {no.strerror}") from no
        raise


def _hold(lock: BinaryIO, part: Path, output: Path) -> None:
    """Be the only one who writes `part`; Problem when somebody else does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who opened it just before it was renamed would hold a finished image.
        ours = os.path.samestat(os.fstat(lock.fileno()), part.stat())
    except (BlockingIOError, FileNotFoundError):
        ours = False
    if not ours:
        raise Problem(f"{output} is being written by somebody else", hint="wait until that is done")


def _describe(iso: PyCdlib, label: str, tree: Tree, files: Mapping[str, Content]) -> dict[str, Inode]:
    """Tell pycdlib what is on the medium, without content; returns where it keeps the place of each file."""
    iso.new(
        interchange_level=3,
        vol_ident=label[:JOLIET_LABEL_LENGTH],
        app_ident_str=APPLICATION,
        joliet=3,
        rock_ridge="1.09",
    )
    iso.pvd.volume_identifier = label.encode().ljust(layout.LABEL_LENGTH)
    for place in tree.directories:
        iso.add_directory(place.iso, rr_name=place.name, joliet_path=place.joliet, file_mode=DIRECTORY_MODE)
    inodes, nothing = {}, io.BytesIO()
    places = {place.path: place for place in tree.files}
    for path, place in places.items():
        if path == CATALOG_PATH:
            continue
        iso.add_fp(
            nothing,
            files[path].size,
            place.iso,
            rr_name=place.name,
            joliet_path=place.joliet,
            file_mode=FILE_MODE,
        )
        inodes[path] = iso.inodes[-1]
    _add_boot_images(iso, places, files)
    iso.force_consistency()
    return inodes


def _add_boot_images(iso: PyCdlib, places: Mapping[str, Place], files: Mapping[str, Content]) -> None:
    def add(path: str, sectors: int, *, efi: bool) -> None:
        catalog = places[CATALOG_PATH]
        iso.add_eltorito(
            places[path].iso,
            bootcatfile=catalog.iso,
            rr_bootcatname=catalog.name,
            joliet_bootcatfile=catalog.joliet,
            boot_load_size=sectors,
            platform_id=UEFI_PLATFORM if efi else 0,
            efi=efi,
        )

    if BIOS_PATH in files:
        add(BIOS_PATH, BIOS_LOAD_SECTORS, efi=False)
    if EFI_PATH in files:
        add(EFI_PATH, _sectors(files[EFI_PATH]), efi=True)


def _place(
    iso: PyCdlib, inodes: Mapping[str, Inode], files: Mapping[str, Content]
) -> tuple[dict[str, int], int]:
    """Give equal contents the same blocks, behind the directories; returns those and the image's blocks.

    pycdlib has given every file blocks of its own: its hard links hold less than 4 GiB, and it aligns
    nothing. All of its data is behind all of its directories, so where that begins is where ours begins.
    """
    occupied = [inode.extent_location() for inode in inodes.values() if inode.get_data_length()]
    first = min(occupied, default=iso.pvd.space_size)
    boot = [path for path in (BIOS_PATH, EFI_PATH) if path in files]
    rest = [path for path in inodes if path not in boot]
    # The BIOS image is told where it lies, so it shares its blocks with no equal file.
    shared = {path: (files[path], path == BIOS_PATH) for path in boot + rest if files[path].size}
    extents = dict.fromkeys(shared.values())
    blocks = layout.blocks((content.size for content, _ in extents), first)
    start_of = dict(zip(extents, blocks, strict=True))
    starts = {path: start_of[extent] for path, extent in shared.items()}
    for path, start in starts.items():
        inodes[path].set_extent_location(start)
        for record, _ in inodes[path].linked_records:
            # A file of 4 GiB or more has several records, each for a part of it.
            block = start + getattr(record, "data_extent_offset", 0)
            record.set_data_location(block, block)
    used = max((start + -(-files[path].size // BLOCK_BYTES) for path, start in starts.items()), default=first)
    total = partitions.image_blocks(used)
    for volume in _volumes(iso):
        volume.space_size = total
    return starts, total


def _volumes(iso: PyCdlib) -> list[PrimaryOrSupplementaryVD]:
    assert iso.joliet_vd is not None
    return [iso.pvd, iso.joliet_vd]


def _volume_date(moment: int) -> bytes:
    return time.strftime("%Y%m%d%H%M%S00", time.gmtime(moment)).encode() + b"\0"


def _stamp(iso: PyCdlib, moment: int) -> None:
    """Let everything be made at that moment: pycdlib takes the clock and the time zone of its process."""
    utc = time.gmtime(moment)
    date = DirectoryRecordDate.from_fields(
        utc.tm_year - 1900, utc.tm_mon, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, 0
    )
    for volume in _volumes(iso):
        volume.volume_creation_date = volume.volume_effective_date = VolumeDescriptorDate()
        volume.volume_creation_date.parse(_volume_date(moment))
        records: list[DirectoryRecord] = [volume.root_directory_record()]
        while records:
            record = records.pop()
            records += record.children
            record.date = date
            if record.rock_ridge is None:
                continue
            for entries in (record.rock_ridge.dr_entries, record.rock_ridge.ce_entries):
                if entries is not None and entries.tf_record is not None:
                    entries.tf_record.access_time = date
                    entries.tf_record.modification_time = date
                    entries.tf_record.attribute_change_time = date


def _write_metadata(iso: PyCdlib, target: BinaryIO, moment: int) -> None:
    """Write all but the content of files; the image has its full length then.

    Content is copied by the kernel (iso/payload.py): through pycdlib it would be read and written in Python.
    What pycdlib has no words for is put into its bytes here: the time of modification, which it takes from
    the clock while it writes.
    """
    iso.inodes = []
    iso.write_fp(target)
    target.flush()
    for volume in _volumes(iso):
        put(target.fileno(), _volume_date(moment), volume.extent_location() * BLOCK_BYTES + MODIFIED_AT)


def _disk(
    image: Image, files: Mapping[str, Content], starts: Mapping[str, int], total_bytes: int
) -> partitions.Disk:
    told = "".join(f"{path} {files[path].size} {start}\n" for path, start in sorted(starts.items()))
    seed = sha256(f"{image.label} {image.made_at}\n{told}".encode()).digest()
    found: tuple[partitions.Partition, ...] = ()
    if image.efi is not None:
        first = starts[EFI_PATH] * partitions.SECTORS_A_BLOCK
        sectors = _sectors(files[EFI_PATH])
        found = (partitions.Partition(partitions.ESP, "EFI system partition", first, sectors),)
    return partitions.Disk(total_bytes // partitions.SECTOR_BYTES, seed, found)
