"""What one synchronisation is asked, and what a source has to say of itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.errors import Problem
from appliance.farm_model import RepositoryState, Snapshot
from appliance.run import CommandFailed, Finished, run
from appliance.site_model import Repository
from buildfarm.snapshot import Regenerate

DIE_TOGETHER = ["setpriv", "--pdeathsig", "KILL"]
"""A killed farm must not leave a git or rsync behind that writes where the next one does."""
LONGEST_SECONDS = 12 * 3600.0


@dataclass(frozen=True)
class Asked:
    """One synchronisation of one repository."""

    repository: Repository
    state: RepositoryState
    """What was there before; an empty one at the first time."""
    work: Path
    """The repository's own directory of the state: clones, working copies, half-done downloads."""
    room: Path
    """Where the images are."""
    known: Sequence[Snapshot]
    """Current snapshots of the other repositories of the site."""
    main: str
    """Name of the site's main repository."""
    regenerate: Regenerate
    say: Callable[[str], None]
    force: bool = False
    """Take what looks suspicious or old."""

    @property
    def name(self) -> str:
        return self.repository.name

    @property
    def image(self) -> Path | None:
        """The current snapshot's image, None when there is none (any more)."""
        image = self.room / self.state.image
        return image if self.state.image and image.with_suffix(".json").exists() and image.exists() else None

    @property
    def validator(self) -> str:
        """What the source said when the current snapshot was made; empty when that was another source."""
        same = self.image is not None and self.state.source == self.repository.source and not self.force
        return self.state.validator if same else ""


@dataclass(frozen=True)
class Fetched:
    """A state of the source that was fetched and, where a keyring is given, verified."""

    validator: str
    fill: Callable[[Path], str]
    """Writes the tree into a directory that is not there yet, or into `tree`; returns the revision."""
    tree: Path | None = None
    """A working copy of ours that stays from one time to the next."""
    revision: str = ""
    """When it is known without writing the tree."""
    made_at: float = 0.0
    """When the source says it was made; 0.0: the tree may know."""


class Fetch(Protocol):
    """Gets the newest state; None when it is the one of the current snapshot. Raises Problem."""

    def __call__(self, asked: Asked, /) -> Fetched | None: ...


def command(
    asked: Asked,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    ok: Sequence[int] = (0,),
) -> Finished:
    """Run a program that talks to the source; its failure is a Problem with its last words."""
    try:
        return run(argv, prefix=DIE_TOGETHER, env=env, ok=ok, timeout_seconds=LONGEST_SECONDS)
    except CommandFailed as failure:
        raise refusal(
            asked, last_line(failure.output), hint="is its uri right and the server there?"
        ) from failure


def refusal(asked: Asked, reason: str, *, hint: str) -> Problem:
    """A synchronisation that changes nothing, in one sentence."""
    kept = f"; the snapshot {asked.state.revision[:12]} stays" if asked.image else ""
    return Problem(f"repository {asked.name} was not synchronised: {reason}{kept}", hint=hint)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
