"""The site's repositories, their schedule and mirrors -> values, with complaints for every bad one."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from appliance.overlays import overlay
from appliance.schema import Keys, Kind, parse_clock, parse_span
from appliance.site_model import Repository, Schedule, SyncKind

REPOSITORY = Keys(
    {
        "name": Kind.TEXT,
        "location": Kind.TEXT,
        "sync": Kind.TEXT,
        "uri": Kind.TEXT,
        "branch": Kind.TEXT,
        "depth": Kind.INTEGER,
        "keyring": Kind.TEXT,
        "priority": Kind.INTEGER,
    },
    many=True,
    required=frozenset({"name"}),
)
SYNC = Keys({"every": Kind.SPAN, "at": Kind.CLOCK})
# PMS 3.1.5: letters, digits, _ and -, not starting with -; and it must not look like a version at its end.
NAME = re.compile(r"(?!.*-[0-9]+(\.[0-9]+)*[a-z]?$)[A-Za-z0-9_][A-Za-z0-9_-]{0,60}")
# git check-ref-format, as far as a name on a command line is concerned.
BRANCH = re.compile(r"(?!.*(\.\.|//|@\{))[A-Za-z0-9_][A-Za-z0-9_./+@-]*(?<![./])")
SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:[^\s:-][^\s]*")
SCHEMES: Mapping[SyncKind, tuple[str, ...]] = {
    SyncKind.GIT: ("https", "http", "git", "ssh", "file"),
    SyncKind.RSYNC: ("rsync",),
    SyncKind.SNAPSHOT: ("https", "http", "file"),
    SyncKind.SQUASHFS: ("https", "http", "file"),
}
LOCAL_ONLY = ("location",)
REMOTE_ONLY = ("uri", "keyring")
GIT_ONLY = ("branch", "depth")
LEAST_SECONDS = 60.0


def read_repositories(
    path: Path, entries: Sequence[Mapping[str, Any]], complaints: list[str]
) -> tuple[Repository, ...]:
    """The repositories in the order of the file; the first one is the main one."""
    file = path / "appliance.toml"
    if not entries:
        complaints.append(f"{file}: repository: expected at least one [[repository]]")
    names = [entry["name"] for entry in entries]
    complaints += [
        f"{file}: repository: {name} is there twice"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    return tuple(_repository(path, entry, complaints) for entry in entries)


def read_schedule(path: Path, table: Mapping[str, str], complaints: list[str]) -> Schedule:
    file = path / "appliance.toml"
    if "every" in table and "at" in table:
        complaints.append(f"{file}: sync: expected `every` or `at`, not both; `at` means once a day")
    every = parse_span(table.get("every", "24 h")) or 0.0
    if every < LEAST_SECONDS:
        complaints.append(
            f"{file}: sync.every: expected at least {LEAST_SECONDS:.0f} s, got {table['every']!r}"
        )
    return Schedule(every, parse_clock(table["at"]) if "at" in table else None)


def _repository(path: Path, entry: Mapping[str, Any], complaints: list[str]) -> Repository:
    name = entry["name"]
    where = f"{path / 'appliance.toml'}: repository {name}"
    if not NAME.fullmatch(name):
        complaints.append(
            f"{where}: name: expected what the tree's profiles/repo_name says: letters, digits, _ and -"
        )
    kind = _kind(entry, where, complaints)
    _check_keys(entry, kind, where, complaints)
    if kind is SyncKind.LOCAL:
        location = _location(path, entry.get("location", ""), where, complaints)
        return Repository(name=name, location=location, priority=entry.get("priority"))
    _check_uri(entry.get("uri", ""), kind, where, complaints)
    return Repository(
        name=name,
        sync=kind,
        uri=entry.get("uri", ""),
        branch=_branch(entry.get("branch", ""), where, complaints),
        depth=_depth(entry.get("depth", 1), where, complaints),
        keyring=_keyring(path, entry.get("keyring", ""), where, complaints),
        priority=entry.get("priority"),
    )


def _kind(entry: Mapping[str, Any], where: str, complaints: list[str]) -> SyncKind:
    text = entry.get("sync", SyncKind.LOCAL.value)
    known = [kind.value for kind in SyncKind]
    if text in known:
        return SyncKind(text)
    near = difflib.get_close_matches(text, known, n=1)
    mean = f"; did you mean {near[0]}?" if near else ""
    complaints.append(f"{where}: sync: expected one of {', '.join(known)}, got {text!r}{mean}")
    return SyncKind.SNAPSHOT if "uri" in entry else SyncKind.LOCAL


def _check_keys(entry: Mapping[str, Any], kind: SyncKind, where: str, complaints: list[str]) -> None:
    """Keys that say nothing for this kind, and those it cannot do without."""
    local, git = kind is SyncKind.LOCAL, kind is SyncKind.GIT
    strays = (
        ("a local repository (no `sync`)", [key for key in LOCAL_ONLY if not local and key in entry]),
        ("a repository with `sync`", [key for key in REMOTE_ONLY if local and key in entry]),
        ('sync = "git"', [key for key in GIT_ONLY if not git and key in entry]),
    )
    complaints += [f"{where}: {key}: expected only for {what}" for what, keys in strays for key in keys]
    needed = "location" if local else "uri"
    if needed not in entry:
        complaints.append(f'{where}: {needed}: missing, expected for sync = "{kind.value}"')


def _location(path: Path, location: str, where: str, complaints: list[str]) -> Path:
    place = overlay("portage") if location == "builtin:portage" else (path / location).resolve()
    if location and not (place / "profiles" / "repo_name").is_file():
        complaints.append(
            f"{where}: {place} is no ebuild repository, expected a file profiles/repo_name in it"
        )
    return place


def _check_uri(uri: str, kind: SyncKind, where: str, complaints: list[str]) -> None:
    schemes = SCHEMES[kind]
    if uri and not is_url(uri, schemes) and not (kind is SyncKind.GIT and SCP.fullmatch(uri)):
        complaints.append(f"{where}: uri: expected a URL ({', '.join(schemes)}), got {uri!r}")


def is_url(text: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        port_is_right = parts.port is None or parts.port > 0
    except ValueError:
        return False
    plain = not re.search(r"[\s\x00-\x1f]", text)
    return (
        plain and port_is_right and parts.scheme in schemes and bool(parts.netloc or parts.scheme == "file")
    )


def _branch(branch: str, where: str, complaints: list[str]) -> str:
    if branch and not BRANCH.fullmatch(branch):
        complaints.append(f"{where}: branch: expected the name of a branch or tag, got {branch!r}")
    return branch


def _depth(depth: int, where: str, complaints: list[str]) -> int:
    if depth < 0:
        complaints.append(f"{where}: depth: expected a number of commits, or 0 for all, got {depth}")
    return depth


def _keyring(path: Path, keyring: str, where: str, complaints: list[str]) -> Path | None:
    if not keyring:
        return None
    place = (path / keyring).resolve()
    if not place.is_file():
        complaints.append(f"{where}: keyring: {place} is not there, expected a file of public keys")
    return place
