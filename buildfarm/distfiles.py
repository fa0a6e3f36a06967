"""Fetches what the reference repository compiles: tarballs of Debian's sources, checked by Manifest."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Tree
from buildfarm import debian
from buildfarm.reference import exclusive, workplace

Progress = Callable[[str], None]

LIST = Path("metadata/debian-sources")
ALGORITHMS: Mapping[str, str] = {"BLAKE2B": "blake2b", "SHA512": "sha512"}


@dataclass(frozen=True)
class Source:
    """One distfile and where Debian's archive keeps its bytes."""

    distfile: str
    package: str
    version: str
    file: str


@dataclass(frozen=True)
class Dist:
    """A DIST line of a Manifest (GLEP 74)."""

    name: str
    size_bytes: int
    hashes: Mapping[str, str]


def parse_sources(text: str) -> tuple[Source, ...]:
    """Lines of `<distfile> <source package> <version> <file in the archive>`; # starts a comment."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and len(words) != 4:
            raise Problem(f"{LIST}, line {number}: expected 4 words, found {len(words)}: {line!r}")
        if words:
            found.append(Source(*words))
    return tuple(found)


def parse_manifest(text: str) -> tuple[Dist, ...]:
    """The DIST lines of a Manifest."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] != ["DIST"]:
            continue
        hashes = dict(zip(words[3::2], words[4::2], strict=False))
        if len(words) < 5 or len(words) % 2 == 0 or not words[2].isdecimal():
            raise Problem(
                f"this line of a Manifest is not `DIST <name> <size> <algorithm> <hash> ...`: {line!r}"
            )
        found.append(Dist(words[1], int(words[2]), hashes))
    return tuple(found)


def mismatch(path: Path, dist: Dist) -> str:
    """What differs between a file and its Manifest line, both values named; empty when nothing does."""
    size = path.stat().st_size
    if size != dist.size_bytes:
        return f"it has {size} bytes, the Manifest says {dist.size_bytes}"
    known = [name for name in ALGORITHMS if name in dist.hashes]
    if not known:
        return f"the Manifest has no {' or '.join(ALGORITHMS)} hash for it"
    for name in known:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, ALGORITHMS[name]).hexdigest()
        if found != dist.hashes[name].lower():
            return f"its {name} is {found}, the Manifest says {dist.hashes[name]}"
    return ""


def fetch_reference(repository: Path, tree: Tree, progress: Progress) -> None:
    """Put every distfile that `metadata/debian-sources` lists into the distfiles directory.

    Files that are there and match stay; each new one appears under its name only after its size and hashes
    were found right. Raises Problem when apt cannot fetch one or when one is not what the Manifest says.
    """
    distfiles = tree.room("distfiles").resolve()
    dists = _dists(repository)
    with exclusive(distfiles / ".reference.lock"), workplace(distfiles, ".reference-") as place:
        missing = []
        for source in parse_sources((repository / LIST).read_text()):
            if source.distfile not in dists:
                raise Problem(f"{repository / LIST} lists {source.distfile}, but no Manifest has it")
            present = distfiles / source.distfile
            if not present.is_file() or mismatch(present, dists[source.distfile]):
                missing.append(source)
        if missing:
            _fetch(missing, dists, place, distfiles, tree, progress)


def _fetch(
    missing: Sequence[Source],
    dists: Mapping[str, Dist],
    place: Path,
    distfiles: Path,
    tree: Tree,
    progress: Progress,
) -> None:
    size = sum(dists[source.distfile].size_bytes for source in missing)
    progress(f"distfiles: fetching {len(missing)} tarballs, {size / 1e6:.0f} MB")
    wanted = sorted({(source.package, source.version) for source in missing})
    debian.fetch_sources(tree.room("apt").resolve(), wanted, place)
    for source in missing:
        fetched = place / source.file
        if not fetched.is_file():
            raise Problem(f"the Debian source {source.package} {source.version} has no file {source.file}")
        wrong = mismatch(fetched, dists[source.distfile])
        if wrong:
            raise Problem(f"{source.distfile} is not what the repository expects: {wrong}")
        fetched.replace(distfiles / source.distfile)


def _dists(repository: Path) -> dict[str, Dist]:
    manifests = sorted(repository.glob("*/*/Manifest"))
    return {dist.name: dist for path in manifests for dist in parse_manifest(path.read_text())}
