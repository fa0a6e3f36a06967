"""A machine that follows its channel with its own Portage, over HTTP, as facts of a client have it."""

import tarfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from appliance import statement
from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.sandbox import Sandbox
from buildfarm import index, manifest, portage, root
from buildfarm.root import Content
from buildfarm.signing import Notary
from tests.readers import fetch

UPDATE = ("--update", "--deep", "--getbinpkgonly", "--with-bdeps=n", "--rebuilt-binaries=y", "--autounmask=n")
FETCH = 'wget -q -O "${DISTDIR}/${FILE}" "${URI}"'
Instance = tuple[str, int, int]
"""cpv, BUILD_ID, BUILD_TIME."""


@dataclass(frozen=True)
class PortageClient:
    """An install stage under a layer of its own; what it has of a release it got through the URL."""

    place: Path
    stage: Path
    releases: Path
    """Where the trees lie that a machine would mount."""

    def follow(self, url: str, profile: str, notary: Notary) -> str:
        """Ask the channel once and update to what it names; the id of that release."""
        signed = fetch(f"{url}/c/{profile}/stable")
        release = statement.parse(notary.signed_text(signed, "the channel").decode()).release
        sandbox = self._machine(f"{url}/r/{release}", release)
        log = self.place / "emerge.out"
        run(["emerge", *portage.QUIET, *UPDATE, *portage.SETS], prefix=sandbox.prefix(), output=log)
        return release

    def installed(self) -> set[Instance]:
        sandbox = self._sandbox(())
        found = portage.read_state(sandbox, ()).installed
        return {(one.cpv, one.build_id, one.build_time) for one in found}

    def _machine(self, base: str, release: str) -> Sandbox:
        """The repositories, the configuration and the one package repository of a release."""
        here = self.releases / release
        sealed = manifest.parse((here / "manifest").read_text())
        words = [word.partition(":") for word in sealed.snapshot.split()]
        snapshots = tuple(Snapshot(name, revision, here / f"tree-{name}.sqfs") for name, _, revision in words)
        self.place.mkdir(parents=True, exist_ok=True)
        root.lay(self.place / "upper", self.stage, {**_configuration(here), **self._only(base)})
        return self._sandbox(snapshots)

    def _sandbox(self, snapshots: tuple[Snapshot, ...]) -> Sandbox:
        env = {
            "FEATURES": "-news -merge-sync",
            "PORTAGE_TRUST_HELPER": "/bin/true",
            "EMERGE_DEFAULT_OPTS": "",
        }
        made = root.client_sandbox(self.place, self.stage, snapshots, shelves=(), env=env)
        return replace(made, network=True)

    def _only(self, base: str) -> dict[str, Content]:
        folder = Path("etc/portage/binrepos.conf")
        names = [path.name for path in (self.stage / folder).glob("*") if path.is_file()]
        lines = [
            "[distserver]", "priority = 9999", f"sync-uri = {base}", "verify-signature = false",
            f"fetchcommand = {FETCH}", f"resumecommand = {FETCH}", "",
        ]  # fmt: skip
        return {
            **{str(folder / name): b"" for name in names},
            str(folder / "distserver.conf"): "\n".join(lines).encode(),
        }


def offered(releases: Path, release: str) -> set[Instance]:
    """What a machine that has this release has installed."""
    listed = index.parse((releases / release / "Packages").read_text()).paragraphs
    return {(one["CPV"], int(one.get("BUILD_ID") or 0), int(one.get("BUILD_TIME") or 0)) for one in listed}


def _configuration(release: Path) -> dict[str, Content]:
    found: dict[str, Content] = {}
    with tarfile.open(release / "portage.tar") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content:
                found[member.name] = content.read()
            elif member.issym():
                found[member.name] = PurePosixPath(member.linkname)
    return found
