"""Files of a root as a chroot sees them, of one directory or of overlay layers; nothing is mounted."""

import fnmatch
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.sandbox import Overlay, Sandbox
from buildfarm.elf import Linkage, linkage

PROGRAM_PLACES = ("bin", "usr/bin", "sbin", "usr/sbin")
LIBRARY_PLACES = ("lib64", "usr/lib64", "lib", "usr/lib", "lib/*-linux-gnu*", "usr/lib/*-linux-gnu*")
LINK_DEPTH = 40


@dataclass(frozen=True)
class Trail:
    """What a path means inside: the directories and links on the way, and where it ends."""

    name: str
    """Relative to the root, without links."""
    path: Path
    """Where that is on the host."""
    directories: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    """(name, target) of each link that was followed."""


@dataclass(frozen=True)
class Needed:
    """A file that a program needs, and what it asks for by name."""

    name: str
    trail: Trail


@dataclass(frozen=True)
class View:
    """`layers`: directories, the uppermost first, as overlayfs would merge them."""

    layers: tuple[Path, ...]

    def trail(self, name: str) -> Trail | None:
        """Follow a path as a chroot would; None when it dangles."""
        pending = _words(name)
        stack = [("", self.layers)]
        directories: list[str] = []
        links: list[tuple[str, str]] = []
        while pending:
            word = pending.pop(0)
            if word == "..":
                stack = stack[: max(1, len(stack) - 1)]
                continue
            here, places = stack[-1]
            found = _lookup(places, word)
            place = f"{here}/{word}".lstrip("/")
            if not found or len(links) > LINK_DEPTH:
                return None
            if found[0].is_symlink():
                aim = str(found[0].readlink())
                links.append((place, aim))
                stack = stack[:1] if aim.startswith("/") else stack
                pending = _words(aim) + pending
            elif found[0].is_dir():
                directories.append(place)
                stack.append((place, found))
            elif pending:
                return None
            else:
                return Trail(place, found[0], tuple(directories), tuple(links))
        return Trail(stack[-1][0], stack[-1][1][0], tuple(directories), tuple(links))

    def find(self, name: str) -> Path | None:
        """The real file on the host that a path means inside; None when it dangles."""
        trail = self.trail(name)
        return trail.path if trail else None

    def file(self, name: str) -> Trail | None:
        """Like trail(), only for what ends at a plain file."""
        trail = self.trail(name)
        return trail if trail and trail.path.is_file() else None

    def names(self, directory: str) -> list[str]:
        """What is in a directory, sorted."""
        trail = self.trail(directory)
        if trail is None or not trail.path.is_dir():
            return []
        stack = self.layers
        for word in _words(trail.name):
            stack = _lookup(stack, word)
        seen = {path.name for place in stack for path in place.iterdir()}
        return sorted(name for name in seen if _lookup(stack, name))

    def program(self, name: str) -> Trail | None:
        """A program by its name, as PATH finds it."""
        return next((found for place in PROGRAM_PLACES if (found := self.file(f"{place}/{name}"))), None)

    def library_places(self) -> list[str]:
        """Where the dynamic loader looks: what ld.so.conf names, then the usual directories."""
        places = [place.lstrip("/") for place in self._configured("etc/ld.so.conf")]
        for pattern in LIBRARY_PLACES:
            base, _, last = pattern.rpartition("/")
            if "*" in last:
                places += [f"{base}/{name}" for name in fnmatch.filter(self.names(base), last)]
            else:
                places.append(pattern)
        return list(dict.fromkeys(places))

    def _configured(self, name: str) -> Iterator[str]:
        found = self.file(name)
        for line in found.path.read_text(errors="replace").splitlines() if found else ():
            words = line.partition("#")[0].split()
            if words[:1] == ["include"]:
                for pattern in words[1:]:
                    aim = pattern.lstrip("/") if pattern.startswith("/") else f"etc/{pattern}"
                    base, _, last = aim.rpartition("/")
                    for each in fnmatch.filter(self.names(base), last):
                        yield from self._configured(f"{base}/{each}")
            elif words and words[0].startswith("/"):
                yield words[0]

    def needs(self, program: Trail) -> list[Needed]:
        """The loader (first, when there is one) and every library of a program; [] for what is no ELF file.

        Raises Problem that names a library which is not there.
        """
        about = linkage(program.path.read_bytes())
        if about is None:
            return []
        found: list[Needed] = []
        if about.interpreter:
            loader = self.file(about.interpreter)
            if loader is None:
                raise Problem(f"{program.name} needs {about.interpreter}, which is not in {self}")
            found.append(Needed(about.interpreter, loader))
        seen = {PurePosixPath(about.interpreter).name}
        places = self.library_places()
        pending = [(name, about, program) for name in about.needed]
        while pending:
            name, user, asker = pending.pop(0)
            if name not in seen:
                seen.add(name)
                library, linked = self._library(name, user, asker, places)
                found.append(Needed(name, library))
                pending += [(needed, linked, library) for needed in linked.needed]
        return found

    def _library(self, name: str, user: Linkage, asker: Trail, places: list[str]) -> tuple[Trail, Linkage]:
        origin = str(PurePosixPath("/" + asker.name).parent)
        own = [place.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for place in user.runpath]
        for place in (*own, *places):
            trail = self.file(f"{place}/{name}")
            linked = linkage(trail.path.read_bytes()) if trail else None
            if trail and linked and linked.machine == user.machine:
                return trail, linked
        raise Problem(f"library {name} is not in {self}", hint="its package is missing in the build stage")

    def __str__(self) -> str:
        return " over ".join(map(str, self.layers))


def view(sandbox: Sandbox) -> View:
    """The files a sandbox would show, without what is mounted below its root."""
    for mount in sandbox.mounts:
        if isinstance(mount, Overlay):
            return View((mount.upper, *mount.lower))
    return View((sandbox.root,))


def _words(name: str) -> list[str]:
    return [word for word in PurePosixPath(name).parts if word != "/"]


def _lookup(places: tuple[Path, ...], word: str) -> tuple[Path, ...]:
    """An entry of merged directories: one path, or for a directory all that are merged."""
    found: list[Path] = []
    for place in places:
        path = place / word
        try:
            mode = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        whiteout = stat.S_ISCHR(mode.st_mode) and mode.st_rdev == 0
        if whiteout or (found and not stat.S_ISDIR(mode.st_mode)):
            break
        found.append(path)
        if not stat.S_ISDIR(mode.st_mode) or _opaque(path):
            break
    return tuple(found)


def _opaque(path: Path) -> bool:
    """Was this directory made anew over a removed one? (Linux, Documentation/filesystems/overlayfs.rst)"""
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False
