"""What speaks to apt: the host's own Debian repositories, a private apt root, source packages."""

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


def fetch_sources(place: Path, wanted: list[tuple[str, str]], into: Path) -> None:
    """Download the tarballs of Debian source packages `(name, version)` with apt's own client.

    `place` is a private apt root (made when missing, /etc/apt is not touched); apt checks every file
    against the archive's signed index. Only RELEASE itself is asked: it is frozen, while the security suite
    drops a version when the next one comes.
    """
    options = _private_apt(place)
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
    options = [*_private_apt(place, "deb"), f"--option=APT::Architecture={architecture}"]
    options.append(f"--option=APT::Architectures={architecture}")
    try:
        run(["apt-get", *options, "update"], timeout_seconds=600)
        run(["apt-get", *options, "download", package], cwd=into, timeout_seconds=600)
    except CommandFailed as failure:
        last = failure.output.strip().splitlines()[-1:] or ["no output"]
        raise Problem(f"apt cannot fetch {package} for {architecture}: {last[0]}", hint=HINT) from failure
    root = into / "root"
    run(["dpkg-deb", "--extract", next(into.glob("*.deb")), root])
    return root


def _private_apt(place: Path, kind: str = "deb-src") -> list[str]:
    """Options that make apt use only `place`, with lines of a kind (deb, deb-src) for RELEASE."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    lines = [each.line(kind) for each in repositories() if each.release == RELEASE]
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
