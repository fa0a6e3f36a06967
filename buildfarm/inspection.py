"""Says what is wrong with a sealed release: its signature, its manifest, each of its files and packages."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import Problem
from buildfarm import manifest
from buildfarm.manifest import Item, Manifest
from buildfarm.pool import Pool
from buildfarm.signing import Notary

OWN = frozenset({"manifest", "manifest.sig"})
SHOWN = 5


@dataclass
class Inspector:
    """`deep`: every byte is hashed, else only names and sizes; what two releases share is read once."""

    pool: Pool
    notary: Notary
    deep: bool = True
    _digests: dict[tuple[int, int, int, int], str] = field(default_factory=dict)

    def reasons(self, place: Path) -> list[str]:
        """Why this directory is not the release it is named after; empty when it is."""
        try:
            self.notary.check(place / "manifest", place / "manifest.sig")
            sealed = manifest.parse((place / "manifest").read_text())
        except (Problem, OSError, UnicodeDecodeError) as wrong:
            return [f"its manifest cannot be believed: {wrong}"]
        if sealed.id != place.name:
            return [f"its manifest is that of release {sealed.id}"]
        if not sealed.id.endswith(f"-{sealed.content}"):
            return ["its id is not the hash of its content"]
        return _some([*self._files(place, sealed), *self._packages(sealed)])

    def _files(self, place: Path, sealed: Manifest) -> list[str]:
        listed = {item.name for item in sealed.files}
        strange = sorted(path.name for path in place.iterdir() if path.name not in listed | OWN)
        found = [f"it holds {name}, which its manifest does not list" for name in strange]
        for item in sealed.files:
            if why := self._differs(place / item.name, item):
                found.append(f"{item.name} {why}")
        return found

    def _packages(self, sealed: Manifest) -> list[str]:
        found = []
        for item in sealed.packages:
            if why := self._differs(self.pool.file(item.sha256), item):
                found.append(f"package {item.name} {why}")
        return found

    def _differs(self, path: Path, item: Item) -> str:
        try:
            stat = path.stat()
        except OSError:
            return "is missing"
        if stat.st_size != item.size_bytes:
            return f"has {stat.st_size} bytes, expected {item.size_bytes}"
        if not self.deep:
            return ""
        key = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if key not in self._digests:
            with path.open("rb") as source:
                self._digests[key] = hashlib.file_digest(source, "sha256").hexdigest()
        return "" if self._digests[key] == item.sha256 else "has other bytes than its manifest says"


def _some(found: list[str]) -> list[str]:
    more = len(found) - SHOWN
    return [*found[:SHOWN], f"and {more} more"] if more > 0 else found
