"""Finds the configuration files that a package wants to change, with their three versions."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from distserver_client import places, replacing, validators
from distserver_client.origins import Origins
from distserver_client.places import Metadata
from distserver_client.protection import Protection
from distserver_client.snapshots import Store
from distserver_client.triples import ABSENT, Bases, Kind, Version, digest

NEW = re.compile(r"^\._cfg(\d{4})_(.+)$")
"""How Portage names a version that it holds back (portage.util.new_protect_filename)."""
OURS = (f".{replacing.SUFFIX}", f".{validators.SUFFIX}")
"""How the files end that lie beside a live one for a moment."""


@dataclass(frozen=True)
class Proposal:
    """One path with its versions; `real` is where ours is, when the path leads there by links."""

    path: str
    real: str
    base: Version | None
    """None: not known any more."""
    ours: Version
    theirs: Version
    like: Metadata
    """Of theirs, for a path at which nothing is."""
    names: int
    """Hard links of ours."""
    leftovers: tuple[str, ...]
    """All `._cfg*` of the path, the newest last."""
    obstacle: str = ""
    """Why ours cannot be replaced as it is."""


@dataclass(frozen=True)
class Found:
    proposals: tuple[Proposal, ...]
    dropped: tuple[str, ...]
    """Protected files that are still here and that no package ships any more."""
    useless: tuple[str, ...]
    """`._cfg*` of paths that are not protected (any more), and what a killed agent left beside a file."""
    unreadable: tuple[tuple[str, str], ...]
    """Path and why."""


@dataclass(frozen=True)
class Scan:
    """All that the search needs to know."""

    root: Path
    bases: Bases
    protection: Protection
    store: Store
    origins: Origins

    def run(self) -> Found:
        held, useless = self._held()
        found, unreadable = [], []
        for path in sorted({*held, *self._changed()}):
            try:
                proposal = self._proposal(path, held.get(path, ()))
            except OSError as failure:
                unreadable.append((path, failure.strerror or str(failure)))
                continue
            if proposal:
                found.append(proposal)
        return Found(tuple(found), tuple(self._dropped()), tuple(useless), tuple(unreadable))

    def _held(self) -> tuple[dict[str, tuple[str, ...]], list[str]]:
        """path -> its `._cfg*`, the newest last; and what lies there for nothing."""
        held: dict[str, tuple[str, ...]] = {}
        useless = []
        for directory, name in self._names():
            if name.startswith(".") and name.endswith(OURS):
                useless.append(f"{directory}/{name}")
            match = NEW.match(name)
            if match is None:
                continue
            path = f"{directory}/{match[2]}"
            if self.protection.covers(path):
                held[path] = tuple(sorted({*held.get(path, ()), f"{directory}/{name}"}))
            else:
                useless.append(f"{directory}/{name}")
        return held, sorted(set(useless))

    def _names(self) -> Iterator[tuple[str, str]]:
        """Every name below what is protected, and beside a protected file; links are not followed."""
        for entry in self.protection.protect:
            place = places.inside(self.root, entry)
            if places.resolve(self.root, entry) != entry:
                # Where it leads to is looked at when that is protected, too.
                continue
            if place.is_dir():
                for directory, _, names in os.walk(place):
                    below = str(Path(directory).relative_to(place))
                    yield from ((entry if below == "." else f"{entry}/{below}", name) for name in names)
            elif place.parent.is_dir():
                yield from ((entry.rpartition("/")[0], one.name) for one in place.parent.iterdir())

    def _changed(self) -> Iterator[str]:
        """Paths of which another version is shipped now: Portage is silent on what it offered once before."""
        installed, shipped = self.bases.installed(), self.bases.shipped()
        for path, sha256 in shipped.items():
            if path in installed and installed[path] != sha256 and self.protection.covers(path):
                yield path

    def _dropped(self) -> Iterator[str]:
        gone = self.bases.installed().keys() - self.bases.shipped().keys()
        for path in sorted(gone):
            if self.protection.covers(path) and os.path.lexists(places.inside(self.root, path)):
                yield path

    def _proposal(self, path: str, held: tuple[str, ...]) -> Proposal | None:
        if held:
            newest = places.inside(self.root, held[-1])
            theirs, like = places.version(newest), places.describe(newest)
        else:
            content = self._content(self.bases.shipped()[path])
            if content is None:
                raise OSError(0, "what the package ships now cannot be had")
            theirs, like = Version(Kind.FILE, content), Metadata(0o644, 0, 0)
        real, obstacle = self._real(path, theirs)
        place = places.inside(self.root, real)
        ours = places.version(place)
        if not held and (ours.sha256 == theirs.sha256 or self.origins.done.get(path) == theirs.sha256):
            return None
        names = place.lstat().st_nlink if ours.kind is Kind.FILE else 1
        base = self._base(path, theirs, held)
        return Proposal(path, real, base, ours, theirs, like, names, held, obstacle)

    def _real(self, path: str, theirs: Version) -> tuple[str, str]:
        """Where ours is, and why it cannot be replaced there."""
        directory, _, name = path.rpartition("/")
        real = f"{places.resolve(self.root, directory).rstrip('/')}/{name}"
        if real != path and not self.protection.covers(real):
            return real, f"it is {real}, which is not protected"
        place = places.inside(self.root, real)
        if theirs.kind is Kind.FILE and place.is_symlink():
            target = places.resolve(self.root, real)
            if (
                self.protection.covers(target)
                and places.version(places.inside(self.root, target)).kind is Kind.FILE
            ):
                return target, ""
        return real, ""

    def _base(self, path: str, theirs: Version, held: tuple[str, ...]) -> Version | None:
        """What ours derives from. A question that waits keeps its base while its `._cfg*` is there."""
        waiting = self.origins.open.get(path)
        if waiting and any(_sha256(places.inside(self.root, one)) == waiting.item.theirs for one in held):
            return self._version(waiting.item.base)
        if theirs.sha256 and self.origins.done.get(path) == theirs.sha256:
            return theirs
        installed = self.bases.installed()
        if path not in installed:
            # Without a list of any kind, nobody can say that it was not there.
            return ABSENT if installed else None
        return self._version(installed[path])

    def _version(self, sha256: str) -> Version | None:
        content = self._content(sha256)
        return Version(Kind.FILE, content) if content is not None else None

    def _content(self, sha256: str) -> bytes | None:
        content = self.store.content(sha256) or self.bases.content(sha256)
        return content if content is not None and digest(content) == sha256 else None


def _sha256(place: Path) -> str:
    try:
        return places.version(place).sha256
    except OSError:
        return ""
