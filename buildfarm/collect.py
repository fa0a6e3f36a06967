"""Removes what no release, channel, pin, machine or build names: first the name, then the bytes."""

import json
import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.channels import Channels
from appliance.durable import sync
from appliance.errors import Problem
from appliance.model import Tree
from appliance.statement import RELEASE_ID
from appliance.store import Store
from appliance.store.releases import DONE
from buildfarm import bases, index, keeping, kernel_configs, manifest
from buildfarm.keeping import Entry, Named, Rules
from buildfarm.pool import Pool
from buildfarm.release import DAMAGED, PARTIAL

log = logging.getLogger(__name__)

REMOVED = ".removed"
"""Ending of a release's directory that lost its name and waits for its bytes to go."""
SUFFIX = ".gpkg.tar"


@dataclass(frozen=True)
class Fate:
    """One thing of the state, and why it stays; without a reason it goes."""

    kind: str
    """release, package, snapshot, stage, toolchain, base, content, log, installer, planner, image or rest."""
    name: str
    size_bytes: int
    reasons: tuple[str, ...]
    path: Path

    @property
    def goes(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class _Contents:
    """What a release names."""

    place: Path
    entry: Entry
    snapshots: frozenset[str]
    packages: frozenset[str]
    bases: frozenset[str]
    is_whole: bool
    """All of it could be read; else nobody knows what it names."""


@dataclass(frozen=True)
class Keep:
    """What the site says in [gc]."""

    releases: int
    seconds: float


@dataclass(frozen=True)
class Collector:
    tree: Tree
    store: Store
    channels: Channels
    keep: Keep
    clock: Callable[[], float]

    @property
    def pool(self) -> Pool:
        return Pool((self.tree.path / "pool").resolve())

    def collect(self, *, dry_run: bool) -> list[Fate]:
        """Every thing with its fate; what goes is gone afterwards unless it is a dry run.

        No build can look into the pool, seal or publish meanwhile. Killed at any point it leaves names whose
        content is whole, and content without a name, which the next run takes.
        """
        with self.pool.cleaning(), self.channels.lock():
            fates = self.decide()
            if not dry_run:
                self._unname([fate for fate in fates if fate.goes])
        if not dry_run:
            for left in sorted(self._room("releases").glob(f"*{REMOVED}")):
                shutil.rmtree(left)
        return fates

    def decide(self) -> list[Fate]:
        """Called by who holds the locks."""
        attempts = [place for place in sorted(self._room("roots").glob("*/attempt")) if place.is_dir()]
        busy = min((place.stat().st_mtime for place in attempts), default=None)
        rules = Rules(self.clock(), self.keep.releases, self.keep.seconds, busy)
        contents = [_read(place) for place in self._releases()]
        why = keeping.releases([one.entry for one in contents], self._named(), rules)
        kept = [one for one in contents if why[one.entry.id]]
        releases = [_fate("release", one.place, why[one.entry.id]) for one in contents]
        return [
            *releases,
            *self._packages(kept, attempts, rules),
            *self._snapshots(kept, rules),
            *self._stages(rules),
            *self._toolchains(rules),
            *self._bases(kept, rules),
            *self._kernel_configs(rules),
            *self._contents(),
            *self._logs(rules),
            *self._images({one.entry.id for one in kept}),
            *self._rest(rules),
        ]

    def _named(self) -> Named:
        history: dict[str, dict[str, None]] = {}
        for move in self.store.releases.moves():
            if move.state == DONE:
                history.setdefault(f"{move.profile}/{move.channel}", {})[move.release] = None
        return Named(
            channels={f"{said.profile}/{said.channel}": said.release for said in self.channels.all()},
            pins={f"{pin.profile}/{pin.channel}": pin.release for pin in self.store.releases.pins()},
            machines={one.mac: one.release for one in self.store.machines.all() if one.release},
            history={channel: tuple(named) for channel, named in history.items()},
            media={one.id: one.releases[0][0] for one in self.store.media.all() if one.allows(self.clock())},
        )

    def _releases(self) -> list[Path]:
        return [
            place for place in sorted(self._room("releases").iterdir()) if RELEASE_ID.fullmatch(place.name)
        ]

    def _packages(self, kept: Sequence[_Contents], attempts: Sequence[Path], rules: Rules) -> list[Fate]:
        named = _by_name((one.entry.id, one.packages) for one in kept)
        blind = [one.entry.id for one in kept if not one.is_whole]
        in_use = _offered(attempts) | _in_roots(self._room("roots").glob("*/outcome.json"))
        found = []
        for path in sorted(self.pool.path.glob(f"*/*{SUFFIX}")):
            sha256, stat = path.name.removesuffix(SUFFIX), path.stat()
            reasons = [f"release {keeping.some(named[sha256])} names it"] if sha256 in named else []
            reasons += ["a root or a running build has it"] if sha256 in in_use else []
            reasons += ["a build has it linked"] if stat.st_nlink > 1 else []
            reasons += ["it is young"] if rules.is_young(stat.st_mtime) else []
            reasons += [f"release {keeping.some(blind)} cannot be read"] if blind else []
            found.append(Fate("package", sha256, stat.st_size, tuple(reasons), path))
        return found

    def _snapshots(self, kept: Sequence[_Contents], rules: Rules) -> list[Fate]:
        named = _by_name((one.entry.id, one.snapshots) for one in kept)
        images = sorted(self._room("snapshots").glob("*.sqfs"))
        newest: dict[str, Path] = {}
        for image in images:
            repository = _repository(image)
            if repository not in newest or image.stat().st_mtime > newest[repository].stat().st_mtime:
                newest[repository] = image
        current = {one.image for one in self.store.snapshots.all().values()}
        found = []
        for image in images:
            revision, stat = image.name.partition(".")[0].partition("-")[0], image.stat()
            reasons = [f"release {keeping.some(named[revision])} was made of it"] if revision in named else []
            reasons += ["it is the current one"] if image.name in current else []
            reasons += ["it is the newest of its repository"] if image in newest.values() else []
            reasons += ["it is young"] if rules.is_young(stat.st_mtime) else []
            found.append(Fate("snapshot", image.name, stat.st_size, tuple(reasons), image))
        return found

    def _stages(self, rules: Rules) -> list[Fate]:
        roots = _texts(self._room("roots").glob("*/head")) + _texts(
            self._room("roots").glob("*/attempt/head")
        )
        found = []
        for place in self._room("stages").iterdir():
            if place.is_dir() and not place.name.startswith("."):
                archives = [one.stat() for one in place.iterdir() if one.is_file()]
                times = [place.stat().st_mtime, *(stat.st_mtime for stat in archives)]
                reasons = ["a root is built on it"] if any(place.name in text for text in roots) else []
                reasons += ["a release has its archive"] if any(one.st_nlink > 1 for one in archives) else []
                reasons += ["it is young"] if rules.is_young(max(times)) else []
                size = sum(stat.st_size for stat in archives)
                found.append(Fate("stage", place.name, size, tuple(reasons), place))
        return sorted(found, key=lambda fate: fate.name)

    def _toolchains(self, rules: Rules) -> list[Fate]:
        ordered = set(self.store.compile_hosts.wanted(now=rules.now))
        found = []
        for image in sorted(self._room("toolchains").glob("[!.]*.sqfs")):
            reasons = ["it is ordered onto compile hosts"] if image.stem in ordered else []
            reasons += ["it is young"] if rules.is_young(image.stat().st_mtime) else []
            found.append(_fate("toolchain", image, reasons))
        return found

    def _bases(self, kept: Sequence[_Contents], rules: Rules) -> list[Fate]:
        named = _by_name((one.entry.id, one.bases) for one in kept)
        blind = [one.entry.id for one in kept if not one.is_whole]
        asked = self.store.contents.named()
        store = bases.Store(self._room("etc-base"))
        found = []
        for path in sorted(one for one in store.path.iterdir() if one.is_file()):
            reasons = [f"release {keeping.some(named[path.name])} names it"] if path.name in named else []
            reasons += ["a merge names it"] if path.name in asked else []
            reasons += ["it is young"] if rules.is_young(path.stat().st_mtime) else []
            reasons += [f"release {keeping.some(blind)} cannot be read"] if blind else []
            found.append(Fate("base", path.name, path.stat().st_size, tuple(reasons), path))
        for path in store.lists():
            reasons = ["its package is there"] if self.pool.holds(path.name.partition("-")[0]) else []
            found.append(Fate("base", path.name, path.stat().st_size, tuple(reasons), path))
        return found

    def _kernel_configs(self, rules: Rules) -> list[Fate]:
        found = []
        for path in sorted(self._room(kernel_configs.ROOM).iterdir()):
            part = path.name.startswith(kernel_configs.PART)
            reasons = ["its package is there"] if not part and self.pool.holds(path.name) else []
            reasons += ["it is young"] if rules.is_young(path.stat().st_mtime) else []
            found.append(_fate("kernel configuration", path, reasons))
        return found

    def _contents(self) -> list[Fate]:
        """Of configuration files, in the store: those that no question names."""
        return [
            Fate("content", sha256, size, (), self.tree.store)
            for sha256, size in self.store.contents.unnamed()
        ]

    def _logs(self, rules: Rules) -> list[Fate]:
        places = sorted(self._room("logs").iterdir())
        newest = {place.name.rpartition("-")[0]: place for place in places}
        found = []
        for place in places:
            reasons = ["it is the newest of its profile"] if place in newest.values() else []
            reasons += ["it is young"] if rules.is_young(place.stat().st_mtime) else []
            found.append(_fate("log", place, reasons))
        return found

    def _rest(self, rules: Rules) -> list[Fate]:
        """What killed programs left: names that nobody reads."""
        found = []
        for place in sorted(self._room("releases").iterdir()):
            if place.name.endswith((PARTIAL, DAMAGED, REMOVED)):
                young = rules.is_young(place.stat().st_mtime) and not place.name.endswith(REMOVED)
                reasons = ("it is young",) if young else ()
                found.append(_fate("rest", place, reasons))
        for path in (*self.pool.path.glob("*/.*"), *self._room("etc-base").glob(".part-*")):
            reasons = ("it is young",) if rules.is_young(path.stat().st_mtime) else ()
            found.append(Fate("rest", path.name, path.stat().st_size, reasons, path))
        return [*found, *self._shelf("installer", rules), *self._shelf("planner", rules)]

    def _shelf(self, kind: str, rules: Rules) -> list[Fate]:
        """Packed installers, and planners of offline media: who uses one has a hard link of its own."""
        found = []
        for path in sorted(self._room(f"{kind}s").iterdir()):
            stat = path.stat()
            reasons = ["it is linked elsewhere"] if stat.st_nlink > 1 else []
            reasons += ["it is young"] if rules.is_young(stat.st_mtime) else []
            found.append(Fate(kind, path.name, stat.st_size, tuple(reasons), path))
        return found

    def _images(self, kept: Collection[str]) -> list[Fate]:
        """What the web page offers. None is being written: who writes one holds in_use()."""
        named = {one.file: one.release for one in self.store.media.images() if one.file}
        found = []
        for path in sorted(self._room("media").iterdir()):
            release = named.get(path.name)
            reasons = [f"release {release} is kept"] if release in kept else []
            found.append(_fate("image", path, reasons))
        return found

    def _unname(self, going: Sequence[Fate]) -> None:
        """Rows before names, releases before what they are made of, names before bytes."""
        with self.store.database.change():
            for fate in going:
                if fate.kind == "release":
                    self.store.releases.forget(fate.name)
                    self.store.media.forget_images(fate.name)
                elif fate.kind == "package":
                    self.store.packages.forget(fate.name)
                elif fate.kind == "content":
                    self.store.contents.forget(fate.name)
        for fate in going:
            if fate.kind == "release":
                aside = fate.path.with_name(f"{fate.name}{REMOVED}")
                shutil.rmtree(aside, ignore_errors=True)
                fate.path.rename(aside)
        sync(self._room("releases"))
        for fate in going:
            if fate.kind not in ("release", "content"):
                log.info("gc: %s %s goes", fate.kind, fate.name)
                _remove(fate.path)

    def _room(self, name: str) -> Path:
        return self.tree.room(name).resolve()


def _read(place: Path) -> _Contents:
    """What a release's directory names; of one that was altered, whatever can still be read."""
    packages: set[str] = set()
    held: set[str] = set()
    profile, created, revisions, whole = "", place.stat().st_mtime, frozenset[str](), True
    try:
        sealed = manifest.parse((place / "manifest").read_text())
        profile, created = sealed.profile, manifest.created_at(sealed)
        revisions = frozenset(word.rpartition(":")[2] for word in sealed.snapshot.split())
        packages |= {item.sha256 for item in sealed.packages}
    except (OSError, Problem, ValueError):
        whole = False
    try:
        listed = index.parse((place / "Packages").read_text())
        packages |= {Path(fields.get("PATH", "")).name.removesuffix(SUFFIX) for fields in listed.paragraphs}
        if (place / "bases").exists():
            held = {base.sha256 for base in bases.parse((place / "bases").read_text())}
    except (OSError, Problem, ValueError):
        whole = False
    entry = Entry(place.name, profile, created, place.stat().st_mtime)
    return _Contents(place, entry, revisions, frozenset(packages), frozenset(held), whole)


def _by_name(pairs: Iterable[tuple[str, Collection[str]]]) -> Mapping[str, list[str]]:
    """Thing -> the releases that name it."""
    found: dict[str, list[str]] = {}
    for release, things in pairs:
        for thing in things:
            found.setdefault(thing, []).append(release)
    return found


def _offered(attempts: Iterable[Path]) -> set[str]:
    """Packages that running builds, and those that were killed, took from the pool."""
    documents = (json.loads(text) for text in _texts(place / "offered.json" for place in attempts))
    return {sha256 for one in documents if isinstance(one, dict) for sha256 in one.values()}


def _in_roots(outcomes: Iterable[Path]) -> set[str]:
    documents = (json.loads(text) for text in _texts(outcomes))
    return {package["sha256"] for one in documents for package in one.get("packages", ())}


def _texts(paths: Iterable[Path]) -> list[str]:
    """Of those files that are there; a build may end meanwhile."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            found.append(path.read_text())
    return found


def _repository(image: Path) -> str:
    """The name in the survey beside an image."""
    with suppress(OSError, ValueError):
        return str(json.loads(image.with_suffix(".json").read_text()).get("name", ""))
    return ""


def _fate(kind: str, place: Path, reasons: Iterable[str]) -> Fate:
    return Fate(kind, place.name, _size(place), tuple(reasons), place)


def _size(place: Path) -> int:
    """Bytes below that go with it: what is linked elsewhere stays."""
    files = [path.lstat() for path in (place.rglob("*") if place.is_dir() else [place])]
    return sum(stat.st_size for stat in files if stat.st_nlink == 1)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        aside = path.with_name(f".removed-{path.name}")
        path.rename(aside)
        shutil.rmtree(aside)
        return
    if path.suffix == ".sqfs":
        # An image without what is known of it is one that is not there.
        for kept in (".json", ".advisories.json"):
            path.with_suffix(kept).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
