"""Judges a change of the site before it is made: the reader of the whole site reads a copy that has it."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.edit_model import Change, Complaint, Judgement
from appliance.errors import Problem
from appliance.site import WrongSite, read_site
from appliance.site_files import PROFILES, SiteFiles, read_files, write_files
from appliance.site_model import Site
from appliance.whence import as_text, documents_of, heirs_of, key_text, toml_lines

PLACED = re.compile(r"([^/]+)/(.+?)(?::(\d+))?: (.*)", re.DOTALL)
KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+|\[\d+\])*")


def judge(site: Path, change: Change) -> Judgement:
    """Read the whole site as it would be. Raises Problem when the site's files cannot be read.

    While the site has mistakes, a change is refused for those of its own profile alone: else two broken files
    could never be put right one after the other.
    """
    try:
        files = read_files(site)
    except OSError as failed:
        raise Problem(f"{failed.filename} cannot be read: {failed.strerror}") from failed
    after = changed(files, change)
    found = complaints(site, after)
    broken = bool(found) and bool(complaints(site, files))
    refused = tuple(one for one in found if not broken or one.profile == change.profile)
    others = tuple(one for one in found if one not in refused)
    return Judgement(heirs_of(change.profile, documents_of(after)), refused, others)


def changed(files: SiteFiles, change: Change) -> SiteFiles:
    """The site's files with a change."""
    place = f"{PROFILES}/{change.profile}/"
    kept = {name: content for name, content in files.items() if name != place + change.name}
    if change.content is None:
        return kept
    return {**kept, place: b"", place + change.name: change.content}


def complaints(site: Path, files: SiteFiles) -> tuple[Complaint, ...]:
    """What the reader says of a site that has these files."""
    with TemporaryDirectory(prefix="distserver-") as room:
        copy = Path(room) / "site"
        try:
            write_files(files, copy)
            read_site(site, copy=copy)
        except WrongSite as wrong:
            return tuple(placed(site, files, one) for one in wrong.complaints)
        except OSError as failed:  # a file where a directory has to be
            name = str(failed.filename or "").removeprefix(f"{copy}/")
            return (placed(site, files, f"{site}/{name}: {failed.strerror}"),)
    return ()


def site_with(site: Path, change: Change) -> Site:
    """The site as it would be. Raises WrongSite when that has mistakes, Problem when it cannot be read."""
    try:
        files = read_files(site)
    except OSError as failed:
        raise Problem(f"{failed.filename} cannot be read: {failed.strerror}") from failed
    with TemporaryDirectory(prefix="distserver-") as room:
        copy = Path(room) / "site"
        write_files(changed(files, change), copy)
        return read_site(site, copy=copy)


def placed(site: Path, files: SiteFiles, said: str) -> Complaint:
    """A complaint with its place; that of a key of profile.toml is found by the key."""
    start = f"{site}/{PROFILES}/"
    found = PLACED.fullmatch(said[len(start) :]) if said.startswith(start) else None
    if found is None:
        return Complaint(said.removeprefix(f"{site}/"))
    profile, name, line, text = found[1], found[2], int(found[3] or 0), found[4]
    if not line and name == "profile.toml":
        content = as_text(files.get(f"{PROFILES}/{profile}/{name}", b"")) or ""
        line = line_of_key(content, key[0]) if (key := KEY.match(text)) else 0
    return Complaint(text, profile, name, line)


def line_of_key(text: str, key: str) -> int:
    """Where a key is set, or the first one inside it; 0 when nothing does."""
    found = [(key_text(path), line) for path, _, line in toml_lines(text)]
    exact = [line for name, line in found if name == key]
    inside = [line for name, line in found if name.startswith((f"{key}.", f"{key}["))]
    return next(iter(exact or inside), 0)
