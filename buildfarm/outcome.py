"""What a finished root consists of, so that what is made of the same things need not be built again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.model import Package
from buildfarm.portage import Installed, State
from buildfarm.root import Content

NAME = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """A root that was built to its end, and the packages it was built from."""

    identity: str
    state: State
    packages: tuple[Package, ...]


def identity(*, stage: str, revisions: Iterable[str], files: Mapping[str, Content], rules: str) -> str:
    """sha256 over all a root is made from; equal ones give equal roots, whatever profile they are of.

    `revisions` are those of the snapshots in their order, `files` what is laid into the root, `rules` how
    the farm itself builds.
    """
    digest = hashlib.sha256()
    parts = [b"distserver root 1", stage.encode(), rules.encode(), *(one.encode() for one in revisions)]
    for name, content in sorted(files.items()):
        kind = b"file" if isinstance(content, bytes) else b"link"
        parts += [kind, name.encode(), content if isinstance(content, bytes) else str(content).encode()]
    for part in parts:
        digest.update(b"%d:%s" % (len(part), part))
    return digest.hexdigest()


def write(outcome: Outcome, layer: Path) -> None:
    """Put it into a layer that is going to be committed."""
    document = {
        "identity": outcome.identity,
        "header": dict(outcome.state.header),
        "installed": [asdict(one) for one in outcome.state.installed],
        "world": dict(outcome.state.world),
        "system": dict(outcome.state.system),
        "packages": [asdict(one) for one in outcome.packages],
    }
    part = layer / f".{NAME}.partial"
    part.write_text(json.dumps(document, sort_keys=True))
    part.rename(layer / NAME)


def read(layer: Path) -> Outcome | None:
    """None when the layer has none, or one that another version of the farm wrote."""
    try:
        document = json.loads((layer / NAME).read_text())
        installed = tuple(Installed(**row) for row in document["installed"])
        state = State(document["header"], installed, document["world"], document["system"])
        packages = tuple(Package(**row) for row in document["packages"])
        return Outcome(document["identity"], state, packages)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def likeness(one: Mapping[str, Content], other: Mapping[str, Content]) -> int:
    """How many of the laid files are the same: a new root starts from the root it will resemble most."""
    return sum(other.get(name) == content for name, content in one.items())
