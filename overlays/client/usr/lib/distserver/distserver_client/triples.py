"""What is said of a configuration file that changed: its three versions, the question, the answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Protocol


class Kind(Enum):
    """What a path is, links not followed."""

    ABSENT = "absent"
    FILE = "file"
    LINK = "link"
    DIRECTORY = "directory"
    OTHER = "other"


@dataclass(frozen=True)
class Version:
    """One of the three versions of a path; the content of a link is where it points."""

    kind: Kind
    content: bytes = field(default=b"", repr=False)
    mode: int = 0o644
    """Permission bits, of files only."""

    @property
    def sha256(self) -> str:
        """Of the content of a file; empty for everything else."""
        return digest(self.content) if self.kind is Kind.FILE else ""


ABSENT = Version(Kind.ABSENT)


@dataclass(frozen=True)
class Item:
    """A question as it goes to the server; a hash is empty for what is not there (a base: or not known)."""

    path: str
    """Absolute, inside the machine's root."""
    base: str
    ours: str
    theirs: str
    mode: int
    """Of ours; of theirs where ours is not there."""
    secret: bool
    """Its contents never leave the machine, and it is answered there."""
    why: str
    """One sentence: why the machine did not decide by itself."""

    def json(self) -> dict[str, object]:
        return dict(vars(self))


class State(Enum):
    """What the server says to an item."""

    ASKED = "asked"
    """Nobody answered yet."""
    DECIDED = "decided"
    """The answer is a content; Answer.result is its SHA256."""
    KEEP = "keep"
    """The answer is ours."""
    THEIRS = "theirs"
    """The answer is theirs; the file is removed when theirs is not there."""


@dataclass(frozen=True)
class Answer:
    """What the server knows of one item."""

    state: State
    result: str = ""
    wants: tuple[str, ...] = ()
    """SHA256 of contents of this item that the server lacks and shows to who decides; none of a secret."""


def answer(said: object) -> Answer:
    """From one object of the JSON that `/client/merges` answers; raises ValueError when it makes no sense."""
    if not isinstance(said, Mapping):
        raise ValueError(f"an answer is {type(said).__name__}, expected an object")
    state = State(said.get("state"))
    result, wants = said.get("result", ""), said.get("wants", [])
    hashes = [result] if state is State.DECIDED else []
    if not isinstance(wants, list) or not all(is_sha256(one) for one in [*hashes, *wants]):
        raise ValueError(f"an answer's result or wants is not SHA256: {result!r:.80} {wants!r:.80}")
    return Answer(state, result if hashes else "", tuple(wants))


class Ask(Protocol):
    """The server, as settle() needs it; every method may raise OSError or Problem, e.g. when it is away."""

    def known(self, items: Sequence[Item]) -> Sequence[Answer]:
        """One answer for each item, in their order; called at most once by a settle()."""

    def give(self, sha256: str, content: bytes) -> None:
        """Hand a content to the server that it wants."""

    def get(self, sha256: str) -> bytes:
        """A content that was decided; settle() compares its hash."""


class Bases(Protocol):
    """Protected files as the packages ship them; paths are absolute, inside the machine's root."""

    def installed(self) -> Mapping[str, str]:
        """path -> SHA256 of the packages that were there before this update; recorded before emerge ran."""

    def shipped(self) -> Mapping[str, str]:
        """path -> SHA256 of the packages that are there now."""

    def content(self, sha256: str) -> bytes | None:
        """Of either; None when nobody has it any more."""


class Choice(Enum):
    """What the policy says of a path."""

    MERGE = "merge"
    """Nothing special: merge, ask when that is not clean."""
    OURS = "ours"
    THEIRS = "theirs"
    ASK = "ask"
    """What is not trivial is asked, although it could be merged."""
    NEVER = "never"
    """Hands off: the file and its `._cfg*` stay as they are, and nobody is asked."""


@dataclass(frozen=True)
class Rule:
    """One `[[client.config]]` of a profile."""

    path: str
    """A glob over absolute paths; `*` matches `/`, too."""
    policy: Choice = Choice.MERGE
    secret: bool | None = None
    """None: as its name and mode say."""
    restart: str = ""
    """The service that reads the file; empty: found by the table of services; `-`: none."""

    def matches(self, path: str) -> bool:
        return fnmatchcase(path, self.path)


@dataclass(frozen=True)
class Policy:
    """What a profile says of configuration files; of several rules that match, the last one counts."""

    rules: tuple[Rule, ...] = ()
    health: str = ""
    """A command that has to succeed after services were restarted, empty: their status is enough."""

    def rule(self, path: str) -> Rule:
        return next((one for one in reversed(self.rules) if one.matches(path)), Rule(path))


def policy(said: Mapping[str, object]) -> Policy:
    """From `policy` of an order (`config` and `health` of it); raises ValueError when it makes no sense."""
    rules, health = said.get("config", []), said.get("health", "")
    if not isinstance(rules, list) or not isinstance(health, str):
        raise ValueError("config is not a list or health is not a string")
    return Policy(tuple(_rule(one) for one in rules), health)


def _rule(said: object) -> Rule:
    if not isinstance(said, Mapping):
        raise ValueError(f"a rule is {type(said).__name__}, expected an object")
    path, secret, restart = said.get("path"), said.get("secret"), said.get("restart", "")
    if not isinstance(path, str) or not isinstance(restart, str) or not isinstance(secret, bool | None):
        raise ValueError(f"a rule has a path, a service or a secret of another type: {said!r:.200}")
    return Rule(path, Choice(said.get("policy", "merge")), secret, restart)


@dataclass(frozen=True)
class Settlement:
    """What became of one path."""

    path: str
    how: str
    """A sentence: `theirs, ours was not changed`, `merged line by line`, why it is asked, what failed."""
    item: Item | None = None
    """Of what is asked or secret, and of what was answered."""
    result: str = ""
    """Of what was answered: SHA256 of the answer; where it failed, `how` says who refused it and why."""


@dataclass(frozen=True)
class Settled:
    """What settle() did; each path is in one of them."""

    applied: tuple[Settlement, ...] = ()
    """The live path changed."""
    kept: tuple[Settlement, ...] = ()
    """Ours stays, and nobody has to do anything."""
    asked: tuple[Settlement, ...] = ()
    """Waits for an answer on the server."""
    secret: tuple[Settlement, ...] = ()
    """Waits for an answer on the machine (`distserver-client merge`)."""
    failed: tuple[Settlement, ...] = ()
    """Could not be replaced or was put back; the live path is what it was, and it is tried again."""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def is_sha256(said: object) -> bool:
    return isinstance(said, str) and len(said) == 64 and set(said) <= set("0123456789abcdef")
