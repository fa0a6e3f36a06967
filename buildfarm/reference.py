"""Makes the reference stages: a Debian minimal root with real Portage laid in, for hosts without a stage3."""

import fcntl
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import CommandFailed, run
from appliance.sandbox import Bind, Sandbox, Tmpfs
from buildfarm import debian, emulation, reference_cross
from buildfarm.reference_recipes import (
    MACHINES,
    MESON,
    PORTAGE,
    PORTAGE_ID,
    PORTAGE_SHA256,
    USUAL,
    Machine,
    Recipe,
    Variant,
    recipe,
)

Progress = Callable[[str], None]

PORTAGE_TREE = "portage-tree"
WORK = PurePosixPath("/tmp/work")


@dataclass(frozen=True)
class Reference:
    """One of the reference stages and where it lies."""

    variant: Variant
    processor: str
    stages: Path

    @property
    def machine(self) -> Machine:
        return MACHINES[self.processor]

    @property
    def recipe(self) -> Recipe:
        return recipe(self.variant, self.processor)

    @property
    def archive(self) -> Path:
        return self.stages / f"reference-{self.variant}-{self.recipe.hash}.tar.zst"

    @property
    def runs_on(self) -> str:
        """The processor of the programs in it: of a cross stage the usual one."""
        return USUAL if self.variant == "cross" or not self.machine.ported else self.processor

    @property
    def portage_tree(self) -> Path:
        """Portage as built in the build stage, to be laid over every stage of its processor."""
        return self.stages / f"{PORTAGE_TREE}-{recipe('build', self.runs_on).hash}.tar"

    @property
    def before(self) -> "Reference | None":
        """The stage that has to be there first."""
        if self.variant == "install":
            return replace(self, variant="build" if self.machine.ported else "cross")
        return replace(self, variant="build", processor=USUAL) if self.variant == "cross" else None

    def __str__(self) -> str:
        own = "" if self.processor == USUAL else f" for {self.processor}"
        return f"reference {self.variant} stage{own}"


def make_reference(variant: Variant, tree: Tree, progress: Progress, *, processor: str = USUAL) -> Path:
    """The archive of a reference stage, made when it is not there yet (about two minutes the first time).

    `processor` is the first word of a CHOST. It appears under its final name only when it is complete;
    whatever a killed run left is removed by the next one.
    """
    wanted = Reference(variant, processor, tree.room("stages").resolve())
    if wanted.before:
        make_reference(wanted.before.variant, tree, progress, processor=wanted.before.processor)
    with exclusive(wanted.stages / ".reference.lock"):
        complete = wanted.archive.exists() and wanted.portage_tree.exists()
        if not complete:
            _require("mmdebstrap", "zstd", "tar", "unshare", "setpriv")
            emulation.provide(MACHINES[wanted.runs_on].chost)
            with workplace(wanted.stages, ".reference-") as place:
                _make(wanted, place, progress)
    return wanted.archive


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """One process at a time inside; the kernel lets go when the holder dies."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def workplace(room: Path, prefix: str) -> Iterator[Path]:
    """A scratch directory in `room`. What an earlier, killed holder of the same lock left goes first."""
    for left in room.glob(f"{prefix}*"):
        if left.is_dir():
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=room) as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def _require(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise Problem(f"the reference stage needs {', '.join(missing)}", hint="install them with apt-get")


def _make(wanted: Reference, place: Path, progress: Progress) -> None:
    root = place / "root"
    if wanted.variant == "install" and not wanted.machine.ported:
        root = reference_cross.take_out(replace(wanted, variant="cross").archive, wanted.machine, place)
    else:
        progress(f"{wanted}: unpacking Debian {wanted.recipe.release}")
        _bootstrap(wanted, root, place, progress)
        if wanted.variant == "build":
            progress(f"{wanted}: compiling Portage")
            _build_portage(place, root).replace(wanted.portage_tree)
        progress(f"{wanted}: setting up")
        _lay_portage(wanted.portage_tree, root)
        _set_up(wanted, root)
    progress(f"{wanted}: packing")
    packed = place / "archive"
    skip = [f"--exclude=./{name}/*" for name in ("dev", "proc", "run", "sys", "tmp")]
    order = ["--sort=name", "--numeric-owner", "--format=gnu"]
    pack = ["tar", *order, *skip, f"--use-compress-program={wanted.recipe.compression}", "--create"]
    run([*pack, f"--file={packed}", f"--directory={root}", "."])
    packed.replace(wanted.archive)


def _bootstrap(wanted: Reference, root: Path, place: Path, progress: Progress) -> None:
    """Unpack and configure the Debian packages, in a PID namespace: nothing outlives a killed caller."""
    alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    alone.append("--mount-proc")
    made = wanted.recipe
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in made.leave_out]
    debootstrap = ["mmdebstrap", "--mode=root", f"--variant={made.debian_variant}", *options]
    debootstrap += ['--aptopt=APT::Install-Recommends "false"', f"--include={','.join(made.packages)}"]
    repositories = debian.repositories()
    if wanted.runs_on != USUAL:
        debootstrap.append(f"--architectures={wanted.machine.debian}")
        repositories = debian.whole(repositories, wanted.machine.debian, place / "apt", progress)
    lines = [each.line("deb") for each in repositories]
    try:
        run([*debootstrap, made.release, root, *lines], prefix=alone, timeout_seconds=3600)
    except CommandFailed as failure:
        raise Problem(
            f"mmdebstrap could not make a Debian {made.release} root:\n{failure.output[-1500:]}",
            hint=debian.HINT,
        ) from failure


def _build_portage(place: Path, root: Path) -> Path:
    """Compile Portage inside the build root; returns a tar to be unpacked over a root."""
    work = place / "portage"
    work.mkdir()
    locked = work / "requirements.txt"
    locked.write_text(f"{PORTAGE} --hash=sha256:{PORTAGE_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=portage", "--require-hashes"]
    try:
        run([*pip, f"--requirement={locked}", f"--dest={work}"], timeout_seconds=900)
    except CommandFailed as failure:
        last = failure.output.strip().splitlines()[-3:]
        raise Problem(f"pip cannot fetch the sources of {PORTAGE}:\n" + "\n".join(last)) from failure
    source = work / PORTAGE.replace("==", "-")
    run(["tar", "--extract", f"--file={source}.tar.gz", f"--directory={work}", "--no-same-owner"])
    inside = Sandbox(
        root=root,
        mounts=(Tmpfs(PurePosixPath("/tmp")), Bind(work, WORK, read_only=False)),
        cwd=str(WORK / source.name),
    ).prefix()
    run(["meson", "setup", "build", *MESON], prefix=inside)
    run(["meson", "install", "-C", "build", f"--destdir={WORK}/out"], prefix=inside)
    made = work / "portage.tar"
    run(["tar", "--create", f"--file={made}", "--owner=0", "--group=0", f"--directory={work}/out", "."])
    return made


def _lay_portage(archive: Path, root: Path) -> None:
    keep = ["--no-overwrite-dir", "--keep-directory-symlink"]
    run(["tar", "--extract", *keep, f"--file={archive}", f"--directory={root}"])


def _set_up(wanted: Reference, root: Path) -> None:
    """Turn a Debian root with Portage in it into a stage."""
    made = wanted.recipe
    for pattern in made.remove:
        for path in sorted(root.glob(pattern)):
            _delete(path)
    for name, text in made.files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, target in made.links:
        if name.startswith("etc/") or (root / name).parent.joinpath(target).exists():
            (root / name).unlink(missing_ok=True)
            (root / name).symlink_to(target)
    for machine in {wanted.machine, MACHINES[wanted.runs_on]}:
        _link_tools(machine, made, root)
    if wanted.variant == "cross":
        reference_cross.lay_sysroot(wanted.machine, root)
    inside = Sandbox(root=root).prefix()
    run(["groupadd", "--gid", PORTAGE_ID, "portage"], prefix=inside)
    home = ["--home-dir", "/var/lib/portage/home", "--shell", "/usr/sbin/nologin"]
    run(["useradd", "--system", "--uid", PORTAGE_ID, "--gid", PORTAGE_ID, *home, "portage"], prefix=inside)
    for name, owner in made.directories:
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.chown(root / name, int(owner), int(owner))
    # Without .pyc files the first emerge on the machine compiles all of Portage, and leaves unowned files.
    run(["python3", "-m", "compileall", "-q", "-j0", *made.python_trees], prefix=inside)
    run(["ldconfig"], prefix=inside)


def _link_tools(machine: Machine, made: Recipe, root: Path) -> None:
    """Every tool under its CHOST name, also for distcc and ccache.

    Portage takes /usr/lib/distcc when there is no /usr/lib/distcc/bin, and distccd 3.4 runs only names that
    are links in /usr/lib/distcc.
    """
    triplet = machine.triplet
    for place in (root / "usr/bin", *(root / "usr/lib" / name for name in made.masquerade)):
        for tool in sorted(place.glob(f"{triplet}-*")):
            link = place / tool.name.replace(triplet, machine.chost, 1)
            target = tool.readlink() if place.name in made.masquerade else Path(tool.name)
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
