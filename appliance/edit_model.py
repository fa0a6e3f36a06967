"""What a person may change of a profile's files, and what is asked of a change before it is made. Pure."""

import hashlib
import re
from dataclasses import dataclass

from appliance.account_model import Role
from appliance.errors import Problem

MOST_BYTES = 256 * 1024
"""Of one file; a whole kernel configuration has about 250 KB."""
MOST_PARTS = 8
PROFILE = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@-]{0,99}")
USUAL = (
    "profile.toml",
    "world",
    "kernel.config",
    "authorized_keys",
    "portage/make.conf",
    "portage/package.use",
)
OPERATORS = re.compile(r"world|portage/package\.(use|mask|unmask|accept_keywords|license)(/[^/]+)*")
"""What only chooses among what the site's repositories offer."""
ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Change:
    """One file of one profile, as it was read and as it shall be."""

    profile: str
    name: str
    """Below the profile's directory."""
    base: bytes | None
    """None: there was no such file."""
    content: bytes | None
    """None: it is to be deleted."""

    @property
    def verb(self) -> str:
        if self.content is None:
            return "delete"
        return "add" if self.base is None else "change"


@dataclass(frozen=True)
class Complaint:
    """A mistake that a change would make, at its place when that is known."""

    said: str
    profile: str = ""
    name: str = ""
    line: int = 0
    """0: not known."""


@dataclass(frozen=True)
class Judgement:
    """What the reader of the whole site says of a change."""

    heirs: tuple[str, ...]
    """Profiles that inherit the change."""
    refused: tuple[Complaint, ...] = ()
    """Why it may not be made."""
    elsewhere: tuple[Complaint, ...] = ()
    """Mistakes of other profiles that were there before: they keep the site from being in force."""


class Changed(Problem):
    """The file is not any more what the change was made of."""


def check_path(profile: str, name: str) -> None:
    """Raises Problem for anything that is no file of a profile."""
    if not PROFILE.fullmatch(profile):
        raise Problem(
            f"{profile!r} is no name of a profile",
            hint="lower-case letters, digits, - and _, at most 31, the first no - or _",
        )
    parts = name.split("/")
    if len(parts) > MOST_PARTS or not all(PART.fullmatch(one) for one in parts):
        raise Problem(
            f"{name!r} is no name of a profile's file",
            hint="such as world or portage/package.use/lua: letters, digits, _ . + @ -, no leading dot",
        )
    if name == "portage" or (len(parts) > 1 and parts[0] != "portage"):
        raise Problem(
            f"{name} is no file of a profile", hint=f"expected {', '.join(USUAL)} or another of portage/"
        )


def who_may(name: str) -> Role:
    """Who may change a file: what can make machines or the farm run code as root is for admins."""
    return Role.OPERATOR if OPERATORS.fullmatch(name) else Role.ADMIN


def check_role(role: Role, name: str) -> None:
    """Raises Problem."""
    if not role.covers(who_may(name)):
        raise Problem(f"{name} is for admins: it can make machines run anything as root")


def encode(text: str) -> bytes:
    """A file's bytes: lines end with a line feed, the last one too. Raises Problem with the line."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    if plain and not plain.endswith("\n"):
        plain += "\n"
    for number, line in enumerate(plain.split("\n"), 1):
        if odd := ODD.search(line):
            raise Problem(f"line {number} holds the control character {ord(odd[0]):#04x}")
    try:
        content = plain.encode()
    except UnicodeEncodeError as bad:
        raise Problem(f"character {bad.start + 1} is half a character") from bad
    if len(content) > MOST_BYTES:
        raise Problem(f"it has {len(content)} bytes, expected at most {MOST_BYTES}")
    return content


def digest(content: bytes | None) -> str:
    """What a form and an ETag carry of a file; empty when there is none."""
    return "" if content is None else hashlib.sha256(content).hexdigest()


def new_profile(parents: tuple[str, ...]) -> str:
    """The text to begin a profile with."""
    named = ", ".join(f'"{one}"' for one in parents)
    return f'description = ""\nparent = [{named}]\n'
