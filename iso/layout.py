"""What goes where on a medium: the names of its three trees and the blocks of its files."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.errors import Problem

BLOCK_BYTES = 2048
ALIGNED_BLOCKS = 2
"""Files begin at multiples of 4 KiB: copy_file_range can then share their blocks instead of copying (btrfs,
XFS), and a partition over the UEFI image is aligned."""

BIOS_PATH = "boot/grub/bios.img"
EFI_PATH = "efi.img"
CATALOG_PATH = "boot/grub/boot.cat"
"""What El Torito starts is also a file, so that every block of a medium has a name."""

LABEL_LENGTH = 32
ISO_FILE_LENGTH = 30
"""Name and extension together, without the dot and the version (ECMA-119 7.5.1)."""
ISO_DIRECTORY_LENGTH = 31
EXTENSION_LENGTH = 8
JOLIET_LENGTH = 64
ROCK_RIDGE_LENGTH = 255
NOT_D_CHARACTERS = re.compile(r"[^A-Z0-9_]")
NOT_JOLIET = re.compile(r'[^ -~]|[*/:;?\\<>|"]')


@dataclass(frozen=True)
class Image:
    """All that a medium is made of; two equal ones are the same bytes.

    `files` maps paths on the medium to what they hold. `bios` is GRUB's El Torito core, `mbr` its
    boot_hybrid.img, `efi` a FAT image below 32 MiB; what is None cannot be booted from. `made_at` (seconds
    since the epoch) is the time of everything on the medium. The label is ISO 9660's: `volume_label`.
    """

    label: str
    files: Mapping[str, Path | bytes]
    bios: bytes | None
    efi: Path | None
    mbr: bytes | None
    made_at: int


@dataclass(frozen=True)
class Place:
    """One file or directory: its path on the medium (Rock Ridge), in the plain ISO tree and in Joliet's."""

    path: str
    iso: str
    joliet: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


@dataclass(frozen=True)
class Tree:
    """Every directory after the one it lies in, and every file; both sorted by path."""

    directories: tuple[Place, ...]
    files: tuple[Place, ...]


def volume_label(text: str) -> str:
    """The nearest text that a volume may be called: 32 of A-Z, 0-9 and _ (ECMA-119 8.4.7, d-characters)."""
    return _d_characters(text)[:LABEL_LENGTH]


def contents(image: Image) -> dict[str, Path | bytes]:
    """Every file of the medium with its boot images, sorted; Problem when the image cannot be."""
    if not image.label or image.label != volume_label(image.label):
        raise Problem(
            f"{image.label!r} cannot be the label of a volume",
            hint=f"take 1 to {LABEL_LENGTH} of A to Z, 0 to 9 and _: {volume_label(image.label) or 'SITE'}",
        )
    if image.mbr is not None and image.bios is None:
        raise Problem("an MBR that starts GRUB needs a BIOS image to start")
    files = dict(image.files)
    boot = {BIOS_PATH: image.bios, EFI_PATH: image.efi}
    for path in (*boot, CATALOG_PATH):
        if path in files:
            raise Problem(f"{path} is made by the writer", hint="give that file another name")
    files |= {path: content for path, content in boot.items() if content is not None}
    return dict(sorted(files.items()))


def lay_out(paths: Iterable[str]) -> Tree:
    """Names for all three trees; names that ISO 9660 or Joliet cannot tell apart get a number."""
    files = set(paths)
    for path in sorted(files):
        _check(path)
    directories = {str(up) for path in files for up in PurePosixPath(path).parents} - {"."}
    for path in sorted(files & directories):
        raise Problem(f"{path} is both a file and a directory on the medium")
    iso, joliet = {".": ""}, {".": ""}
    taken: dict[tuple[str, str], dict[str, int]] = {}
    for path in sorted(files | directories):
        here = PurePosixPath(path)
        up = str(here.parent)
        shape = _iso_file if path in files else _iso_directory
        iso[path] = f"{iso[up]}/{_unique(here.name, shape, taken.setdefault(('iso', up), {}))}"
        joliet[path] = f"{joliet[up]}/{_unique(here.name, _joliet, taken.setdefault(('joliet', up), {}))}"
    return Tree(
        tuple(Place(path, iso[path], joliet[path]) for path in sorted(directories)),
        tuple(Place(path, f"{iso[path]};1", joliet[path]) for path in sorted(files)),
    )


def blocks(sizes: Iterable[int], first: int) -> list[int]:
    """The first block of each file of so many bytes, one behind the other from block `first` on."""
    found = []
    for size in sizes:
        first += -first % ALIGNED_BLOCKS
        found.append(first)
        first += -(-size // BLOCK_BYTES)
    return found


def _check(path: str) -> None:
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise Problem(f"{path!r} is no path on a medium", hint="as in boot/grub/grub.cfg, without / in front")
    for part in parts:
        if len(part.encode()) > ROCK_RIDGE_LENGTH:
            raise Problem(f"{part!r} is longer than a name on a medium may be ({ROCK_RIDGE_LENGTH} bytes)")


def _d_characters(text: str) -> str:
    return NOT_D_CHARACTERS.sub("_", text.upper())


def _unique(name: str, shape: Callable[[str, str], str], taken: dict[str, int]) -> str:
    """`name` in this shape, with the lowest number behind it that nobody else in the directory has."""
    plain = shape(name, "")
    count, found = taken.get(plain.casefold(), 0), plain
    while found.casefold() in taken:
        count += 1
        found = shape(name, str(count))
    taken[plain.casefold()] = count
    taken.setdefault(found.casefold(), 0)
    return found


def _split(name: str) -> tuple[str, str]:
    stem, _, extension = name.rpartition(".")
    if not stem or not 0 < len(extension) <= EXTENSION_LENGTH:
        return name, ""
    return stem, extension


def _iso_file(name: str, number: str) -> str:
    stem, extension = (_d_characters(part) for part in _split(name))
    return f"{stem[: ISO_FILE_LENGTH - len(extension) - len(number)]}{number}.{extension}"


def _iso_directory(name: str, number: str) -> str:
    return _d_characters(name)[: ISO_DIRECTORY_LENGTH - len(number)] + number


def _joliet(name: str, number: str) -> str:
    stem, extension = _split(NOT_JOLIET.sub("_", name))
    end = f"{number}.{extension}" if extension else number
    return stem[: JOLIET_LENGTH - len(end)] + end
