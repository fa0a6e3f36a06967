"""Configuration files as the packages of a release ship them: their hashes, and their contents kept here."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from distserver_client import durable
from distserver_client.paths import Places
from distserver_client.triples import digest

FIRST_LINE = "distserver-bases 1"
MOST_BYTES = 16 << 20
SIBLING = "._cfg????_{}"
"""What Portage calls a new version beside a file that was changed."""


@dataclass(frozen=True)
class Recorded:
    """What an update needs of two releases; fulfils triples.Bases."""

    places: Places
    before: str
    after: str

    def installed(self) -> Mapping[str, str]:
        return read(self.places, self.before)

    def shipped(self) -> Mapping[str, str]:
        return read(self.places, self.after)

    def content(self, sha256: str) -> bytes | None:
        place = self.places.bases / sha256
        found = place.read_bytes() if place.is_file() else None
        return found if found is not None and digest(found) == sha256 else None


def parse(text: str) -> dict[str, str]:
    """path -> SHA256, of lines SHA256 PACKAGE PATH; another form of list says nothing. Pure."""
    first, *lines = text.splitlines() or [""]
    if first != FIRST_LINE:
        return {}
    words = (line.split(" ", 2) for line in lines)
    return {one[2]: one[0] for one in words if len(one) == 3}


def read(places: Places, release: str) -> dict[str, str]:
    """Nothing of a release that is not kept here any more."""
    place = places.release(release) / "bases"
    return parse(place.read_text(errors="surrogateescape")) if place.is_file() else {}


def record(places: Places, release: str) -> None:
    """Keep the contents of a release's files that are here as they were shipped.

    Called before and after emerge: a file that nobody changed is its own pristine version, and beside one
    that was changed Portage puts the new one. So what a package shipped is kept before it can be edited.
    """
    for path, sha256 in sorted(read(places, release).items()):
        place = places.bases / sha256
        if place.is_file():
            continue
        for candidate in _candidates(places.root / path.lstrip("/")):
            content = candidate.read_bytes()
            if digest(content) == sha256:
                durable.replace(place, content, 0o600)
                break


def prune(places: Places, *releases: str) -> None:
    """Forget contents that no kept release ships."""
    wanted = {sha256 for release in releases for sha256 in read(places, release).values()}
    for place in places.bases.glob("*"):
        if place.name not in wanted:
            place.unlink()


def _candidates(path: Path) -> list[Path]:
    siblings = sorted(path.parent.glob(SIBLING.format(path.name))) if path.parent.is_dir() else []
    there = [path, *siblings]
    return [
        one for one in there if one.is_file() and not one.is_symlink() and one.stat().st_size < MOST_BYTES
    ]
