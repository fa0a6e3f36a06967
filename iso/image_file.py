"""Judges an image before a stick is written with it: is it one, is it whole, which medium is it."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import medium as description
from appliance.errors import Problem
from appliance.medium import DESCRIPTION, Medium
from iso.iso9660 import Node, Read, content, find, read_volume, walk
from iso.partitions import HEADER, SECTOR_BYTES

MOST_DESCRIPTION_BYTES = 4 * 1024 * 1024
MOST_ENTRIES_BYTES = 1024 * 1024
CHUNK = 4 * 1024 * 1024
AGAIN = "make or copy it again"
Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


@dataclass(frozen=True)
class ImageFile:
    """An image that is whole as far as its own structures tell."""

    path: Path
    size_bytes: int
    label: str
    medium: Medium | None
    """None: an image of somebody else."""
    files: Mapping[str, Node]


@contextmanager
def reading(path: Path) -> Iterator[tuple[Read, int]]:
    """A file's bytes by offset, and its size."""
    if not path.is_file():
        raise Problem(f"{path} is no file", hint="name an image that `distserver iso` made")
    with path.open("rb") as file:
        yield lambda offset, size: os.pread(file.fileno(), size, offset), path.stat().st_size


def read_medium(read: Read) -> Medium | None:
    """Which DistServer medium this is, if it is one. Raises Problem when its description is damaged."""
    volume = read_volume(read)
    found = find(read, volume.root, DESCRIPTION) if volume else None
    if found is None or found.directory or found.size_bytes > MOST_DESCRIPTION_BYTES:
        return None
    return description.parse(content(read, found).decode("ascii", errors="replace"))


def examine(path: Path) -> ImageFile:
    """What an image is; raises Problem when it is none, is cut short, or would not boot from a stick."""
    with reading(path) as (read, size):
        volume = read_volume(read)
        if volume is None:
            raise Problem(f"{path} is no ISO image", hint="name an image that `distserver iso` made")
        if size < volume.size_bytes:
            text = f"{path} is cut short: it has {size} bytes, expected {volume.size_bytes}"
            raise Problem(text, hint=AGAIN)
        if size % SECTOR_BYTES:
            raise Problem(f"{path} is cut short: {size} bytes are no whole number of sectors", hint=AGAIN)
        _check_partitions(path, read, size)
        files = dict(walk(read, volume.root))
        for name, node in files.items():
            if any(offset + length > size for offset, length in node.pieces):
                raise Problem(f"{path} is cut short: {name} lies beyond its end", hint=AGAIN)
        return ImageFile(path, size, volume.label, read_medium(read), files)


def _check_partitions(path: Path, read: Read, size: int) -> None:
    """A hybrid image has a partition table, and a GPT has a backup that ends the image."""
    first = read(0, SECTOR_BYTES)
    if first[510:512] != b"\x55\xaa" or not any(first[446:510]):
        text = f"{path} is an image for CDs only: it has no partition table that firmware boots a stick by"
        raise Problem(text, hint="name an image that `distserver iso` made")
    if read(SECTOR_BYTES, 8) != b"EFI PART":
        return
    first_place, last_place, entries = _gpt(path, read, 1, "partition table")
    backup = _gpt(path, read, last_place, "copy of its partition table")
    if backup != (last_place, first_place, entries):
        raise Problem(f"{path} is damaged: its two partition tables are not the same", hint=AGAIN)


def _gpt(path: Path, read: Read, sector: int, what: str) -> tuple[int, int, int]:
    """Its own sector, that of its copy, and the checksum of its entries (UEFI 2.10, 5.3.2)."""
    block = read(sector * SECTOR_BYTES, SECTOR_BYTES)
    damaged = Problem(f"{path} is damaged or cut short: its {what} is not right", hint=AGAIN)
    if len(block) < SECTOR_BYTES or block[:8] != b"EFI PART":
        raise damaged
    _, _, length, checksum, _, own, other, _, _, _, array, count, each, entries = HEADER.unpack_from(block)
    if not HEADER.size <= length <= SECTOR_BYTES or count * each > MOST_ENTRIES_BYTES:
        raise damaged
    plain = block[:16] + bytes(4) + block[20:length]
    if zlib.crc32(plain) != checksum or zlib.crc32(read(array * SECTOR_BYTES, count * each)) != entries:
        raise damaged
    return own, other, entries


def verify(image: ImageFile, expected: Mapping[str, tuple[int, str]], progress: Progress) -> int:
    """Compare files of an image with what its manifests say; how many bytes were compared.

    `expected`: path -> (bytes, SHA-256). Raises Problem that names the first file that is missing or another.
    """
    for path, (size, _) in expected.items():
        node = image.files.get(path)
        if node is None or node.size_bytes != size:
            what = "is missing" if node is None else f"has {node.size_bytes} bytes, expected {size}"
            raise Problem(f"{image.path} is damaged: {path} {what}", hint=AGAIN)
    # Equal files are one extent on the medium: each is read once, in the order of the medium.
    extents = {image.files[path].pieces: (sha256, path) for path, (_, sha256) in sorted(expected.items())}
    total, done = sum(size for pieces in extents for _, size in pieces), 0
    with reading(image.path) as (read, _):
        for pieces, (sha256, path) in sorted(extents.items()):
            seen = hashlib.sha256()
            for chunk in _chunks(read, pieces):
                seen.update(chunk)
                done += len(chunk)
                progress(done, total)
            if seen.hexdigest() != sha256:
                raise Problem(f"{image.path} is damaged: {path} has another SHA-256", hint=AGAIN)
    return done


def _chunks(read: Read, pieces: tuple[tuple[int, int], ...]) -> Iterator[bytes]:
    for offset, size in pieces:
        for place in range(offset, offset + size, CHUNK):
            yield read(place, min(CHUNK, offset + size - place))
