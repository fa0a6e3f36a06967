"""A profile's root: a kept layer over its stage; builds work on a copy and commit it by one rename."""

import fcntl
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.model import Profile, Repository
from appliance.run import run
from appliance.sandbox import Bind, Image, Mount, Overlay, Sandbox
from buildfarm.snapshot import Snapshot

GENERATION = re.compile(r"g[0-9]{4,}")
REPOS = PurePosixPath("/var/db/repos")
DISTFILES = PurePosixPath("/var/cache/distfiles")
PKGDIR = PurePosixPath("/var/cache/binpkgs")
TMPDIR = PurePosixPath("/var/tmp/farm")
LOGS = PurePosixPath("/var/log/portage")
Content = bytes | PurePosixPath
"""What a laid file is: its bytes, or the target of a symbolic link."""


@dataclass(frozen=True)
class Attempt:
    """One build in progress, below roots/<profile>/attempt; a killed one is found again there."""

    path: Path

    @property
    def upper(self) -> Path:
        return self.path / "layer" / "upper"

    @property
    def pkgdir(self) -> Path:
        return self.path / "pkgdir"

    @property
    def keys(self) -> Path:
        """JSON, cpv -> build key of everything the build may make."""
        return self.path / "keys.json"

    @property
    def offered(self) -> Path:
        """JSON, the names in the PKGDIR that came from the pool."""
        return self.path / "offered.json"


@dataclass(frozen=True)
class Root:
    """roots/<profile>: committed layers g0001, g0002 ... (the last one counts) and perhaps an attempt."""

    path: Path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held for a whole build; it ends with the process, however that ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Problem(
                    f"profile {self.path.name} is being built already", hint="wait for that build to end"
                ) from None
            yield

    def leftover(self) -> Attempt | None:
        attempt = Attempt(self.path / "attempt")
        return attempt if attempt.path.exists() else None

    def committed(self) -> Path | None:
        found = sorted((p for p in self.path.glob("g*") if GENERATION.fullmatch(p.name)), key=_number)
        return found[-1] if found else None

    def begin(self, stage: str) -> Attempt:
        """A new attempt on a copy of the committed layer; from nothing when the stage is another one now."""
        attempt = Attempt(self.path / "attempt")
        self.discard()
        for place in (attempt.path, attempt.pkgdir, attempt.path / "tmp"):
            place.mkdir(parents=True)
        (attempt.path / "tmp").chmod(0o1777)
        committed = self.committed()
        layer = attempt.path / "layer"
        if committed and (committed / "stage").read_text() == stage:
            # -a keeps overlayfs' whiteouts (devices 0:0) and its trusted.overlay.* attributes.
            run(["cp", "-a", "--reflink=auto", committed, layer])
        else:
            (layer / "upper").mkdir(parents=True)
            (layer / "stage").write_text(stage)
        return attempt

    def commit(self) -> None:
        """Make the attempt's layer the one that counts."""
        before = self.committed()
        number = _number(before) + 1 if before else 1
        (self.path / "attempt" / "layer").rename(self.path / f"g{number:04}")
        self.discard()
        for old in self.path.glob("g*"):
            if GENERATION.fullmatch(old.name) and _number(old) < number:
                shutil.rmtree(old)

    def discard(self) -> None:
        """Remove the attempt; nothing is mounted in it, mounts live and die with their namespace."""
        if (self.path / "attempt").exists():
            shutil.rmtree(self.path / "attempt")


def _number(generation: Path) -> int:
    return int(generation.name[1:])


def configuration(profile: Profile, repositories: Sequence[Repository]) -> dict[str, Content]:
    """The files of a machine of this profile that Portage reads, by name relative to /."""
    files: dict[str, Content] = {f"etc/portage/{name}": text for name, text in profile.portage.items()}
    files["etc/portage/make.profile"] = profile_link(profile, repositories)
    files["etc/portage/repos.conf/distserver.conf"] = repos_conf(repositories).encode()
    atoms = sorted(atom for atom in profile.world if not atom.startswith("@"))
    sets = sorted(atom for atom in profile.world if atom.startswith("@"))
    files["var/lib/portage/world"] = "".join(f"{atom}\n" for atom in atoms).encode()
    files["var/lib/portage/world_sets"] = "".join(f"{name}\n" for name in sets).encode()
    return files


def profile_link(profile: Profile, repositories: Sequence[Repository]) -> PurePosixPath:
    name, _, path = profile.portage_profile.partition(":")
    for repository in repositories:
        if repository.name == name and path and (repository.location / "profiles" / path).is_dir():
            return PurePosixPath("../..") / REPOS.relative_to("/") / name / "profiles" / path
    raise Problem(
        f"profile {profile.name}: there is no Portage profile {profile.portage_profile}",
        hint=f"it is REPOSITORY:PATH below profiles/, of {', '.join(r.name for r in repositories)}",
    )


def repos_conf(repositories: Sequence[Repository]) -> str:
    """Repositories that never sync: a snapshot is mounted there (auto-sync = no alone is not enough)."""
    text = f"[DEFAULT]\nmain-repo = {repositories[0].name}\n"
    for repository in repositories:
        place = REPOS / repository.name
        text += f"\n[{repository.name}]\nlocation = {place}\nsync-type =\nsync-uri =\nauto-sync = no\n"
    return text


def lay(upper: Path, stage: Path, files: Mapping[str, Content]) -> None:
    """Write files into an upper layer, /etc/portage being exactly the stage's with these over it."""
    upper.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(upper / "etc/portage", ignore_errors=True)
    shutil.rmtree(upper / "etc/kernel/config.d", ignore_errors=True)
    for name, content in sorted(files.items()):
        place = upper / name
        _make_parents(upper, stage, PurePosixPath(name).parent)
        if place.is_symlink() or place.is_file():
            place.unlink()
        if isinstance(content, bytes):
            place.write_bytes(content)
            place.chmod(0o644)
        else:
            place.symlink_to(content)


def _make_parents(upper: Path, stage: Path, relative: PurePosixPath) -> None:
    """Directories above a file, with the stage's modes: a merged directory shows the upper layer's."""
    for parent in [*reversed(relative.parents), relative]:
        below, place = stage / parent, upper / parent
        if not place.exists():
            place.mkdir()
            if below.is_dir():
                shutil.copystat(below, place)
                shutil.chown(place, below.stat().st_uid, below.stat().st_gid)


@dataclass(frozen=True)
class Rooms:
    """The directories of the state that a build sees."""

    distfiles: Path
    logs: Path
    """This build's own."""


def sandbox(
    attempt: Attempt, stage: Path, snapshots: Sequence[Snapshot], *, rooms: Rooms, env: Mapping[str, str]
) -> Sandbox:
    """The build root: no network; repositories read-only; distfiles, PKGDIR, scratch and logs writable."""
    mounts: list[Mount] = [
        Bind(rooms.distfiles, DISTFILES, read_only=False),
        Bind(attempt.pkgdir, PKGDIR, read_only=False),
        Bind(attempt.path / "tmp", TMPDIR, read_only=False),
        Bind(rooms.logs, LOGS, read_only=False),
    ]
    return _over(attempt.path, attempt.upper, stage, [*_trees(snapshots), *mounts], env)


def client_sandbox(
    scratch: Path,
    stage: Path,
    snapshots: Sequence[Snapshot],
    *,
    shelves: Sequence[Mount],
    env: Mapping[str, str],
) -> Sandbox:
    """A fresh machine: install stage, repositories and what `shelves` brings; nothing of the build."""
    upper = scratch / "upper"
    upper.mkdir(parents=True, exist_ok=True)
    return _over(scratch, upper, stage, [*_trees(snapshots), *shelves], env)


def _trees(snapshots: Sequence[Snapshot]) -> list[Mount]:
    return [Image(snapshot.image, REPOS / snapshot.repository) for snapshot in snapshots]


def _over(path: Path, upper: Path, stage: Path, mounts: Sequence[Mount], env: Mapping[str, str]) -> Sandbox:
    for name in ("work", "root"):
        (path / name).mkdir(exist_ok=True)
    layers = Overlay((stage,), upper, path / "work")
    return Sandbox(path / "root", [layers, *mounts], network=False, env=env)
