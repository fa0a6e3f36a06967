"""Stacks of overlayfs layers: what shows through, and many layers made one."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

OPAQUE = "trusted.overlay.opaque"
OWN_ATTRIBUTES = "trusted.overlay."


@dataclass(frozen=True)
class Shown:
    """What a merged directory shows under one name."""

    places: tuple[Path, ...]
    """Several directories that are merged (the uppermost first), one other thing, or nothing."""
    closed: bool
    """Whatever lies under this name in still lower layers is hidden."""


def find(lowers: Sequence[Path], name: str) -> Path | None:
    """Where the thing lies that `name` means in the merged tree, the uppermost layer first in `lowers`.

    For a directory it is the uppermost one, whose mode and owner count. Links are not followed.
    """
    here = tuple(lowers)
    for part in PurePosixPath(name).parts:
        if part != "/":
            here = show(here, part).places
        if not here:
            return None
    return here[0]


def show(folders: Sequence[Path], name: str) -> Shown:
    """One name of a merged directory, by the rules of overlayfs.

    A character device 0:0 hides what is below it, an opaque directory what is below it, and a directory is
    merged with directories only (kernel: Documentation/filesystems/overlayfs.rst).
    """
    places: list[Path] = []
    for folder in folders:
        place = folder / name
        try:
            found = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if is_whiteout(found):
            return Shown(tuple(places), closed=True)
        if not stat.S_ISDIR(found.st_mode):
            return Shown(tuple(places) or (place,), closed=True)
        places.append(place)
        if is_opaque(place):
            return Shown(tuple(places), closed=True)
    return Shown(tuple(places), closed=False)


def is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def is_opaque(folder: Path) -> bool:
    try:
        return os.getxattr(folder, OPAQUE) == b"y"
    except OSError:  # no such attribute, or a file system without any
        return False


def flatten(lowers: Sequence[Path], target: Path) -> None:
    """Make `target` the one layer that shows what these show, over whatever lies under them.

    Everything but directories is a hard link: a layer is never written once it is committed, so they may
    share. Needs root, as overlayfs itself does for its attributes.
    """
    target.mkdir()
    _merge(lowers, target, hidden=False)
    _copy_status(lowers[0], target)


def _merge(folders: Sequence[Path], target: Path, *, hidden: bool) -> None:
    """`hidden`: nothing under this directory shows through any more, so that nothing need be hidden."""
    for name in sorted({place.name for folder in folders for place in folder.iterdir()}):
        shown = show(folders, name)
        place = target / name
        if not shown.places:
            if not hidden:
                os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))
        elif stat.S_ISDIR(shown.places[0].lstat().st_mode):
            place.mkdir()
            _merge(shown.places, place, hidden=hidden or shown.closed)
            _copy_status(shown.places[0], place)
            if shown.closed and not hidden:
                os.setxattr(place, OPAQUE, b"y")
        else:
            os.link(shown.places[0], place, follow_symlinks=False)


def _copy_status(source: Path, target: Path) -> None:
    """Owner, attributes, mode and times of a directory; what overlayfs noted for itself is left."""
    found = source.stat()
    os.chown(target, found.st_uid, found.st_gid)
    for name in os.listxattr(source):
        if not name.startswith(OWN_ATTRIBUTES):
            os.setxattr(target, name, os.getxattr(source, name))
    target.chmod(stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
