"""Mounts a release's trees and /etc/portage read-only from the machine's own copy; no server is needed."""

import fcntl
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from distserver_client import manifest, programs
from distserver_client.errors import Problem
from distserver_client.manifest import Manifest
from distserver_client.paths import Places

REPOSITORIES = "/var/db/repos"
PORTAGE = "/etc/portage"
WORLDS = ("world", "world_sets")
SECONDS = 60.0
MOUNTS = Path("/proc/self/mountinfo")
LOOP_GET_STATUS64, LOOP_INFO_BYTES = 0x4C05, 232
OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """An image of the cache and where it belongs."""

    image: Path
    place: str
    """Absolute, inside the machine's root."""


@dataclass(frozen=True)
class Mounted:
    """A line of /proc/self/mountinfo."""

    place: str
    kind: str
    source: str


def wanted(places: Places, release: Manifest) -> tuple[Mount, ...]:
    """What is mounted of a release; pure. /etc/portage last: with it Portage looks at the trees."""
    here = places.release(release.id)
    trees = tuple(
        Mount(here / manifest.tree(name), f"{REPOSITORIES}/{name}") for name in release.repositories
    )
    return (*trees, Mount(here / manifest.PORTAGE, PORTAGE))


def parse(text: str) -> tuple[Mounted, ...]:
    """mountinfo, proc(5): fields to a lone hyphen, then type and source; later lines lie over others."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        words, rest = before.split(" "), after.split(" ")
        if len(words) > 4 and len(rest) > 1:
            found.append(Mounted(octal(words[4]), rest[0], rest[1]))
    return tuple(found)


def load(places: Places, release: str) -> Manifest:
    """The manifest of a release that this machine keeps; it was verified when it came."""
    place = places.release(release) / "manifest"
    if not place.is_file():
        raise Problem(f"this machine has no copy of release {release}: there is no {place}")
    return manifest.parse(place.read_text())


def mount_all(places: Places, release: str) -> list[str]:
    """Mount what is not mounted yet and replace what is another release's; the places that were changed.

    Raises Problem after everything else was mounted when something could not be.
    """
    changed, wrong = [], []
    for one in wanted(places, load(places, release)):
        if shows(one.place, one.image):
            continue
        try:
            mount(one)
            changed.append(one.place)
        except Problem as problem:
            wrong.append(str(problem))
    if wrong:
        raise Problem("; ".join(wrong))
    return changed


def mount(one: Mount) -> None:
    """Put an image at its place, instead of one that is there."""
    if not one.image.is_file():
        raise Problem(f"{one.place} cannot be mounted: there is no {one.image}")
    while any(there.place == one.place and there.kind == "squashfs" for there in _mounted()):
        # Who still reads the old one goes on reading it.
        _call(["umount", "-l", one.place])
    put(one)


def put(one: Mount) -> None:
    """Mount an image over whatever is at its place."""
    Path(one.place).mkdir(parents=True, exist_ok=True)
    _call(["mount", "-t", "squashfs", "-o", "loop,ro,nodev,nosuid", str(one.image), one.place])


def is_mounted(places: Places, release: Manifest) -> dict[str, bool]:
    """Place -> is this release's own image there?"""
    return {one.place: shows(one.place, one.image) for one in wanted(places, release)}


def shows(place: str, image: Path) -> bool:
    """Is this image what is seen at a place? By its inode: releases share files, a name may be gone."""
    there = [one for one in _mounted() if one.place == place]
    if not there or there[-1].kind != "squashfs" or not image.is_file():
        return False
    try:
        return backing(there[-1].source) == _identity(image)
    except OSError:  # no loop device, or none that answers
        return False


def backing(device: str) -> tuple[int, int, int]:
    """Major, minor and inode of a loop device's file (struct loop_info64, linux/loop.h)."""
    handle = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        info = fcntl.ioctl(handle, LOOP_GET_STATUS64, bytes(LOOP_INFO_BYTES))
    finally:
        os.close(handle)
    number, inode = struct.unpack_from("=QQ", info)
    # new_encode_dev(), linux/kdev_t.h
    return number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00, inode


def _identity(image: Path) -> tuple[int, int, int]:
    found = image.stat()
    return os.major(found.st_dev), os.minor(found.st_dev), found.st_ino


def _mounted() -> tuple[Mounted, ...]:
    return parse(MOUNTS.read_text())


def _call(argv: list[str]) -> None:
    done = programs.run(argv, seconds=SECONDS)
    if done.status:
        raise Problem(f"{' '.join(argv)} failed: {done.last_line}")


def octal(word: str) -> str:
    """Spaces and the like are octal in mountinfo."""
    return OCTAL.sub(lambda found: chr(int(found[1], 8)), word)


def enter(places: Places, release: str, index: Path | None) -> None:
    """Make this process see a release, in a mount namespace of its own: nobody else does.

    `index`: a directory with the package index, and perhaps the worlds, seen instead of the machine's.
    """
    for one in wanted(places, load(places, release)):
        # mount(8) would refuse to put an image over itself.
        if not shows(one.place, one.image):
            put(one)
    if index:
        places.index.mkdir(parents=True, exist_ok=True)
        _call(["mount", "--bind", str(index), str(places.index)])
        for name in WORLDS:
            if (index / name).is_file():
                (places.world / name).touch()
                _call(["mount", "--bind", str(index / name), str(places.world / name)])
