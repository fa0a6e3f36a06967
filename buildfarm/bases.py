"""Config bases: every protected file of a release's packages as it is before anybody edits it."""

import hashlib
import os
import shlex
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance.durable import sync
from appliance.errors import Problem
from appliance.farm_model import Package
from buildfarm import gpkg
from buildfarm.pool import Pool

FIRST_LINE = "distserver-bases 1"
CHUNK_BYTES = 1 << 20
LISTS = "packages"


@dataclass(frozen=True)
class Protection:
    """CONFIG_PROTECT and CONFIG_PROTECT_MASK: files or directories, absolute."""

    protect: tuple[str, ...]
    mask: tuple[str, ...]

    def covers(self, path: str) -> bool:
        """As Portage's ConfigProtect decides: the longer entry wins, and the mask when both are as long."""
        return _longest(self.protect, path) > _longest(self.mask, path)

    @property
    def key(self) -> str:
        return hashlib.sha256(repr((self.protect, self.mask)).encode()).hexdigest()[:12]


@dataclass(frozen=True, order=True)
class Base:
    path: str
    package: str
    """category/PF-BUILDID."""
    sha256: str


def protection(header: Mapping[str, str]) -> Protection:
    """From the header of an index, which has both as the shell words of make.conf."""
    names = ("CONFIG_PROTECT", "CONFIG_PROTECT_MASK")
    protect, mask = (tuple(sorted(_clean(header.get(name, "")))) for name in names)
    return Protection(protect, mask)


def write(bases: Iterable[Base]) -> str:
    lines = [f"{base.sha256} {base.package} {base.path}" for base in sorted(bases)]
    return "\n".join([FIRST_LINE, *lines, ""])


def parse(text: str) -> list[Base]:
    """Read what write() wrote; raises Problem naming the line that is wrong."""
    first, *lines = text.split("\n")
    if first != FIRST_LINE:
        raise Problem(f"the list of config bases starts with {first[:80]!r}, expected {FIRST_LINE!r}")
    found = []
    for number, line in enumerate(lines, 2):
        words = line.split(" ", 2)
        if len(words) == 3:
            found.append(Base(words[2], words[1], words[0]))
        elif line:
            raise Problem(f"line {number} of the list of config bases is not SHA256 PACKAGE PATH: {line!r}")
    return found


@dataclass(frozen=True)
class Store:
    """etc-base/<sha256>, and beside them what each package has, so that each is unpacked once."""

    path: Path

    def file(self, sha256: str) -> Path:
        return self.path / sha256

    def gather(self, packages: Sequence[Package], pool: Pool, protected: Protection) -> list[Base]:
        """The bases of all packages; their contents are on the disk when this returns."""
        return [
            Base(path, f"{package.cpv}-{package.build_id}", sha256)
            for package in packages
            for sha256, path in self._of(package, pool, protected)
        ]

    def lists(self) -> list[Path]:
        """What is known of packages, `<sha256>-<protection>` each."""
        return sorted(self.path.glob(f"{LISTS}/*-*"))

    def _of(self, package: Package, pool: Pool, protected: Protection) -> list[tuple[str, str]]:
        known = self.path / LISTS / f"{package.sha256}-{protected.key}"
        if known.exists():
            pairs = [(line[:64], line[65:]) for line in known.read_text().split("\n") if line]
            if all(self.file(sha256).exists() for sha256, _ in pairs):
                return pairs
        pairs = []
        for path, content in gpkg.read_image(pool.file(package.sha256), wanted=protected.covers):
            if "\n" not in path:
                pairs.append((self._keep(content), path))
        known.parent.mkdir(parents=True, exist_ok=True)
        self._place("".join(f"{sha256} {path}\n" for sha256, path in pairs).encode(), known)
        return pairs

    def _keep(self, content: IO[bytes]) -> str:
        data = content.read()
        sha256 = hashlib.sha256(data).hexdigest()
        if self.file(sha256).exists():
            os.utime(self.file(sha256))  # gc leaves what is young: a release is about to name it
        else:
            self._place(data, self.file(sha256))
        return sha256

    def _place(self, data: bytes, place: Path) -> None:
        """A name here always has all of its content, whatever is killed."""
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".part-", delete=False) as sink:
            part = Path(sink.name)
            try:
                sink.write(data)
                sink.flush()
                os.fsync(sink.fileno())
                part.chmod(0o644)
                part.rename(place)
            finally:
                part.unlink(missing_ok=True)
        sync(place.parent)


def _clean(text: str) -> list[str]:
    return ["/" + "/".join(part for part in word.split("/") if part) for word in shlex.split(text)]


def _longest(entries: Iterable[str], path: str) -> int:
    hits = [len(one) for one in entries if path == one or path.startswith(one.rstrip("/") + "/")]
    return max(hits, default=0)
