"""What a machine sees that goes from one release to another."""

import difflib
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from buildfarm import bases, index, kernel_configs, manifest
from buildfarm.bases import Base
from buildfarm.manifest import Manifest

WORLD = ("var/lib/portage/world", "var/lib/portage/world_sets")
SHOWN_OTHERWISE = ("kernel", "Packages", "bases", "portage.sqfs", "portage.tar")
"""Files of a release whose differences are told by what is in them."""
MOST_LINES = 2000
"""Of a unified diff."""
Slot = tuple[str, str]
"""(category/name, slot)."""


@dataclass(frozen=True)
class Shipped:
    """A package as a release has it."""

    version: str
    build_id: str
    sha256: str
    size_bytes: int
    use: frozenset[str] = frozenset()
    """Those of its USE flags that were on."""

    def __str__(self) -> str:
        return f"{self.version} (build {self.build_id})"


@dataclass(frozen=True)
class Contents:
    """What of a release is compared."""

    sealed: Manifest
    packages: Mapping[Slot, Shipped]
    configuration: Mapping[str, bytes]
    """Files of /etc/portage and world, relative to /; of a link its target."""
    bases: Mapping[str, Base] = field(default_factory=dict)
    """Path -> configuration file as its package has it."""
    kernel_config: Mapping[str, str] | None = None
    """Symbol -> value; None: it is not known."""


@dataclass(frozen=True)
class EtcFile:
    """A configuration file as packages have it, before anybody edits it."""

    path: str
    before: Base | None
    """None: it is new."""
    after: Base | None
    """None: no package has it any more."""

    def __str__(self) -> str:
        """`+`, `-` or `~`, its path and whose it is."""
        if self.before and self.after:
            return f"~{self.path} ({self.before.package} -> {self.after.package})"
        mark, one = ("+", self.after) if self.after else ("-", self.before)
        return f"{mark}{self.path} ({one.package if one else ''})"


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
    etc: tuple[EtcFile, ...] = ()
    """Configuration files that packages have otherwise."""
    kernel_options: tuple[str, ...] | None = ()
    """`+`, `-` or `~` and an option; None: the configuration of one of the kernels is not known."""

    def rows(self) -> list["Row"]:
        """Of packages: those that came, went, and changed."""
        found = [Row(name_of(slot), "added", None, new) for slot, new in self.added]
        found += [Row(name_of(slot), "removed", old, None) for slot, old in self.removed]
        changed = [Row(name_of(slot), "changed", old, new) for slot, old, new in self.changed]
        return [*found, *changed]

    def lines(self) -> list[str]:
        """For a person, one fact a line."""
        said = [f"{self.before} -> {self.after}"]
        if self.snapshots[0] != self.snapshots[1]:
            said.append(f"snapshot {self.snapshots[0]} -> {self.snapshots[1]}")
        said += [f"+ {name_of(slot)} {one}" for slot, one in self.added]
        said += [f"- {name_of(slot)} {one}" for slot, one in self.removed]
        said += [
            f"~ {name_of(slot)} {old} -> {new} {use_change(old, new)}".rstrip()
            for slot, old, new in self.changed
        ]
        said += [f"world {line}" for line in self.world]
        said += [f"portage {line}" for line in self.portage]
        said += [f"{name} is another one" for name in self.files]
        said += [f"etc {one}" for one in self.etc]
        said += [f"kernel {line}" for line in self.kernel_options or ()]
        if self.reboot:
            said.append("kernel is another one: reboot needed")
        mebibytes = [size / 2**20 for size in (self.fetch_bytes, *self.size_bytes)]
        said.append("{:.1f} MiB to fetch; {:.1f} MiB before, {:.1f} MiB after".format(*mebibytes))
        return said


@dataclass(frozen=True)
class Row:
    """What becomes of one package."""

    name: str
    what: str
    """added, removed or changed."""
    before: Shipped | None
    after: Shipped | None

    @property
    def use(self) -> str:
        """`+ssl -doc`, of one that changed."""
        if self.before is None or self.after is None:
            return ""
        return use_change(self.before, self.after).removeprefix("USE ")


def read(place: Path, configs: Path | None = None) -> Contents:
    """A sealed release's directory -> what is compared. `configs`: the room of kernels' configurations.

    Raises Problem for a list of config bases that is none.
    """
    found = read_packages(place)
    digests = {one.sha256 for one in found.packages.values()}
    return replace(
        found,
        configuration=_configuration(place / "portage.tar"),
        bases={one.path: one for one in bases.parse((place / "bases").read_text())},
        kernel_config=kernel_configs.read(configs, digests) if configs else None,
    )


def read_packages(place: Path) -> Contents:
    """The same without configuration, neither of packages nor of the kernel."""
    sealed = manifest.parse((place / "manifest").read_text())
    return Contents(sealed, _packages(index.parse((place / "Packages").read_text()).paragraphs), {})


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
        files=tuple(name for name in files if name not in SHOWN_OTHERWISE),
        portage=tuple(line for line in configuration if line[1:] not in WORLD),
        world=_atoms(before.configuration, after.configuration),
        snapshots=(before.sealed.snapshot, after.sealed.snapshot),
        fetch_bytes=sum(new[slot].size_bytes for slot in (*added, *changed)),
        size_bytes=(_size(before.sealed), _size(after.sealed)),
        etc=etc_changes(before.bases, after.bases),
        kernel_options=kernel_configs.compare(before.kernel_config, after.kernel_config),
    )


def etc_changes(old: Mapping[str, Base], new: Mapping[str, Base]) -> tuple[EtcFile, ...]:
    """Those whose bytes differ: the same file in another version of its package is the same file."""
    digests = {path: one.sha256 for path, one in old.items()}, {path: one.sha256 for path, one in new.items()}
    return tuple(EtcFile(path, old.get(path), new.get(path)) for path in _differing(*digests))


def use_change(old: Shipped, new: Shipped) -> str:
    """`USE +ssl -doc`; empty when the flags are the same."""
    marked = [f"+{flag}" for flag in sorted(new.use - old.use)]
    marked += [f"-{flag}" for flag in sorted(old.use - new.use)]
    return f"USE {' '.join(marked)}" if marked else ""


def unified(before: bytes, after: bytes) -> tuple[str, ...] | None:
    """Lines of a unified diff; None when one of them is no text."""
    if b"\0" in before + after:
        return None
    old, new = (raw.decode(errors="replace").splitlines() for raw in (before, after))
    return tuple(difflib.unified_diff(old, new, "before", "after", lineterm=""))[:MOST_LINES]


def _packages(paragraphs: Iterable[Mapping[str, str]]) -> dict[Slot, Shipped]:
    return {
        index.slot(fields): Shipped(
            index.split_cpv(fields["CPV"])[1],
            fields.get("BUILD_ID", ""),
            fields.get("SHA256") or fields.get("PATH", ""),
            int(fields.get("SIZE") or 0),
            frozenset(fields.get("USE", "").split()),
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


def name_of(slot: Slot) -> str:
    """`category/name`, with its slot when that is not 0."""
    return slot[0] if slot[1] == "0" else f"{slot[0]}:{slot[1]}"
