"""What the agent remembers between starts: the release it has, and how far an update came."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from distserver_client import durable
from distserver_client.errors import Problem
from distserver_client.paths import Places

CURRENT, WORLD = "update.json", "world-owners"


@dataclass(frozen=True)
class State:
    """Of the machine."""

    release: str
    """The last one that was reached whole; what central files are mounted of."""
    serial: int = 0
    """Of the last statement of a channel: an older one is not believed."""
    refused: str = ""
    """A release that could not be reached; it is not tried again until another one is ordered."""
    why: str = ""
    """Why it was refused."""


@dataclass(frozen=True)
class Journal:
    """Of an update that is under way."""

    target: str
    before: str
    """The release the machine had whole when it began."""
    done: tuple[str, ...] = ()
    """Names of the steps that ended well, in order."""
    at: str = ""
    """The step that runs, or was cut off."""
    failures: int = 0
    """How often steps that change the machine failed."""
    why: str = ""
    """The last failure, or why it goes back."""
    dirty: bool = False
    """The machine may be neither at `before` nor at `target`: it has to be led to one of them."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Step -> how long it took."""
    received_bytes: int = 0
    torn: bool = False
    """The power failed while Portage ran: what it merged may not be whole."""


def read_state(places: Places) -> State:
    """Raises Problem when the machine does not know what it has."""
    if places.state.is_file():
        said = _load(places.state)
        return State(**{key: said[key] for key in ("release", "serial", "refused", "why") if key in said})
    if places.installed_release.is_file():
        return State(places.installed_release.read_text().strip())
    raise Problem(f"this machine does not know its release: there is no {places.installed_release}")


def write_state(places: Places, state: State) -> None:
    durable.replace(places.state, json.dumps(asdict(state), sort_keys=True).encode())


def read_journal(places: Places) -> Journal | None:
    """None when no update is under way."""
    place = places.journal / CURRENT
    if not place.is_file():
        return None
    said = _load(place)
    known = Journal(target=said["target"], before=said["before"])
    names = ("at", "failures", "why", "torn", "dirty", "seconds", "received_bytes")
    more = {key: said[key] for key in names if key in said}
    return replace(known, done=tuple(said.get("done", ())), **more)


def write_journal(places: Places, journal: Journal) -> None:
    durable.replace(places.journal / CURRENT, json.dumps(asdict(journal), sort_keys=True).encode())


def drop_journal(places: Places) -> None:
    (places.journal / CURRENT).unlink(missing_ok=True)
    if places.journal.is_dir():
        durable.sync(places.journal)


def world_owners(places: Places, otherwise: str) -> list[str]:
    """The releases of which the machine's world may be; two while it is being changed."""
    place = places.journal / WORLD
    return place.read_text().split() if place.is_file() else [otherwise]


def write_world_owners(places: Places, releases: list[str]) -> None:
    durable.replace(places.journal / WORLD, "\n".join([*releases, ""]).encode())


def _load(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    if not isinstance(found, dict):
        raise Problem(f"{path} is no object")
    return found
