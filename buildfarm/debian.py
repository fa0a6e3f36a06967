"""What speaks to apt: the host's own Debian repositories, a private apt root, source packages."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.run import CommandFailed, run

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
FIELDS = ("$(ORIGIN)", "$(REPO_URI)", "$(RELEASE)", "$(COMPONENT)")
RELEASE = "bookworm"
"""The release whose packages and sources are used: the example's ebuilds pin its source versions."""
HINT = "check the host's own apt configuration with `apt-get update`"


@dataclass(frozen=True, order=True)
class Repository:
    """One suite and component of a Debian archive, as the host's apt knows it."""

    uri: str
    release: str
    component: str

    def line(self, kind: str) -> str:
        """A line of sources.list; `kind` is deb or deb-src."""
        return f"{kind} [signed-by={KEYRING}] {self.uri} {self.release} {self.component}"


def parse_targets(text: str) -> tuple[Repository, ...]:
    """Repositories of origin Debian among the lines of `apt-get indextargets`, sorted, each once."""
    found = set()
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) == len(FIELDS) and fields[0] == "Debian":
            found.add(Repository(*fields[1:]))
    return tuple(sorted(found))


def repositories() -> tuple[Repository, ...]:
    """RELEASE and its updates (component main) as the host's apt knows them, whatever the mirror."""
    listed = run(["apt-get", "indextargets", "--format", "|".join(FIELDS), "Created-By: Packages"]).stdout
    suites = [place for place in parse_targets(listed) if place.component == "main"]
    found = tuple(place for place in suites if place.release.partition("-")[0] == RELEASE)
    if not any(place.release == RELEASE for place in found):
        raise Problem(
            f"apt on this host lists no repository of Debian {RELEASE}",
            hint="run `apt-get update`; the reference stages are made from the host's own Debian mirror",
        )
    return found


def whole(
    found: Iterable[Repository], architecture: str, place: Path, progress: Callable[[str], None]
) -> tuple[Repository, ...]:
    """Those whose packages for another architecture can be had; RELEASE itself always counts.

    A mirror need not keep the updates of each architecture, or keep them in step with their signed index.
    `place` is a private apt root.
    """
    kept = []
    for each in found:
        options = [*private_apt(place, [each.line("deb")]), *_of_architecture(architecture)]
        try:
            run(["apt-get", *options, "--error-on=any", "update"], timeout_seconds=600)
        except CommandFailed:
            if each.release == RELEASE:
                raise
            progress(
                f"{each.release} is left out: {each.uri} has no good list of its {architecture} packages"
            )
        else:
            kept.append(each)
    return tuple(kept)


def fetch_sources(place: Path, wanted: list[tuple[str, str]], into: Path) -> None:
    """Download the tarballs of Debian source packages `(name, version)` with apt's own client.

    `place` is a private apt root (made when missing, /etc/apt is not touched); apt checks every file
    against the archive's signed index. Only RELEASE itself is asked: it is frozen, while the security suite
    drops a version when the next one comes.
    """
    options = private_apt(place, _lines("deb-src"))
    try:
        run(["apt-get", *options, "update"], timeout_seconds=600)
        atoms = [f"{name}={version}" for name, version in wanted]
        fetch = ["apt-get", *options, "source", "--download-only", "--tar-only", *atoms]
        run(fetch, cwd=into, timeout_seconds=3600)
    except CommandFailed as failure:
        names = ", ".join(f"{name} {version}" for name, version in wanted)
        last = failure.output.strip().splitlines()[-1:] or ["no output"]
        raise Problem(f"apt cannot fetch the sources of {names}: {last[0]}", hint=HINT) from failure


def fetch_package(place: Path, package: str, architecture: str, into: Path) -> Path:
    """Unpack a Debian package of RELEASE for another architecture below `into`; returns where.

    Nothing of it is run, and the host's dpkg knows nothing of it. `place` is a private apt root.
    """
    options = [*private_apt(place, _lines("deb")), *_of_architecture(architecture)]
    try:
        run(["apt-get", *options, "update"], timeout_seconds=600)
        run(["apt-get", *options, "download", package], cwd=into, timeout_seconds=600)
    except CommandFailed as failure:
        last = failure.output.strip().splitlines()[-1:] or ["no output"]
        raise Problem(f"apt cannot fetch {package} for {architecture}: {last[0]}", hint=HINT) from failure
    root = into / "root"
    run(["dpkg-deb", "--extract", next(into.glob("*.deb")), root])
    return root


def private_apt(place: Path, lines: list[str]) -> list[str]:
    """Options that make apt use only `place` (made when missing), with these lines of sources.list."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    (place / "sources.list").write_text("\n".join(lines) + "\n")
    settings = {
        "Dir::State": place,
        "Dir::State::status": place / "status",
        "Dir::State::lists": place / "lists",
        "Dir::Cache": place / "cache",
        "Dir::Etc::SourceList": place / "sources.list",
        "Dir::Etc::SourceParts": place / "parts",
        # The unprivileged user of apt cannot enter a state directory that only root may read.
        "APT::Sandbox::User": "root",
    }
    return ["--quiet", *(f"--option={key}={value}" for key, value in settings.items())]


def _of_architecture(architecture: str) -> list[str]:
    return [f"--option=APT::{name}={architecture}" for name in ("Architecture", "Architectures")]


def _lines(kind: str) -> list[str]:
    """RELEASE itself, without its updates."""
    return [each.line(kind) for each in repositories() if each.release == RELEASE]
