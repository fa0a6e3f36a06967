"""After a power cut in the middle of a merge: packages of which something did not come to the disk."""

import glob
import re
from pathlib import Path

from distserver_client.bases import SIBLING
from distserver_client.contents import Entry, Kind
from distserver_client.filedrift import entries, read_md5, records
from distserver_client.protection import Protection

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"
"""The MD5 of nothing."""
VITAL = ("SLOT", "EAPI", "BINPKGMD5")
"""Of a package's record; none of them is ever empty."""
WRITTEN = (
    "etc/csh.env", "etc/environment.d/10-gentoo-env.conf", "etc/ld.so.conf",
    "etc/prelink.conf.d/portage.conf", "etc/profile.env", "var/cache/edb/counter", "var/cache/edb/mtimedb",
    "var/lib/portage/config", "var/lib/portage/preserved_libs_registry", "var/lib/portage/world",
    "var/lib/portage/world_sets",
)  # fmt: skip
"""What Portage itself writes, and renames when it is written (portage.util.atomic_ofstream, env_update)."""
UNFINISHED = re.compile(r"[a-z0-9_]{8}")
"""What such a file has behind its name until then (tempfile.mkstemp)."""


def sweep(root: Path) -> None:
    """Remove the files that Portage began to write when it was cut off; it must not run."""
    for name in WRITTEN:
        place = root / name
        for beside in place.parent.glob(f"{glob.escape(place.name)}?*"):
            if UNFINISHED.fullmatch(beside.name.removeprefix(place.name)):
                beside.unlink()


def torn(root: Path, protection: Protection) -> tuple[str, ...]:
    """category/PF of installed packages that are to be merged again; reads every file of all of them.

    Portage's record of a merged package may be on the disk while contents of its files are not: nothing
    orders the two, and such a file is empty or short (ext4 and XFS allocate late). What a person may have
    changed or removed is looked at only where Portage laid its new version.
    """
    wrong: dict[str, str] = {}
    right: set[str] = set()
    broken = set()
    for name, record in records(root):
        if any(not _size(record.parent / field) for field in VITAL):
            broken.add(name)
        for entry in entries(record):
            if _is_whole(root, entry, protection):
                right.add(entry.path)
            else:
                wrong[entry.path] = name
    # Of two packages that have a path the later one's file is there.
    return tuple(sorted(broken | {name for path, name in wrong.items() if path not in right}))


def _is_whole(root: Path, entry: Entry, protection: Protection) -> bool:
    place = root / entry.path.lstrip("/")
    if entry.kind not in (Kind.FILE, Kind.LINK) or not entry.is_steady:
        return True
    if protection.covers(entry.path):
        return _is_offered(place, entry)
    if entry.kind is Kind.LINK:
        return place.is_symlink()
    return place.is_file() and read_md5(place) == entry.md5


def _is_offered(place: Path, entry: Entry) -> bool:
    """Is the newest version beside a protected file the shipped one; without any, is the file not empty?"""
    offered = (
        sorted(place.parent.glob(SIBLING.format(glob.escape(place.name)))) if place.parent.is_dir() else []
    )
    if entry.kind is Kind.LINK or place.is_symlink() or not (offered or place.is_file()):
        return True
    if offered:
        return read_md5(offered[-1]) == entry.md5
    return _size(place) > 0 or entry.md5 == EMPTY


def _size(place: Path) -> int:
    return place.stat().st_size if place.is_file() else 0
