"""Fetches what planned packages are compiled from, because builds have no network."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.sandbox import Bind, Image, Mount, Overlay, Sandbox
from appliance.site_model import FarmSettings
from buildfarm import inside, root
from buildfarm.distfiles import Dist, mismatch, parse_manifest
from buildfarm.key import Recipe
from buildfarm.snapshot import clean, staging

SIDE_BY_SIDE = 4
"""Fetching waits for others' servers, not for our processors."""
CHECKED = ".checked"
PART = "distfile "
RESOLV = PurePosixPath("/etc/resolv.conf")
QUIET = ["--color=n", "--nospinner", "--ask=n", "--quiet"]
FEATURES = "-news -parallel-fetch -getbinpkg distlocks"
HOST_RESOLV = Path("/etc/resolv.conf")
OWN_LOGS = root.TMPDIR / "logs"
"""emerge gives its log away and opens it again as root: with fs.protected_regular, Debian's default, that is
refused in a sticky directory, and emerge then waits for ever."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Need:
    """A package that will be compiled, and the distfiles it is compiled from."""

    cpv: str
    repository: str
    """Empty: whichever Portage takes."""
    dists: tuple[Dist, ...]

    @property
    def atom(self) -> str:
        return f"={self.cpv}::{self.repository}" if self.repository else f"={self.cpv}"


@dataclass(frozen=True)
class Missed:
    """A package that cannot be compiled, because distfiles of it could not be had."""

    cpv: str
    files: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.cpv}: {self.reason}"


@dataclass(frozen=True)
class Place:
    """Where fetching happens: a root (layers, uppermost first) with the configuration it builds with."""

    layers: tuple[Path, ...]
    snapshots: Sequence[Snapshot]
    configuration: Mapping[str, root.Content]
    distfiles: Path
    logs: Path


def needs(
    recipes: Mapping[str, Recipe], repositories: Mapping[str, str], known: Collection[str]
) -> list[Need]:
    """What has to be compiled: everything with a recipe but without a `known` package.

    `repositories`: cpv -> repository, where the resolver named one.
    """
    return [
        Need(cpv, repositories.get(cpv, ""), dists_of(recipe))
        for cpv, recipe in sorted(recipes.items())
        if cpv not in known
    ]


def dists_of(recipe: Recipe) -> tuple[Dist, ...]:
    """The distfiles a recipe names, as its Manifest describes them."""
    lines = (
        f"DIST {name.removeprefix(PART)} {rest}"
        for name, rest in recipe.parts.items()
        if name.startswith(PART)
    )
    return parse_manifest("\n".join(lines))


def fetch(place: Place, wanted: Iterable[Need], settings: FarmSettings, *, say: Say) -> list[Missed]:
    """Get every distfile of these packages into the shared directory, checked against their Manifests.

    What is there already costs a look at its size and time, neither a network nor a Portage start. Returns
    the packages that lack something, each with a sentence of what to do; the others can be compiled.
    """
    place.distfiles.mkdir(parents=True, exist_ok=True)
    clean(place.distfiles)
    missing = lacking(wanted, place.distfiles)
    if missing and settings.fetch:
        size = sum({dist.name: dist.size_bytes for one in missing for dist in one.dists}.values())
        say(f"fetching for {len(missing)} packages, at most {size / 1e6:.0f} MB")
        said = _emerge(place, missing, settings.mirrors)
        missing = lacking(missing, place.distfiles)
    else:
        said = ""
    return _explain(place, missing, said, settings) if missing else []


def lacking(wanted: Iterable[Need], distfiles: Path) -> list[Need]:
    """The packages with a distfile that is not there or is not what the Manifest says."""
    return [one for one in wanted if not all(is_there(distfiles, dist) for dist in one.dists)]


def is_there(distfiles: Path, dist: Dist) -> bool:
    """Whether a distfile is there and right; its bytes are read only when it changed since the last look."""
    path = distfiles / dist.name
    if path.is_symlink() or not path.is_file():
        return False
    about = path.stat()
    if about.st_size != dist.size_bytes:
        return False
    note = distfiles / CHECKED / dist.name
    looked = json.dumps(
        [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, dict(dist.hashes)]
    )
    if note.is_file() and note.read_text() == looked:
        return True
    if mismatch(path, dist):
        return False
    note.parent.mkdir(exist_ok=True)
    part = note.with_name(f".{os.getpid()}.{note.name}")
    part.write_text(looked)
    part.rename(note)
    return True


def _emerge(place: Place, missing: Sequence[Need], mirrors: Sequence[str]) -> str:
    """emerge --fetchonly, several side by side; Portage's own locks keep them off the same file."""
    groups = [missing[start::SIDE_BY_SIDE] for start in range(min(SIDE_BY_SIDE, len(missing)))]
    env = {
        "DISTDIR": str(root.DISTFILES),
        "PORTAGE_LOGDIR": str(root.LOGS),
        "EMERGE_LOG_DIR": str(OWN_LOGS),
        "EMERGE_DEFAULT_OPTS": "",
        "FEATURES": FEATURES,
        **({"GENTOO_MIRRORS": " ".join(mirrors)} if mirrors else {}),
    }

    def one(group: Sequence[Need]) -> str:
        argv = ["emerge", *QUIET, "--fetchonly", "--nodeps", "--keep-going=y", "--autounmask=n"]
        atoms = [need.atom for need in group]
        with staging(place.distfiles) as scratch:
            sandbox = _sandbox(place, scratch, env, network=True)
            log = place.logs / "fetch.out"
            return run([*argv, *atoms], prefix=sandbox.prefix(), ok=range(-255, 256), output=log).stdout

    with ThreadPoolExecutor(len(groups)) as pool:
        return "\n".join(pool.map(one, groups))


def _sandbox(place: Place, scratch: Path, env: Mapping[str, str], *, network: bool) -> Sandbox:
    """The root under a layer of its own: what fetching leaves beside the distfiles is thrown away."""
    upper = scratch / "upper"
    root.lay(upper, place.layers[-1], place.configuration, over=place.layers[:-1])
    for name in ("work", "root", "tmp"):
        (scratch / name).mkdir()
    (scratch / "tmp").chmod(0o1777)
    (scratch / "tmp" / OWN_LOGS.name).mkdir()
    (upper / "etc").mkdir(exist_ok=True)
    (upper / "etc/resolv.conf").unlink(missing_ok=True)
    (upper / "etc/resolv.conf").touch()
    mounts: list[Mount] = [
        Overlay(place.layers, upper, scratch / "work"),
        *(Image(one.image, root.REPOS / one.repository) for one in place.snapshots),
        Bind(place.distfiles, root.DISTFILES, read_only=not network),
        Bind(place.logs, root.LOGS, read_only=False),
        Bind(scratch / "tmp", root.TMPDIR, read_only=False),
    ]
    if HOST_RESOLV.exists():
        mounts.append(Bind(HOST_RESOLV.resolve(), RESOLV))
    return Sandbox(scratch / "root", mounts, network=network, env=env)


def _explain(place: Place, missing: Sequence[Need], said: str, settings: FarmSettings) -> list[Missed]:
    """Ask Portage, only now, where the files would have come from and whether they may be fetched at all."""
    with staging(place.distfiles) as scratch:
        sandbox = _sandbox(place, scratch, {}, network=False)
        asked = {"fetchable": {"cpvs": [need.atom.removeprefix("=") for need in missing]}}
        answers = inside.ask(sandbox, asked)["fetchable"]
    found = []
    for need in missing:
        files = tuple(dist.name for dist in need.dists if not is_there(place.distfiles, dist))
        answer = answers.get(need.atom.removeprefix("="), {})
        found.append(Missed(need.cpv, files, _reason(place, files, answer, said, settings)))
    return found


def _reason(
    place: Place, files: Sequence[str], answer: Mapping[str, object], said: str, settings: FarmSettings
) -> str:
    names = ", ".join(files)
    into = f"put {'it' if len(files) == 1 else 'them'} into {place.distfiles}"
    if answer.get("restricted"):
        where = answer.get("homepage") or "its maker"
        return f"{names} may only be fetched by a person (RESTRICT=fetch): get it from {where} and {into}"
    if not settings.fetch:
        return f"{names} is not there, and the site says farm.fetch = false: {into}"
    lines = [line.strip() for line in said.splitlines() if any(name in line for name in files)]
    last = lines[-1] if lines else "no mirror and no address of the ebuild has it"
    return f"{names} could not be fetched ({last}): see {place.logs / 'fetch.out'}, try again, or {into}"
