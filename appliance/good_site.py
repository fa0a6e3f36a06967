"""A copy of the last good site in the state directory: what counts when processes start and it is broken."""

import contextlib
import hashlib
import logging
import os
import shutil
from pathlib import Path

from appliance.errors import Problem
from appliance.site import read_site
from appliance.site_files import SiteFiles, read_files, write_files
from appliance.site_model import Site

log = logging.getLogger(__name__)

CURRENT = "current"
PART = ".part-"
KEPT = 2
"""Copies: whoever reads the one before the newest may go on."""


def keep_good(good: Path, site: Path, files: SiteFiles, *, group: int) -> bool:
    """Let these files be the last good ones of a site; whether they were not yet.

    `group`: its members may read the copy, and others may not: the site may be closed to them.
    """
    name = _name(site, files)
    if (good / name).is_dir() and (good / name).stat().st_gid == group and _current(good) == name:
        return False
    good.mkdir(mode=0o755, exist_ok=True)
    part = good / f"{PART}{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    write_files(files, part)
    for place in (part, *part.rglob("*")):
        os.chown(place, -1, group)
        place.chmod(0o750 if place.is_dir() else 0o640)
    if (good / name).is_dir():  # of before, or readable by another group
        (good / name).rename(good / f"{PART}{os.getpid()}-old")
    part.rename(good / name)
    link = good / f"{PART}{CURRENT}"
    link.unlink(missing_ok=True)
    link.symlink_to(name)
    link.rename(good / CURRENT)
    _forget(good, name)
    return True


def read_good(good: Path, site: Path) -> tuple[Site, SiteFiles] | None:
    """The copy that was kept of this site; None when there is none that still reads."""
    name = _current(good)
    if not name:
        return None
    copy = good / name
    try:
        files = read_files(copy)
        if _name(site, files) != name:
            return None
        return read_site(site, copy=copy), files
    except (OSError, Problem) as failed:
        log.error("the copy of the last good site %s does not read: %s", copy, failed)
        return None


def _name(site: Path, files: SiteFiles) -> str:
    """Of a copy: it says of which site it is, and of which content."""
    digest = hashlib.sha256(os.fsencode(site.resolve()))
    for name, content in sorted(files.items()):
        digest.update(f"\0{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _current(good: Path) -> str:
    try:
        return (good / CURRENT).readlink().name
    except OSError:
        return ""


def _forget(good: Path, name: str) -> None:
    """All but the newest, and what a killed process left."""
    others = [one for one in good.iterdir() if one.is_dir() and not one.is_symlink() and one.name != name]
    others.sort(key=lambda one: (one.name.startswith(PART), -one.stat().st_mtime, one.name))
    for one in others[KEPT - 1 :]:
        with contextlib.suppress(OSError):
            shutil.rmtree(one)
