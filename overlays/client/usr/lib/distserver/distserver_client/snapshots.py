"""What replaced files had: contents by their hash, and a journal of the replacements."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from distserver_client import places
from distserver_client.places import Metadata
from distserver_client.triples import Kind, Version, digest, is_sha256

KEPT = 200
"""Replacements that can be undone; older ones are forgotten, with contents that no other one names."""


class Phase(Enum):
    BEGUN = "begun"
    """Live paths are old or new; recovery puts all of them back."""
    COMMITTED = "committed"
    """All are new and approved; what is left is to tidy up."""
    FINISHED = "finished"
    REVERTED = "reverted"
    """All are old again."""


MOVES = {
    (Phase.BEGUN, Phase.COMMITTED),
    (Phase.BEGUN, Phase.REVERTED),
    (Phase.COMMITTED, Phase.FINISHED),
    (Phase.FINISHED, Phase.REVERTED),
}


@dataclass(frozen=True)
class State:
    """One of the two states of a path; the content of a file is in the store by its hash."""

    kind: Kind
    sha256: str = ""
    target: str = ""
    """Of a link."""
    metadata: Metadata | None = None

    def json(self) -> dict[str, object]:
        said = self.metadata.json() if self.metadata else None
        return {"kind": self.kind.value, "sha256": self.sha256, "target": self.target, "metadata": said}

    def is_at(self, place: Path) -> bool:
        """Whether kind and content are what is there; raises OSError."""
        return self.shows(places.version(place))

    def shows(self, there: Version) -> bool:
        target = there.content.decode(errors="surrogateescape") if there.kind is Kind.LINK else ""
        return (there.kind, there.sha256, target) == (self.kind, self.sha256, self.target)


@dataclass(frozen=True)
class Step:
    """One path of a replacement; paths are absolute, inside the root."""

    path: str
    old: State
    new: State
    settles: str
    """The path whose question this answers: the link, where `path` is what it points to."""
    base: str = ""
    """SHA256 of what the package ships now, the base of the next merge; empty: it ships nothing."""
    leftovers: tuple[str, ...] = ()
    """`._cfg*` that go when it is committed."""


@dataclass(frozen=True)
class Record:
    """A replacement of one file or of those of one service; `name` orders them."""

    name: str
    phase: Phase
    steps: tuple[Step, ...]
    service: str = ""
    """One that ran with the old files and is to run with the new ones; empty: none did."""


@dataclass(frozen=True)
class Store:
    """`snapshots/<sha256>` and `replacements/<number>.json` below the state directory, for root only."""

    place: Path

    def make(self) -> None:
        for directory in (self.place, self.journal, self.contents):
            directory.mkdir(parents=True, exist_ok=True)
        for directory in (self.journal, self.contents):
            directory.chmod(0o700)

    @property
    def journal(self) -> Path:
        return self.place / "replacements"

    @property
    def contents(self) -> Path:
        return self.place / "snapshots"

    def keep(self, content: bytes) -> str:
        """Its hash; the content is on the disk when this returns."""
        sha256 = digest(content)
        place = self.contents / sha256
        if not place.exists():
            places.publish(place, content)
        return sha256

    def content(self, sha256: str) -> bytes | None:
        """None when it is not here, or is not what it says."""
        if not is_sha256(sha256):
            return None
        try:
            content = (self.contents / sha256).read_bytes()
        except FileNotFoundError:
            return None
        return content if digest(content) == sha256 else None

    def begin(self, steps: Sequence[Step], service: str = "") -> Record:
        names = [int(file.stem) for file in self.journal.glob("[0-9]*.json")]
        record = Record(f"{max(names, default=0) + 1:08d}", Phase.BEGUN, tuple(steps), service)
        self._write(record)
        return record

    def move(self, record: Record, phase: Phase) -> Record:
        if (record.phase, phase) not in MOVES:
            raise ValueError(f"{record.name} is {record.phase.value} and cannot become {phase.value}")
        moved = replace(record, phase=phase)
        self._write(moved)
        return moved

    def records(self) -> list[Record]:
        """All that are known, oldest first."""
        return [_read(file) for file in sorted(self.journal.glob("[0-9]*.json"))]

    def prune(self, needed: Collection[str]) -> None:
        """Forget what is older than the newest KEPT; contents in `needed` stay."""
        records = self.records()
        for record in records[:-KEPT]:
            if record.phase in (Phase.FINISHED, Phase.REVERTED):
                (self.journal / f"{record.name}.json").unlink()
        steps = [step for record in self.records() for step in record.steps]
        named = {*needed, *(step.old.sha256 for step in steps), *(step.new.sha256 for step in steps)}
        for file in self.contents.iterdir():
            if file.name not in named and is_sha256(file.name):
                file.unlink()

    def _write(self, record: Record) -> None:
        steps = [_step_json(step) for step in record.steps]
        said = {"phase": record.phase.value, "service": record.service, "steps": steps}
        text = json.dumps(said, indent=1, ensure_ascii=True)
        places.publish(self.journal / f"{record.name}.json", text.encode())


def _step_json(step: Step) -> dict[str, object]:
    return {**vars(step), "old": step.old.json(), "new": step.new.json(), "leftovers": list(step.leftovers)}


def _read(file: Path) -> Record:
    said = json.loads(file.read_bytes())
    steps = tuple(_step(one) for one in said["steps"])
    return Record(file.stem, Phase(said["phase"]), steps, str(said.get("service", "")))


def _step(said: Mapping[str, object]) -> Step:
    leftovers = said["leftovers"]
    assert isinstance(leftovers, list)
    old, new = _state(said["old"]), _state(said["new"])
    return Step(str(said["path"]), old, new, str(said["settles"]), str(said["base"]), tuple(leftovers))


def _state(said: object) -> State:
    assert isinstance(said, Mapping)
    known = places.metadata(said["metadata"]) if said["metadata"] else None
    return State(Kind(said["kind"]), str(said["sha256"]), str(said["target"]), known)
