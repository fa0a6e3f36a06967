"""What the farm's benchmarks build: real programs without the kernel, for any number of profiles."""

import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.model import Tree
from appliance.overlays import overlay
from appliance.run import run
from appliance.services import init_site

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"
CLASSES = ("-O2 -pipe", "-O3 -pipe", "-Os -pipe")
SYSTEM = """\
*app-arch/gzip
*app-shells/dash
*sys-apps/baselayout
*sys-apps/busybox
*sys-apps/less
*sys-apps/sed
*sys-kernel/tiny-kernel
"""
WORLD = "app-misc/hello\ndev-lang/lua\nsys-libs/zlib\n"


class Emit(Protocol):
    """Prints one line of the contract."""

    def __call__(
        self, bench: str, case: str, peer: str, *, ours: float, theirs: float, unit: str, goal: str
    ) -> None: ...


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Yard:
    """A site of `profiles` profiles that differ in nothing but their name and class of flags."""

    site: Path
    tree: Tree
    names: tuple[str, ...]


def make_yard(place: Path, warm: Tree, *, profiles: int, classes: int, workers: int = 1) -> Yard:
    """A new site and state; stages and distfiles are those of `warm`, packages are none."""
    shutil.rmtree(place, ignore_errors=True)
    repository = place / "repository"
    shutil.copytree(overlay("portage"), repository)
    shutil.rmtree(repository / "sys-kernel")
    for name in ("sys-kernel", "eclass"):
        shutil.copytree(TINY / name, repository / name, dirs_exist_ok=True)
    (repository / "profiles" / "amd64" / "packages").write_text(SYSTEM)
    listing = repository / "metadata" / "debian-sources"
    lines = [line for line in listing.read_text().splitlines() if not line.startswith("linux")]
    listing.write_text("\n".join(lines) + "\n")
    state = place / "state"
    state.mkdir()
    for room in ("stages", "distfiles", "apt"):
        (state / room).symlink_to(warm.room(room))
    site = place / "site"
    init_site(site)
    shutil.rmtree(site / "profiles" / "vm")
    _edit(site / "appliance.toml", "builtin:portage", str(repository))
    _edit(site / "profiles/amd64/profile.toml", "sys-kernel/distserver-kernel", "sys-kernel/tiny-kernel")
    with (site / "appliance.toml").open("a") as file:
        file.write(f"workers = {workers}\n")
    names = tuple(f"p{number:02}" for number in range(profiles))
    for number, name in enumerate(names):
        own = site / "profiles" / name
        (own / "portage").mkdir(parents=True)
        (own / "profile.toml").write_text('parent = ["amd64"]\n')
        (own / "world").write_text(WORLD)
        flags = CLASSES[number % classes]
        (own / "portage" / "make.conf").write_text(f'CFLAGS="{flags}"\nCXXFLAGS="{flags}"\n')
    return Yard(site, Tree(state), names)


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    if old not in text:
        raise ValueError(f"{file} does not say {old!r} any more")
    file.write_text(text.replace(old, new))


def distserver(yard: Yard, *words: str, ok: Sequence[int] = (0,)) -> str:
    """Run the command line on a yard; what it printed."""
    argv = [sys.executable, "-m", "appliance.cli", "--state", str(yard.tree.path), *words]
    return run([*argv, "--site", str(yard.site)], ok=ok).stdout


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of all the programs that `work` ran to their end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
