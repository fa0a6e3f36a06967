"""What a finished root consists of, so that what is made of the same things need not be built again."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from appliance.farm_model import Package
from buildfarm.portage import Installed, State
from buildfarm.root import Content, Root

NAME = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """A root that was built to its end, and the packages it was built from."""

    identity: str
    layers: tuple[str, ...]
    """Of the head it was committed with: with any other head it says nothing."""
    files: Mapping[str, str]
    """What was laid into it, by sha256."""
    state: State
    packages: tuple[Package, ...]


def digests(files: Mapping[str, Content]) -> dict[str, str]:
    """sha256 of each laid file; of a link, of its target."""
    found = {}
    for name, content in files.items():
        raw = b"file " + content if isinstance(content, bytes) else b"link " + str(content).encode()
        found[name] = hashlib.sha256(raw).hexdigest()
    return found


def identity(*, stage: str, revisions: Iterable[str], files: Mapping[str, str], rules: str) -> str:
    """sha256 over all a root is made from; equal ones give equal roots, whatever profile they are of.

    `revisions` are those of the snapshots in their order, `files` what digests() gave of what is laid into
    the root, `rules` how the farm itself builds.
    """
    digest = hashlib.sha256()
    parts = ["distserver root 1", stage, rules, *revisions]
    for part in (*parts, *(word for pair in sorted(files.items()) for word in ("file", *pair))):
        raw = part.encode()
        digest.update(b"%d:%s" % (len(raw), raw))
    return digest.hexdigest()


def write(outcome: Outcome, root: Root) -> None:
    """Remember it beside the head that was committed."""
    document = {
        "identity": outcome.identity,
        "layers": outcome.layers,
        "files": dict(outcome.files),
        "header": dict(outcome.state.header),
        "installed": [asdict(one) for one in outcome.state.installed],
        "world": dict(outcome.state.world),
        "system": dict(outcome.state.system),
        "packages": [asdict(one) for one in outcome.packages],
    }
    part = root.path / f".{NAME}.partial"
    part.write_text(json.dumps(document, sort_keys=True))
    part.rename(root.path / NAME)


def read(root: Root) -> Outcome | None:
    """None when the root has none that belongs to its head, or one that another version of the farm wrote."""
    head = root.head()
    try:
        document = json.loads((root.path / NAME).read_text())
        installed = tuple(Installed(**row) for row in document["installed"])
        state = State(document["header"], installed, document["world"], document["system"])
        packages = tuple(Package(**row) for row in document["packages"])
        layers = tuple(document["layers"])
        found = Outcome(document["identity"], layers, document["files"], state, packages)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if head and found.layers == head.layers else None


def others(own: Root) -> dict[Root, Outcome]:
    """The outcomes of all other roots, in the order of their names."""
    roots = [Root(place.parent) for place in sorted(own.path.parent.glob(f"*/{NAME}"))]
    found = {root: read(root) for root in roots if root != own}
    return {root: outcome for root, outcome in found.items() if outcome}


def twin(outcomes: Mapping[Root, Outcome], identity: str) -> Root | None:
    """A root that was made of just the same things."""
    return next((root for root, outcome in outcomes.items() if outcome.identity == identity), None)


def nearest(outcomes: Mapping[Root, Outcome], files: Mapping[str, str], stage: str) -> Root | None:
    """The root on the same stage with the most laid files in common: a new one starts from its layers."""
    same = {
        root: likeness(files, outcome.files) for root, outcome in outcomes.items() if _stage(root) == stage
    }
    return max(same, key=lambda root: same[root], default=None)


def likeness(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    """How many of the laid files are the same."""
    return sum(other.get(name) == digest for name, digest in one.items())


def _stage(root: Root) -> str:
    head = root.head()
    return head.stage if head else ""
