"""A profile's root: committed layers over its stage; a build adds one and commits it by one rename."""

import difflib
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.deadline import wait_until
from appliance.durable import sync
from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.run import run, running
from appliance.sandbox import Bind, Image, Mount, Overlay, Sandbox
from appliance.site_model import Profile, Repository
from buildfarm import layers
from buildfarm.survey import of_image

LAYERS = ".layers"
MAX_LAYERS = 8
"""Deeper stacks are made one: every look-up of a missing file asks each layer."""
LAID = ("etc/portage", "etc/kernel/config.d")
"""Directories that are exactly the stage's with the profile's files over them."""
REPOS = PurePosixPath("/var/db/repos")
DISTFILES = PurePosixPath("/var/cache/distfiles")
PKGDIR = PurePosixPath("/var/cache/binpkgs")
TMPDIR = PurePosixPath("/var/tmp/farm")
LOGS = PurePosixPath("/var/log/portage")
VIEW_SECONDS = 60.0
Content = bytes | PurePosixPath
"""What a laid file is: its bytes, or the target of a symbolic link."""


class Busy(Problem):
    """Somebody else works in this root."""


@dataclass(frozen=True)
class Head:
    """What a root consists of: its stage and the layers over it, as `roots/.layers` names them."""

    stage: str
    layers: tuple[str, ...] = ()
    """The uppermost first."""

    def write(self, place: Path) -> None:
        """By one rename: a reader sees the old one or the new one."""
        part = place.with_name(f".{place.name}.partial")
        with part.open("w") as file:
            json.dump({"stage": self.stage, "layers": self.layers}, file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(place)
        sync(place.parent)

    @classmethod
    def read(cls, place: Path) -> "Head | None":
        if not place.exists():
            return None
        found = json.loads(place.read_text())
        return cls(found["stage"], tuple(found["layers"]))


@dataclass(frozen=True)
class Attempt:
    """One build in progress, below roots/<profile>/attempt; a killed one is found again there."""

    path: Path

    @property
    def upper(self) -> Path:
        """Only what this build changed; all of the root is seen through view()."""
        return self.path / "upper"

    @property
    def head(self) -> Head:
        """What the attempt is built upon."""
        head = Head.read(self.path / "head")
        if head is None:
            raise ValueError(f"{self.path} was never begun")
        return head

    @property
    def layers(self) -> tuple[Path, ...]:
        """The committed layers under `upper`, the uppermost first; they are never written."""
        return tuple(self.path.parents[1] / LAYERS / name for name in self.head.layers)

    @property
    def pkgdir(self) -> Path:
        return self.path / "pkgdir"

    @property
    def keys(self) -> Path:
        """JSON, cpv -> build key of everything the build may make."""
        return self.path / "keys.json"

    @property
    def offered(self) -> Path:
        """JSON, the names in the PKGDIR that came from the pool, and the hashes they have there."""
        return self.path / "offered.json"


@dataclass(frozen=True)
class Root:
    """roots/<profile>: a head that names the committed layers, and perhaps an attempt.

    Layers lie in roots/.layers, each once, however many roots name it: what no head names is removed.
    """

    path: Path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held for a whole build; it ends with the process, however that ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(
                    f"profile {self.path.name} is being built already", hint="wait for that build to end"
                ) from None
            yield

    def leftover(self) -> Attempt | None:
        attempt = Attempt(self.path / "attempt")
        return attempt if attempt.path.exists() else None

    def head(self) -> Head | None:
        return Head.read(self.path / "head")

    def committed(self) -> tuple[Path, ...]:
        """The directories of its layers, the uppermost first; empty before the first commit."""
        head = self.head()
        return tuple(self._room / name for name in head.layers) if head else ()

    def seed(self, other: "Root") -> bool:
        """Start from what another profile committed, sharing its layers; False when there is nothing to do.

        The first build then changes only what differs: emerge replaces, adds and removes packages as it does
        after any change of the configuration, of which a layer holds nothing.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self._layers_locked():
            head = other.head()
            if head is None or self.head() is not None:
                return False
            head.write(self.path / "head")
            return True

    def follow(self, other: "Root") -> None:
        """Become what another profile committed: it is made of just the same things."""
        with self._layers_locked():
            head = other.head()
            if head is None:
                raise ValueError(f"{other.path} has nothing committed")
            head.write(self.path / "head")
            self._drop_unnamed()

    def begin(self, stage: str) -> Attempt:
        """A new attempt over the committed layers; from nothing when the stage is another one now."""
        attempt = Attempt(self.path / "attempt")
        self.discard()
        for place in (attempt.path, attempt.pkgdir, attempt.upper, attempt.path / "tmp"):
            place.mkdir(parents=True)
        (attempt.path / "tmp").chmod(0o1777)
        head = self.head()
        (head if head and head.stage == stage else Head(stage)).write(attempt.path / "head")
        return attempt

    def commit(self) -> None:
        """Put the attempt's layer on top of the others by one rename of the head.

        What the farm lays anew before every build is no part of a layer.
        """
        attempt = Attempt(self.path / "attempt")
        head, layer = attempt.head, attempt.upper
        for name in LAID:
            shutil.rmtree(layer / name, ignore_errors=True)
        below = head.layers
        if len(below) >= MAX_LAYERS:
            layer, below = attempt.path / "flat", ()
            shutil.rmtree(layer, ignore_errors=True)
            layers.flatten([attempt.upper, *attempt.layers], layer)
        run(["sync", "--file-system", layer])
        with self._layers_locked():
            numbers = [int(place.name) for place in self._room.iterdir() if place.name.isdigit()]
            name = f"{max(numbers, default=0) + 1:06}"
            layer.rename(self._room / name)
            sync(self._room)
            Head(head.stage, (name, *below)).write(self.path / "head")
            self._drop_unnamed()
        self.discard()

    def discard(self) -> None:
        """Remove the attempt; nothing is mounted in it, mounts live and die with their namespace."""
        if (self.path / "attempt").exists():
            shutil.rmtree(self.path / "attempt")

    @property
    def _room(self) -> Path:
        return self.path.parent / LAYERS

    @contextmanager
    def _layers_locked(self) -> Iterator[None]:
        self._room.mkdir(exist_ok=True)
        with (self._room / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _drop_unnamed(self) -> None:
        """Remove layers no head names: replaced by a flat one, or of a commit that was killed half-way."""
        heads = [Head.read(place) for place in self.path.parent.glob("*/head")]
        named = {name for head in heads if head for name in head.layers}
        for place in self._room.iterdir():
            if place.name.isdigit() and place.name not in named:
                shutil.rmtree(place)


def configuration(
    profile: Profile, repositories: Sequence[Repository], snapshots: Sequence[Snapshot]
) -> dict[str, Content]:
    """The files of a machine of this profile that Portage reads, by name relative to /."""
    files: dict[str, Content] = {f"etc/portage/{name}": text for name, text in profile.portage.items()}
    files["etc/portage/make.profile"] = profile_link(profile, snapshots)
    files["etc/portage/repos.conf/distserver.conf"] = repos_conf(repositories).encode()
    atoms = sorted(atom for atom in profile.world if not atom.startswith("@"))
    sets = sorted(atom for atom in profile.world if atom.startswith("@"))
    files["var/lib/portage/world"] = "".join(f"{atom}\n" for atom in atoms).encode()
    files["var/lib/portage/world_sets"] = "".join(f"{name}\n" for name in sets).encode()
    return files


def profile_link(profile: Profile, snapshots: Sequence[Snapshot]) -> PurePosixPath:
    """The target of make.profile; it must be in the snapshot, whatever became of the source since."""
    name, _, path = profile.portage_profile.partition(":")
    known = next((of_image(one.image).profiles for one in snapshots if one.repository == name), ())
    if path and path in known:
        return PurePosixPath("../..") / REPOS.relative_to("/") / name / "profiles" / path
    near = difflib.get_close_matches(path, known, n=1)
    mean = f"did you mean {name}:{near[0]}? " if near else ""
    raise Problem(
        f"profile {profile.name}: there is no Portage profile {profile.portage_profile}",
        hint=f"{mean}it is REPOSITORY:PATH below profiles/, of {', '.join(s.repository for s in snapshots)}",
    )


def repos_conf(repositories: Sequence[Repository]) -> str:
    """Repositories that never sync: a snapshot is mounted there (auto-sync = no alone is not enough)."""
    text = f"[DEFAULT]\nmain-repo = {repositories[0].name}\n"
    for repository in repositories:
        place = REPOS / repository.name
        text += f"\n[{repository.name}]\nlocation = {place}\nsync-type =\nsync-uri =\nauto-sync = no\n"
        if repository.priority is not None:
            text += f"priority = {repository.priority}\n"
    return text


def lay(upper: Path, stage: Path, files: Mapping[str, Content], *, over: Sequence[Path] = ()) -> None:
    """Write files into an upper layer; the directories LAID are exactly the stage's with these over it.

    `over`: the committed layers between the stage and the upper one.
    """
    upper.mkdir(parents=True, exist_ok=True)
    for name in LAID:
        shutil.rmtree(upper / name, ignore_errors=True)
    for name, content in sorted(files.items()):
        place = upper / name
        _make_parents(upper, [*over, stage], PurePosixPath(name).parent)
        if place.is_symlink() or place.is_file():
            place.unlink()
        if isinstance(content, bytes):
            place.write_bytes(content)
            place.chmod(0o644)
        else:
            place.symlink_to(content)


def _make_parents(upper: Path, lowers: Sequence[Path], relative: PurePosixPath) -> None:
    """Directories above a file, with the modes of what they cover: a merged one shows the upper layer's."""
    for parent in [*reversed(relative.parents), relative]:
        place = upper / parent
        if not place.exists():
            place.mkdir()
            below = layers.find(lowers, str(parent))
            if below and below.is_dir():
                shutil.copystat(below, place)
                shutil.chown(place, below.stat().st_uid, below.stat().st_gid)


@dataclass(frozen=True)
class Rooms:
    """The directories of the state that a build sees."""

    distfiles: Path
    logs: Path
    """This build's own."""


def sandbox(
    attempt: Attempt,
    stage: Path,
    snapshots: Sequence[Snapshot],
    *,
    rooms: Rooms,
    env: Mapping[str, str],
    shelves: Sequence[Mount] = (),
) -> Sandbox:
    """The build root: no network; repositories read-only; distfiles, PKGDIR, scratch and logs writable."""
    mounts: list[Mount] = [
        Bind(rooms.distfiles, DISTFILES, read_only=False),
        Bind(attempt.pkgdir, PKGDIR, read_only=False),
        Bind(attempt.path / "tmp", TMPDIR, read_only=False),
        Bind(rooms.logs, LOGS, read_only=False),
    ]
    lower = (*attempt.layers, stage)
    return _over(attempt.path, attempt.upper, lower, [*_trees(snapshots), *mounts, *shelves], env)


def client_sandbox(
    scratch: Path,
    stage: Path,
    snapshots: Sequence[Snapshot],
    *,
    shelves: Sequence[Mount],
    env: Mapping[str, str],
    layers: tuple[Path, ...] = (),
) -> Sandbox:
    """A scratch machine: install stage, repositories and what `shelves` brings; nothing of the build.

    `layers` over the stage make it a machine that was installed before.
    """
    upper = scratch / "upper"
    upper.mkdir(parents=True, exist_ok=True)
    return _over(scratch, upper, (*layers, stage), [*_trees(snapshots), *shelves], env)


@contextmanager
def view(sandbox: Sandbox) -> Iterator[Path]:
    """The merged tree of a sandbox as a directory of the host, for as long as the block lasts.

    It is what a sleeping program inside sees as its /; nothing is mounted in the host's own namespace.
    Links in it are the chroot's: follow them as a chroot would.
    """
    with running(["sleep", "infinity"], prefix=sandbox.prefix()) as outside:

        def asleep() -> int | None:
            if outside.poll() is not None:
                raise Problem(f"{sandbox.root} cannot be mounted, status {outside.returncode}")
            children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
                for child in children.read_text().split():
                    if Path(f"/proc/{child}/comm").read_text() == "sleep\n":
                        return int(child)
            return None

        inside = wait_until(asleep, seconds=VIEW_SECONDS, what=f"{sandbox.root} is mounted")
        try:
            yield Path(f"/proc/{inside}/root")
        finally:
            os.kill(inside, signal.SIGKILL)  # the first process of a namespace ignores SIGTERM


def _trees(snapshots: Sequence[Snapshot]) -> list[Mount]:
    return [Image(snapshot.image, REPOS / snapshot.repository) for snapshot in snapshots]


def _over(
    path: Path, upper: Path, lower: tuple[Path, ...], mounts: Sequence[Mount], env: Mapping[str, str]
) -> Sandbox:
    for name in ("work", "root"):
        (path / name).mkdir(exist_ok=True)
    return Sandbox(path / "root", [Overlay(lower, upper, path / "work"), *mounts], network=False, env=env)
