"""Configuration files of Debian packages in successive releases, from the host's own Debian mirror."""

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from appliance.run import CommandFailed, run
from buildfarm import debian
from tests.benches_net.report import say

SUITES = ("bookworm", "trixie", "sid")
NAMES = Path(__file__).parent / "packages.txt"
MOST_BYTES = 200_000
TOGETHER = 20


@dataclass(frozen=True, order=True)
class Pair:
    """Two successive versions of one file; `path` is absolute, `step` is like bookworm-trixie."""

    path: str
    step: str
    base: bytes
    theirs: bytes


def names() -> list[str]:
    """The packages of the replay, as they are committed."""
    lines = NAMES.read_text().splitlines()
    return sorted({line.strip() for line in lines if line.strip() and not line.startswith("#")})


def pairs(cache: Path) -> list[Pair]:
    """Every text file below /etc of those packages that differs from one release to the next."""
    versions = {suite: files(cache / suite, suite) for suite in SUITES}
    found = set()
    for old, new in pairwise(SUITES):
        for path, base in versions[old].items():
            theirs = versions[new].get(path)
            if theirs is not None and theirs != base:
                found.add(Pair(path, f"{old}-{new}", base, theirs))
    return sorted(found)


def files(place: Path, suite: str) -> dict[str, bytes]:
    """What the packages of a suite have below /etc; downloaded once, checked by apt with the signed index."""
    debs = place / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    have = {deb.name.partition("_")[0] for deb in debs.glob("*.deb")}
    if missing := [name for name in names() if name not in have]:
        _download(place, suite, missing, debs)
    found: dict[str, bytes] = {}
    for deb in sorted(debs.glob("*.deb")):
        if deb.name.partition("_")[0] in names():
            found |= _read(deb, place)
    return found


def _download(place: Path, suite: str, wanted: list[str], into: Path) -> None:
    """Packages that a suite does not have (or no longer) are named and left out."""
    home = next(one for one in debian.repositories() if one.release == debian.RELEASE)
    options = debian.private_apt(place / "apt", [replace(home, release=suite).line("deb")])
    say(f"{suite}: {len(wanted)} packages")
    run(["apt-get", *options, "update"], timeout_seconds=600)
    known = set(run(["apt-cache", *options, "pkgnames"]).stdout.split())
    if strange := sorted(set(wanted) - known):
        say(f"{suite} has no {', '.join(strange)}")
    there = [name for name in wanted if name in known]
    for first in range(0, len(there), TOGETHER):
        _fetch(options, there[first : first + TOGETHER], into)


def _fetch(options: Iterable[str], wanted: list[str], into: Path) -> None:
    try:
        run(["apt-get", *options, "download", *wanted], cwd=into, timeout_seconds=1800)
    except CommandFailed:
        if len(wanted) == 1:
            say(f"{wanted[0]} cannot be had")
        else:
            for name in wanted:
                _fetch(options, [name], into)


def _read(deb: Path, place: Path) -> dict[str, bytes]:
    tar = place / "data.tar"
    run(["sh", "-c", 'exec dpkg-deb --fsys-tarfile "$1" > "$2"', "sh", deb, tar])
    found = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            name = "/" + member.name.removeprefix("./")
            if member.isfile() and name.startswith("/etc/") and member.size <= MOST_BYTES:
                source = archive.extractfile(member)
                content = source.read() if source else b""
                if content and b"\0" not in content:
                    found[name] = content
    tar.unlink()
    return found
