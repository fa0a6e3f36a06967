"""Lends builds a compiler cache: one shelf for each toolchain, all of them together within a bound."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from appliance.sandbox import Bind, Mount
from buildfarm import layers
from buildfarm.root import Content

PLACE = PurePosixPath("/var/cache/ccache")
# Where Portage looks for the compilers' names (doebuild.py); where there are none it drops the feature.
MASQUERADES = tuple(f"usr/{libexec}/ccache" for libexec in ("lib64", "lib", "libexec"))
PROGRAM = "usr/bin/ccache"
PACKAGE_ENV = "etc/portage/package.env"
ENV_NAME = "distserver-ccache"
# Of Gentoo's user and group `portage`: with FEATURES=userpriv compilers run as them.
PORTAGE_ID = 250
NAME = re.compile(r"[0-9a-f]{8,64}")
BUILD = re.compile(r"[A-Za-z0-9._-]+")
HITS = ("direct_cache_hit", "preprocessed_cache_hit")
MISS = "cache_miss"


@dataclass(frozen=True)
class Shelf:
    """What a build adds to its sandbox; empty when there is no cache for it. It is on by package_files()."""

    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    statistics: Path | None = None

    def counts(self) -> "Counts":
        """Of this build so far."""
        if self.statistics is None or not self.statistics.exists():
            return Counts()
        return count(self.statistics.read_text(errors="replace"))


@dataclass(frozen=True)
class Counts:
    """Compilations answered from the cache, and those that ran."""

    hits: int = 0
    misses: int = 0


def count(log: str) -> Counts:
    """Read ccache's stats log: `# FILE` and then one counter a line for each call of the compiler."""
    words = [line.strip() for line in log.splitlines()]
    return Counts(sum(words.count(hit) for hit in HITS), words.count(MISS))


def is_installed(lowers: Sequence[Path]) -> bool:
    """Has a root (its layers, the uppermost first) ccache and the names Portage puts before the compilers?"""
    names = any(layers.find(lowers, place) for place in MASQUERADES)
    return names and layers.find(lowers, PROGRAM) is not None


@contextmanager
def shelf(
    room: Path, lowers: Sequence[Path], *, toolchain: str, build: str, bound_bytes: int, distcc: bool = False
) -> Iterator[Shelf]:
    """The cache of a toolchain, for as long as a build lasts.

    `room` is the directory of all caches, `lowers` the layers of the root, `toolchain` the identity of its
    compiler, assembler, linker and libc (another one is another cache), `build` a name of this build, and
    `bound_bytes` what all caches may take together (0: there is none).
    """
    if bound_bytes <= 0 or not is_installed(lowers):
        yield Shelf()
        return
    if not NAME.fullmatch(toolchain) or not BUILD.fullmatch(build):
        raise ValueError(f"no identity of a toolchain and name of a build: {toolchain!r}, {build!r}")
    with ExitStack() as held:
        place = room / toolchain[:16]
        _hold(place, held)
        others = _make_room(room, place, bound_bytes // 2)
        statistics = place / "cache" / f"{build}.log"
        statistics.unlink(missing_ok=True)
        held.callback(statistics.unlink, missing_ok=True)
        yield Shelf(
            mounts=(Bind(place / "cache", PLACE, read_only=False),),
            env=environment(bound_bytes - others, statistics.name, distcc=distcc),
            statistics=statistics,
        )


def environment(limit_bytes: int, log_name: str, *, distcc: bool) -> dict[str, str]:
    """ccache's settings, chosen so that an object from the cache is the one the compiler would have made.

    base_dir stays unset and hash_dir on: packages are unpacked at the same place in every root, so other
    roots hit anyway, and paths that get into objects (__FILE__, debug information) are those of this build.
    """
    return {
        "CCACHE_DIR": str(PLACE),
        "CCACHE_MAXSIZE": f"{max(1, limit_bytes // 2**20)}Mi",
        # A build may replace its compiler on the way. With distcc ccache sees distcc's links in place of the
        # compiler (doebuild.py puts both into PATH), the same for all: then the compiler has to say who it
        # is.
        "CCACHE_COMPILERCHECK": "%compiler% -v" if distcc else "content",
        "CCACHE_HASHDIR": "true",
        "CCACHE_UMASK": "002",
        "CCACHE_STATSLOG": str(PLACE / log_name),
    }


def package_files(files: Mapping[str, Content], cpvs: Sequence[str]) -> dict[str, Content]:
    """Files of /etc/portage that turn the cache on for these packages alone, beside the profile's `files`.

    Filling the cache costs a build about a third more, so it is for what will be compiled again: kernels,
    and what replaces an installed package.
    """
    if not cpvs:
        return {}
    lines = "".join(f"={cpv} {ENV_NAME}\n" for cpv in sorted(cpvs)).encode()
    own = files.get(PACKAGE_ENV)
    named = (
        {PACKAGE_ENV: own + b"\n" + lines} if isinstance(own, bytes) else {f"{PACKAGE_ENV}/zz-farm": lines}
    )
    return {**named, f"etc/portage/env/{ENV_NAME}": b'FEATURES="ccache"\n'}


def drop(room: Path, toolchain: str) -> None:
    """Forget everything of a toolchain: a compile host put wrong objects there. Who uses it now keeps it."""
    place = room / toolchain[:16]
    with TemporaryDirectory(prefix=".dropped-", dir=room) as aside, suppress(FileNotFoundError):
        place.rename(Path(aside) / "shelf")


def _make(place: Path) -> None:
    """A directory that both root and the group `portage` write to."""
    if not place.exists():
        place.mkdir(parents=True)
        os.chown(place, PORTAGE_ID, PORTAGE_ID)
        place.chmod(0o2775)


def _hold(place: Path, held: ExitStack) -> None:
    """Make a shelf and keep others from removing it; one that was removed just before is made again."""
    while True:
        _make(place / "cache")
        lock = held.enter_context((place / "lock").open("a"))
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            if os.fstat(lock.fileno()).st_ino == (place / "lock").stat().st_ino:
                os.utime(place / "lock")
                return
        except FileNotFoundError:
            continue


def _make_room(room: Path, own: Path, allowed_bytes: int) -> int:
    """Remove other toolchains' caches, the longest unused first, until they fit; returns what they take.

    One that a build is using stays.
    """
    others = sorted(
        (place for place in room.iterdir() if place != own and (place / "lock").exists()),
        key=lambda place: ((place / "lock").stat().st_mtime, place.name),
    )
    sizes = {place: _size(place) for place in others}
    for place in others:
        if sum(sizes.values()) <= allowed_bytes:
            break
        with (place / "lock").open("a") as lock:
            if _is_free(lock):
                shutil.rmtree(place)
                del sizes[place]
    return sum(sizes.values())


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _size(top: Path) -> int:
    """Bytes on disk; files that go while we look do not count."""
    blocks = 0
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                blocks += Path(folder, name).lstat().st_blocks
            except FileNotFoundError:
                continue
    return blocks * 512
