"""Machines with configuration files after an update: a root, its bases and a server in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from distserver_client import etcfiles, places
from distserver_client.protection import Protection
from distserver_client.services import Services
from distserver_client.triples import Answer, Item, Policy, Rule, Settled, State, digest

OLD = b"".join(b"key%d=0\n" % number for number in range(10))
MINE = OLD.replace(b"key1=0", b"key1=mine")
NEW = OLD.replace(b"key8=0", b"key8=new")
BOTH = MINE.replace(b"key8=0", b"key8=new")
CLASH = OLD.replace(b"key1=0", b"key1=theirs")
PROTECTED = Protection(("/etc",), ("/etc/env.d", "/etc/terminfo"))
LIVE = "/etc/conf.d/thing"
HELD = "/etc/conf.d/._cfg0000_thing"


@dataclass
class Shelf:
    """Bases in memory."""

    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def installed(self) -> Mapping[str, str]:
        return self.before

    def shipped(self) -> Mapping[str, str]:
        return self.after

    def content(self, sha256: str) -> bytes | None:
        return self.contents.get(sha256)


@dataclass
class Desk:
    """A server in memory: what it was asked and given, and what it answers."""

    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Item] = field(default_factory=list)
    given: dict[str, bytes] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    calls: int = 0
    failure: Exception | None = None

    def known(self, items: Sequence[Item]) -> Sequence[Answer]:
        self.calls += 1
        if self.failure:
            raise self.failure
        self.asked += items
        usual = [
            Answer(State.ASKED, "", tuple(filter(None, (one.base, one.ours, one.theirs)))) for one in items
        ]
        return [self.answers.get(one.path, other) for one, other in zip(items, usual, strict=True)]

    def give(self, sha256: str, content: bytes) -> None:
        assert digest(content) == sha256
        self.given[sha256] = content

    def get(self, sha256: str) -> bytes:
        return self.contents[sha256]


@dataclass
class Machine:
    """A root, its bases and its server."""

    root: Path
    shelf: Shelf = field(default_factory=Shelf)
    desk: Desk = field(default_factory=Desk)
    rules: tuple[Rule, ...] = ()

    @property
    def state(self) -> Path:
        return self.root / "var/lib/distserver/client"

    def lay(self, path: str, content: bytes, mode: int = 0o644) -> Path:
        place = places.inside(self.root, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)
        return place

    def update(
        self, base: bytes | None, ours: bytes | None, theirs: bytes, path: str = LIVE, held: str = ""
    ) -> None:
        """What Portage leaves: the new version beside ours, the lists of bases before and after."""
        self.shelf.before["/etc/other"] = digest(b"")
        if base is not None:
            self.shelf.before[path] = digest(base)
            self.shelf.contents[digest(base)] = base
        self.shelf.after = {**self.shelf.before, path: digest(theirs)}
        if ours is not None:
            self.lay(path, ours)
        directory, _, name = path.rpartition("/")
        self.lay(held or f"{directory}/._cfg0000_{name}", theirs)

    def settle(self) -> Settled:
        services = Services(self.root, probe_seconds=0)
        policy = Policy(self.rules)
        return etcfiles.settle(
            self.root, self.shelf, self.desk, policy, self.state, PROTECTED, services=services
        )

    def names(self, path: str) -> list[str]:
        return sorted(one.name for one in places.inside(self.root, path).iterdir())

    def read(self, path: str = LIVE) -> bytes | None:
        place = places.inside(self.root, path)
        return place.read_bytes() if place.exists() else None
