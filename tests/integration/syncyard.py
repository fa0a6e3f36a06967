"""A state directory that is synchronised from a mirror, and what may be asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.farm_model import RepositoryState, Snapshot
from appliance.run import run
from appliance.site_model import Repository
from buildfarm.sync import Asked, synchronise
from tests.integration.mirrors import Mirror

DAY = 24 * 3600.0
NOW = 1_795_000_000.0


def no_cache(name: str, tree: Path, masters: Sequence[Snapshot]) -> None:
    """The tiny repository has no metadata cache; these tests need none."""


@dataclass
class Yard:
    """A state directory and what the store would remember of one repository."""

    path: Path
    repository: Repository
    state: RepositoryState = field(default_factory=lambda: RepositoryState("tiny"))
    said: list[str] = field(default_factory=list)

    def asked(self, *, force: bool = False) -> Asked:
        (self.path / "snapshots").mkdir(exist_ok=True)
        return Asked(
            repository=self.repository,
            state=self.state,
            work=self.path / "repositories/tiny",
            room=self.path / "snapshots",
            known=(),
            main="tiny",
            regenerate=no_cache,
            say=self.said.append,
            force=force,
        )

    def sync(self, *, force: bool = False) -> Snapshot:
        done = synchronise(self.asked(force=force))
        self.state = replace(
            self.state,
            source=self.repository.source,
            revision=done.snapshot.revision,
            image=done.snapshot.image.name,
            validator=done.validator,
        )
        return done.snapshot

    def refused(self, *, force: bool = False) -> str:
        """The Problem's text; the current snapshot and nothing else is there afterwards."""
        with pytest.raises(Problem) as caught:
            self.sync(force=force)
        assert sorted(path.name for path in self.path.glob("snapshots/.snap*")) == []
        if self.state.image:
            assert (self.path / "snapshots" / self.state.image).exists()
            assert f"the snapshot {self.state.revision[:12]} stays" in str(caught.value)
        assert caught.value.hint
        return str(caught.value)


def listing(snapshot: Snapshot) -> list[str]:
    lines = run(["unsquashfs", "-l", snapshot.image]).stdout.split()
    return [line.removeprefix("squashfs-root/") for line in lines]


def change(mirror: Mirror, text: str = "new") -> None:
    (mirror.tree / "README").write_text(text)
