"""What files on this machine derive from: the base of open questions, and what was taken account of."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distserver_client import places
from distserver_client.triples import Item, is_sha256

NAME = "origins.json"


@dataclass(frozen=True)
class Open:
    """A question that waits: asked again with this base, whatever is installed meanwhile."""

    item: Item
    here: bool
    """It is answered on the machine."""


@dataclass
class Origins:
    """Written after every change; killed anywhere, it is what it was or what it became."""

    place: Path
    open: dict[str, Open] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    """path -> SHA256 of the version of the package that ours has taken account of."""

    def settle(self, path: str, base: str) -> None:
        self.open.pop(path, None)
        self.done[path] = base

    def wait(self, item: Item, *, here: bool) -> None:
        self.done.pop(item.path, None)
        self.open[item.path] = Open(item, here)

    def save(self) -> None:
        waiting = {path: {**one.item.json(), "here": one.here} for path, one in sorted(self.open.items())}
        text = json.dumps({"open": waiting, "done": self.done}, indent=1, sort_keys=True)
        self.place.mkdir(parents=True, exist_ok=True)
        places.publish(self.place / NAME, text.encode())

    @property
    def needed(self) -> set[str]:
        """Contents that are kept for open questions."""
        hashes = ((one.item.base, one.item.theirs) for one in self.open.values())
        return {sha256 for pair in hashes for sha256 in pair if is_sha256(sha256)}


def load(place: Path) -> Origins:
    """Nothing yet when there is no file."""
    try:
        said = json.loads((place / NAME).read_bytes())
    except FileNotFoundError:
        return Origins(place)
    waiting = {path: _open(one) for path, one in said["open"].items()}
    return Origins(place, waiting, {str(path): str(sha256) for path, sha256 in said["done"].items()})


def _open(said: Mapping[str, object]) -> Open:
    words = (str(said[name]) for name in ("path", "base", "ours", "theirs"))
    path, base, ours, theirs = words
    mode, secret = int(str(said["mode"])), bool(said["secret"])
    return Open(Item(path, base, ours, theirs, mode, secret, str(said["why"])), bool(said["here"]))
