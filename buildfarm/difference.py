"""What a machine sees that goes from one release to another."""

import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildfarm import index, manifest
from buildfarm.manifest import Manifest

WORLD = ("var/lib/portage/world", "var/lib/portage/world_sets")
Slot = tuple[str, str]
"""(category/name, slot)."""


@dataclass(frozen=True)
class Shipped:
    """A package as a release has it."""

    version: str
    build_id: str
    sha256: str
    size_bytes: int

    def __str__(self) -> str:
        return f"{self.version} (build {self.build_id})"


@dataclass(frozen=True)
class Contents:
    """What of a release is compared."""

    sealed: Manifest
    packages: Mapping[Slot, Shipped]
    configuration: Mapping[str, bytes]
    """Files of /etc/portage and world, relative to /; of a link its target."""


@dataclass(frozen=True)
class Difference:
    """From `before` to `after`; each name stands in one of the three kinds only."""

    before: str
    after: str
    added: tuple[tuple[Slot, Shipped], ...]
    removed: tuple[tuple[Slot, Shipped], ...]
    changed: tuple[tuple[Slot, Shipped, Shipped], ...]
    reboot: bool
    """The kernel is another one."""
    files: tuple[str, ...]
    """Other files of the release that differ: installer, stage, trees."""
    portage: tuple[str, ...]
    """`+`, `-` or `~` and a file below /etc."""
    world: tuple[str, ...]
    """`+` or `-` and an atom or set."""
    snapshots: tuple[str, str]
    fetch_bytes: int
    """Size of the packages a machine has to fetch."""
    size_bytes: tuple[int, int]

    def lines(self) -> list[str]:
        """For a person, one fact a line."""
        said = [f"{self.before} -> {self.after}"]
        if self.snapshots[0] != self.snapshots[1]:
            said.append(f"snapshot {self.snapshots[0]} -> {self.snapshots[1]}")
        said += [f"+ {_name(slot)} {one}" for slot, one in self.added]
        said += [f"- {_name(slot)} {one}" for slot, one in self.removed]
        said += [f"~ {_name(slot)} {old} -> {new}" for slot, old, new in self.changed]
        said += [f"world {line}" for line in self.world]
        said += [f"portage {line}" for line in self.portage]
        said += [f"{name} is another one" for name in self.files]
        if self.reboot:
            said.append("kernel is another one: reboot needed")
        mebibytes = [size / 2**20 for size in (self.fetch_bytes, *self.size_bytes)]
        said.append("{:.1f} MiB to fetch; {:.1f} MiB before, {:.1f} MiB after".format(*mebibytes))
        return said


def read(place: Path) -> Contents:
    """A sealed release's directory -> what is compared."""
    sealed = manifest.parse((place / "manifest").read_text())
    listed = index.parse((place / "Packages").read_text())
    return Contents(sealed, _packages(listed.paragraphs), _configuration(place / "portage.tar"))


def compare(before: Contents, after: Contents) -> Difference:
    """Pure."""
    old, new = before.packages, after.packages
    changed = [slot for slot in sorted(old.keys() & new.keys()) if old[slot].sha256 != new[slot].sha256]
    added = sorted(new.keys() - old.keys())
    files = _differing({item.name: item.sha256 for item in before.sealed.files},
                       {item.name: item.sha256 for item in after.sealed.files})  # fmt: skip
    configuration = _marked(before.configuration, after.configuration)
    return Difference(
        before=before.sealed.id,
        after=after.sealed.id,
        added=tuple((slot, new[slot]) for slot in added),
        removed=tuple((slot, old[slot]) for slot in sorted(old.keys() - new.keys())),
        changed=tuple((slot, old[slot], new[slot]) for slot in changed),
        reboot="kernel" in files,
        files=tuple(name for name in files if name not in ("kernel", "Packages", "portage.tar")),
        portage=tuple(line for line in configuration if line[1:] not in WORLD),
        world=_atoms(before.configuration, after.configuration),
        snapshots=(before.sealed.snapshot, after.sealed.snapshot),
        fetch_bytes=sum(new[slot].size_bytes for slot in (*added, *changed)),
        size_bytes=(_size(before.sealed), _size(after.sealed)),
    )


def _packages(paragraphs: Iterable[Mapping[str, str]]) -> dict[Slot, Shipped]:
    return {
        index.slot(fields): Shipped(
            index.split_cpv(fields["CPV"])[1],
            fields.get("BUILD_ID", ""),
            fields.get("SHA256") or fields.get("PATH", ""),
            int(fields.get("SIZE") or 0),
        )
        for fields in paragraphs
    }


def _configuration(archive: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(archive) as members:
        for member in members:
            content = members.extractfile(member) if member.isfile() else None
            found[member.name] = content.read() if content else member.linkname.encode()
    return found


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> list[str]:
    return [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]


def _marked(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    marks = {(True, False): "-", (False, True): "+", (True, True): "~"}
    return [f"{marks[name in old, name in new]}{name}" for name in _differing(old, new)]


def _atoms(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> tuple[str, ...]:
    before, after = (
        {line for name in WORLD for line in files.get(name, b"").decode(errors="replace").split()}
        for files in (old, new)
    )
    gone, come = (
        [f"-{atom}" for atom in sorted(before - after)],
        [f"+{atom}" for atom in sorted(after - before)],
    )
    return (*gone, *come)


def _size(sealed: Manifest) -> int:
    return sum(item.size_bytes for item in (*sealed.files, *sealed.packages))


def _name(slot: Slot) -> str:
    return slot[0] if slot[1] == "0" else f"{slot[0]}:{slot[1]}"
