"""Configuration merges: the question of three hashes, who asks it, its answer, and what clients say. Pure."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any

from appliance.errors import Problem

MOST_ITEMS = 500
"""Of one posting; a machine has a handful."""
MOST_BODY_BYTES = 512 * 1024
MOST_FILE_BYTES = 256 * 1024
"""Of a content that is kept here; a larger file is decided without being shown."""
LONGEST_PATH = 1024
LONGEST_SAID = 2000
HASH = re.compile(r"[0-9a-f]{64}")
MOST_MODE = 0o7777
SECRET_PATHS = (
    "/etc/shadow*", "/etc/gshadow*", "/etc/ssh/ssh_host_*_key", "/etc/wireguard/*", "/etc/distserver/*",
    "/etc/*secret*", "*/private/*", "*.key", "*.p12", "*.pfx", "*.jks", "*.keytab", "*/.ssh/id_*",
    "*/wpa_supplicant*.conf",
)  # fmt: skip
"""Never kept here, whatever a client says of them; clients have the same (distserver_client.protection)."""


class Full(Problem):
    """There is no place for it."""


class Choice(Enum):
    OURS = "ours"
    """What the machine has stays."""
    THEIRS = "theirs"
    """What the release brings replaces it."""
    TEXT = "text"
    """Another content."""


class Asking(Enum):
    """How far a machine is with a question."""

    ASKED = "asked"
    APPLIED = "applied"
    REFUSED = "refused"
    """Its own validators refused the result."""
    UNDO = "undo"
    """It applied what was taken back since, and is to put its old file back."""
    GONE = "gone"
    """It asks no more: it was settled there, or the file is another one now."""


class Ending(Enum):
    """Why a decision holds no more."""

    UNDONE = "undone"
    REFUSED = "refused"


class Report(Enum):
    """What a client says of an item."""

    OPEN = "open"
    APPLIED = "applied"
    REFUSED = "refused"
    REVERTED = "reverted"
    """The old file is back, as it was told."""
    CHANGED = "changed"
    """It was told to put the old file back, and its file is not the result any more."""


@dataclass(frozen=True)
class Triple:
    """SHA-256 of the pristine old file, the machine's and the new one, in hex; empty: there is none."""

    path: str
    base: str
    ours: str
    theirs: str

    @property
    def key(self) -> str:
        return hashlib.sha256("\0".join((self.path, self.base, self.ours, self.theirs)).encode()).hexdigest()

    @property
    def hashes(self) -> tuple[str, str, str]:
        return self.base, self.ours, self.theirs


@dataclass(frozen=True)
class Item:
    """One line of what a client posts."""

    triple: Triple
    secret: bool = False
    mode: int = 0o644
    """Permission bits of the machine's file."""
    why: str = ""
    """Why the machine did not decide by itself."""
    report: Report = Report.OPEN
    result: str = ""
    said: str = ""


@dataclass(frozen=True)
class Posting:
    items: tuple[Item, ...]
    whole: bool
    """These are all open ones of the machine: what it asked before and is not named is settled."""


@dataclass(frozen=True)
class Decision:
    """Times in seconds since the epoch."""

    id: int
    question: int
    choice: Choice
    result: str
    who: str
    at: float
    why: str
    ended: Ending | None = None
    ended_at: float | None = None
    ended_by: str = ""
    ended_why: str = ""


@dataclass(frozen=True)
class MergeQuestion:
    """One for all machines with the same triple."""

    id: int
    triple: Triple
    secret: bool
    mode: int
    why: str
    first_at: float
    waiting: int
    """Machines that wait for an answer, or have one and did not take it yet."""
    decision: Decision | None = None
    profiles: tuple[str, ...] = ()
    """Of those machines."""

    @property
    def state(self) -> str:
        if self.secret:
            return "secret"
        return "decided" if self.decision else "open"


@dataclass(frozen=True)
class Asker:
    machine: str
    name: str
    profile: str
    state: Asking
    result: str
    said: str
    at: float


@dataclass(frozen=True)
class Version:
    """One of the three contents of a question."""

    name: str
    sha256: str
    content: bytes | None
    """None: it is not here."""

    @property
    def absent(self) -> bool:
        """There is no such file."""
        return not self.sha256

    @property
    def text(self) -> str | None:
        """None for what is not here, and for what is no text."""
        if self.absent:
            return ""
        try:
            return None if self.content is None or b"\0" in self.content else self.content.decode()
        except UnicodeDecodeError:
            return None


def is_secret(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in SECRET_PATHS)


def result_of(choice: Choice, triple: Triple, text: str = "") -> str:
    """The hash of what a machine has afterwards; `text`: that of the other content."""
    return {Choice.OURS: triple.ours, Choice.THEIRS: triple.theirs, Choice.TEXT: text}[choice]


def answer_of(decision: Decision) -> dict[str, str]:
    """What a client is told that asks a decided question."""
    words = {Choice.OURS: "keep", Choice.THEIRS: "theirs", Choice.TEXT: "decided"}
    return {"state": words[decision.choice], "result": decision.result}


def read_posting(body: bytes) -> Posting:
    """From the JSON a client posts: a list of all its open items, or {"items": [...]}. Raises Problem."""
    if len(body) > MOST_BODY_BYTES:
        raise Problem(f"{len(body)} bytes came, at most {MOST_BODY_BYTES} are taken")
    try:
        came = json.loads(body)
    except (ValueError, RecursionError) as odd:
        raise Problem("what came is no JSON") from odd
    whole = isinstance(came, list)
    if isinstance(came, dict):
        came = came.get("items")
    if not isinstance(came, list):
        raise Problem('expected a list of items, or {"items": [...]}')
    if len(came) > MOST_ITEMS:
        raise Problem(f"{len(came)} items came, at most {MOST_ITEMS} are taken")
    return Posting(tuple(read_item(number, one) for number, one in enumerate(came)), whole)


def read_item(number: int, came: Any) -> Item:
    """Raises Problem naming the item and what is wrong with it."""
    if not isinstance(came, dict):
        raise Problem(f"item {number} is no object")
    path = read_path(number, came.get("path"))
    base, ours, theirs = (_hash(number, came, name) for name in ("base", "ours", "theirs"))
    secret, mode = came.get("secret", False), came.get("mode", 0o644)
    if not isinstance(secret, bool):
        raise Problem(f"item {number}: secret is {str(secret)[:40]!r}, expected true or false")
    if not isinstance(mode, int) or not 0 <= mode <= MOST_MODE:
        raise Problem(f"item {number}: mode is {str(mode)[:40]!r}, expected a number up to {MOST_MODE}")
    why, said = (_text(number, came, name) for name in ("why", "said"))
    try:
        report = Report(came.get("state", "open"))
    except ValueError as odd:
        states = ", ".join(one.value for one in Report)
        raise Problem(f"item {number}: state is none of {states}") from odd
    result = _hash(number, came, "result")
    triple = Triple(path, base, ours, theirs)
    return Item(triple, secret or is_secret(path), mode, why, report, result, said)


def read_path(number: int, path: Any) -> str:
    if not isinstance(path, str) or not path.startswith("/") or len(path) > LONGEST_PATH:
        raise Problem(f"item {number}: path is {str(path)[:60]!r}, expected an absolute one")
    odd = any(ord(one) < 32 or ord(one) == 127 or 0xD800 <= ord(one) < 0xE000 for one in path)
    if odd or any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise Problem(f"item {number}: path {path[:60]!r} is not written plainly")
    return path


def serves(machines: int, profiles: Sequence[str]) -> str:
    """`12 machines of amd64, vm`."""
    count = f"{machines} machine{'' if machines == 1 else 's'}"
    return f"{count} of {', '.join(profiles)}" if profiles else count


def _hash(number: int, came: dict[str, Any], name: str) -> str:
    value = came.get(name) or ""
    if not isinstance(value, str) or (value and not HASH.fullmatch(value)):
        raise Problem(f"item {number}: {name} is {str(value)[:40]!r}, expected 64 hex digits or nothing")
    return value


def _text(number: int, came: dict[str, Any], name: str) -> str:
    value = came.get(name, "")
    if not isinstance(value, str):
        raise Problem(f"item {number}: {name} is no text")
    # JSON can say one half of a surrogate pair, and UTF-8 cannot.
    return value.encode(errors="replace").decode()[:LONGEST_SAID]
