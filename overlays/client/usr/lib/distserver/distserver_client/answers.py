"""The server's answers about configuration files: asked for, told what became of them, taken back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from distserver_client import etcfiles, origins, places
from distserver_client.applying import Decided, Workshop
from distserver_client.errors import Problem
from distserver_client.news import Became, News
from distserver_client.places import Metadata
from distserver_client.proposals import Proposal
from distserver_client.protection import Protection
from distserver_client.services import Services
from distserver_client.snapshots import Store
from distserver_client.talking import Refused
from distserver_client.triples import (
    ABSENT,
    Answer,
    Bases,
    Item,
    Kind,
    Policy,
    Settled,
    State,
    Version,
    digest,
)

NAME, WAITS = "answers.json", "waits"


class Server(Protocol):
    """talking.Talk, as far as this goes; every method may raise Problem."""

    def known(self, items: Sequence[Item]) -> Sequence[Answer]: ...

    def give(self, sha256: str, content: bytes) -> None: ...

    def get(self, sha256: str) -> bytes: ...

    def news(self) -> list[News]: ...

    def told(self, item: Item | News, became: Became, result: str, said: str = "") -> bool: ...


def settle(
    root: Path,
    bases: Bases,
    server: Server,
    policy: Policy,
    state: Path,
    protection: Protection,
    *,
    services: Services | None = None,
    news: bool = False,
) -> Settled:
    """etcfiles.settle() with this server, which is told what became of its answers.

    `news`: an order said that answers wait; those that were taken back are undone first. What could not be
    told is told the next time. Raises OSError when the state directory cannot be written.
    """
    services = services or Services(root)
    bases = _Lent(bases, server)
    asking = _Asking(server, _Untold(state))
    if news:
        with _reached():
            _Undoing(root, bases, server, policy, state, services).run()
    settled = etcfiles.settle(root, bases, asking, policy, state, protection, services=services)
    asking.tell(root, settled)
    asking.end()
    return settled


@dataclass
class _Lent:
    """triples.Bases; the server lends what packages shipped and nobody kept here, as long as it answers."""

    bases: Bases
    server: Server
    away: bool = False

    def installed(self) -> Mapping[str, str]:
        return self.bases.installed()

    def shipped(self) -> Mapping[str, str]:
        return self.bases.shipped()

    def content(self, sha256: str) -> bytes | None:
        found = self.bases.content(sha256)
        if found is not None or self.away:
            return found
        try:
            found = self.server.get(sha256)
        except Refused:
            return None
        except (OSError, Problem):
            self.away = True
            return None
        return found if digest(found) == sha256 else None


@dataclass
class _Untold:
    """Answers of which the server does not know yet what became of them; written before they are applied."""

    place: Path
    answered: dict[str, tuple[Item, str]] = field(default_factory=dict)
    """path -> what was asked, and the SHA256 that was decided."""

    def __post_init__(self) -> None:
        try:
            said = json.loads((self.place / NAME).read_bytes())
        except FileNotFoundError:
            return
        for path, one in said.items():
            self.answered[path] = Item(**one["item"]), one["result"]

    def save(self) -> None:
        said = {
            path: {"item": item.json(), "result": result} for path, (item, result) in self.answered.items()
        }
        self.place.mkdir(parents=True, exist_ok=True)
        places.publish(self.place / NAME, json.dumps(said, indent=1, sort_keys=True).encode())


@dataclass
class _Asking:
    """triples.Ask: a server that cannot be reached is an OSError, and what it answers is remembered."""

    server: Server
    untold: _Untold
    missing: set[str] = field(default_factory=set)
    """Results that could not be fetched: that is not the same as refused."""
    asked: bool = False

    def known(self, items: Sequence[Item]) -> Sequence[Answer]:
        self.asked = True
        self._waits.touch()
        with _as_oserror():
            answers = self.server.known(items)
        for item, answer in zip(items, answers, strict=False):
            if answer.state is not State.ASKED:
                results = {State.KEEP: item.ours, State.THEIRS: item.theirs}
                self.untold.answered[item.path] = item, results.get(answer.state, answer.result)
        self.untold.save()
        return answers

    def end(self) -> None:
        """That the last question was answered on the machine is told, too: once, by asking nothing."""
        if not self.asked and self._waits.exists():
            with _reached():
                self.server.known([])
                self._waits.unlink()

    @property
    def _waits(self) -> Path:
        """Is there while the server thinks that something waits here."""
        return self.untold.place / WAITS

    def give(self, sha256: str, content: bytes) -> None:
        with _as_oserror():
            self.server.give(sha256, content)

    def get(self, sha256: str) -> bytes:
        self.missing.add(sha256)
        with _as_oserror():
            content = self.server.get(sha256)
        if digest(content) != sha256:
            raise OSError("it is not the content that was decided")
        self.missing.discard(sha256)
        return content

    def tell(self, root: Path, settled: Settled) -> None:
        """By what is there now: what a crash kept from being told is told by the next run."""
        failed = {one.path: one.how for one in settled.failed}
        with _reached():
            for path, (item, result) in sorted(self.untold.answered.items()):
                if _there(root, path).sha256 == result:
                    self.server.told(item, Became.APPLIED, result)
                elif path in failed and result not in self.missing:
                    self.server.told(item, Became.REFUSED, result, failed[path])
                del self.untold.answered[path]
        self.untold.save()


@dataclass(frozen=True)
class _Undoing:
    """Puts old files back whose answer was taken back, and lets their questions wait again."""

    root: Path
    bases: Bases
    server: Server
    policy: Policy
    state: Path
    services: Services

    def run(self) -> None:
        for one in self.server.news():
            if one.state is None:
                self._undo(one)

    def _undo(self, one: News) -> None:
        store, known = Store(self.state), origins.load(self.state)
        there = _there(self.root, one.path)
        if there.sha256 != one.result:
            self.server.told(one, Became.CHANGED, one.result)
            return
        theirs = self._version(store, one.theirs)
        if one.ours != one.result and not self._put_back(one, there, theirs, store, known):
            # The next order says again that it waits.
            return
        self._wait_again(one, theirs, store, known)
        self.server.told(one, Became.REVERTED, one.result)

    def _put_back(
        self, one: News, there: Version, theirs: Version, store: Store, known: origins.Origins
    ) -> bool:
        old = self._version(store, one.ours)
        if old.sha256 != one.ours:
            return False
        old = replace(old, mode=there.mode) if there.kind is Kind.FILE else old
        real = places.resolve(self.root, one.path)
        proposal = Proposal(one.path, real, None, there, theirs, Metadata(0o644, 0, 0), 1, ())
        workshop = Workshop(self.root, store, known, self.policy, self.services)
        done = workshop.apply([Decided(proposal, old, "the answer was taken back")])
        return bool(done.applied)

    def _wait_again(self, one: News, theirs: Version, store: Store, known: origins.Origins) -> None:
        """As after the update: the new version lies beside the file, and the question keeps its base."""
        if theirs.kind is not Kind.FILE:
            return
        base = self._version(store, one.base)
        for version in (base, theirs):
            if version.kind is Kind.FILE:
                store.keep(version.content)
        item = Item(one.path, one.base, one.ours, one.theirs, theirs.mode, False, "the answer was taken back")
        known.wait(item, here=False)
        known.save()
        directory, _, name = one.path.rpartition("/")
        place = places.inside(self.root, f"{places.resolve(self.root, directory)}/._cfg0000_{name}")
        if not place.exists():
            places.write(place, theirs.content, Metadata(0o644, 0, 0))

    def _version(self, store: Store, sha256: str) -> Version:
        """ABSENT for what is not there, and for what nobody has any more."""
        if not sha256:
            return ABSENT
        content = store.content(sha256) or self.bases.content(sha256)
        if content is None or digest(content) != sha256:
            try:
                content = self.server.get(sha256)
            except Refused:
                return ABSENT
        return Version(Kind.FILE, content) if digest(content) == sha256 else ABSENT


def _there(root: Path, path: str) -> Version:
    """What a path leads to."""
    return places.version(places.inside(root, places.resolve(root, path)))


@contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        raise OSError(str(problem)) from problem


@contextmanager
def _reached() -> Iterator[None]:
    """A server that is away hears of it the next time."""
    try:
        yield
    except (Problem, OSError):
        return
