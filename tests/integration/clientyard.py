"""A machine in namespaces: a real root, real Portage and the real agent; only the kernel is the host's."""

import os
import re
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from appliance.overlays import example_site, overlay
from appliance.profile_model import AGENT as AGENT_PACKAGE
from appliance.run import Finished, run, running
from appliance.sandbox import Bind, Overlay, Sandbox
from buildfarm import manifest
from buildfarm.signing import Signer
from buildfarm.stage import Stage
from buildfarm.tarball import read_directory
from distserver_client.journal import Journal, read_journal
from distserver_client.paths import Places
from distserver_client.updating import Step
from tests.integration.farmyard import Farmyard
from tests.press import Press
from tests.readers import release_server, serving

AGENT = "/usr/sbin/distserver-client"
CLIENT = "var/lib/distserver/client"
# First after power on: a static /dev has no loop devices, and mounts did not outlive the last start.
BOOT = """
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
for n in $(seq 0 63); do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done
distserver-client mount >/dev/null
exec "$@"
"""
ANY_STATUS = range(-255, 256)
LARGE = """EAPI=8
inherit tiny
DESCRIPTION="what does not compress"
src_install() {
	# A tree does not have what packages are made of: here it comes of its version.
	local code='import random, sys; sys.stdout.buffer.write(random.Random(sys.argv[1]).randbytes(2 << 20))'
	python3 -c "${code}" "${PV}" >"${T}"/data || die
	insinto /usr/share/large; doins "${T}"/data
	insinto /etc; doins "${FILESDIR}"/large.conf
}
"""
CONF = "first = 1\n\n# What is between them keeps two changes apart.\n\nversion = %s\n"
"""/etc/large.conf of each version."""
WORLDS = (
    ("app-misc/large", "app-misc/slow", "app-misc/witness", AGENT_PACKAGE, "sys-kernel/tiny-kernel"),
    ("app-misc/large", "app-misc/witness", AGENT_PACKAGE, "sys-kernel/tiny-kernel"),
)
"""The second release has a package less."""


@dataclass
class Machine:
    """Its disk is the upper layer over the install stage; each call is a start of its own."""

    place: Path
    stage: Path
    keyring: Path
    server: str

    @property
    def disk(self) -> Path:
        return self.place / "upper"

    def lay(self, release: Path) -> None:
        """What the installer leaves: the agent, settings, the release's files; the agent fetches packages."""
        for name, member in read_directory(overlay("client")).items():
            if isinstance(member.content, bytes):
                self.write(name, member.content, 0o755 if member.program else 0o644)
        self.write("etc/distserver/server", f"{self.server}\n".encode())
        self.write("etc/distserver/release-key.gpg", self.keyring.read_bytes())
        self.write("etc/distserver/release", f"{release.name}\n".encode())
        cache = self.disk / "var/cache/distserver/r" / release.name
        cache.mkdir(parents=True)
        sealed = manifest.parse((release / "manifest").read_text())
        trees = [item.name for item in sealed.files if item.name.startswith("tree-")]
        for name in ("manifest", "manifest.sig", "Packages", "bases", "portage.sqfs", *trees):
            shutil.copy(release / name, cache)
        begun = f'{{"target": "{release.name}", "before": "{release.name}", "dirty": true}}'
        self.write(f"{CLIENT}/journal/update.json", begun.encode())

    def write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        place = self.disk / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(mode)

    def sandbox(self) -> Sandbox:
        for name in ("upper", "work", "root"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        layers = Overlay((self.stage,), self.disk, self.place / "work")
        made = Sandbox(self.place / "root", [layers, Bind(Path("/sys"), PurePosixPath("/sys"))])
        return replace(made, network=True)

    def call(self, *argv: str, ok: Sequence[int] = (0,)) -> Finished:
        """Start the machine and run a program on it."""
        return run(["sh", "-c", BOOT, "boot", *argv], prefix=self.sandbox().prefix(), ok=ok)

    def agent(self, *argv: str, ok: Sequence[int] = (0,)) -> str:
        return self.call(AGENT, *argv, ok=ok).stdout

    def journal(self) -> Journal | None:
        return read_journal(Places(self.disk))

    def cut(self, *argv: str, when: Callable[[], bool], after_seconds: float = 0.0) -> bool:
        """Start the agent, take the power away so long after something was; False when it was done before."""
        words = ["sh", "-c", BOOT, "boot", AGENT, *argv]
        with running(words, prefix=self.sandbox().prefix(), output=self.place / "cut.log") as child:
            while child.poll() is None and not when():
                select.select([], [], [], 0.005)
            deadline = time.monotonic() + after_seconds
            while child.poll() is None and time.monotonic() < deadline:
                select.select([], [], [], 0.01)
            if child.poll() is not None:
                return False
            os.killpg(child.pid, signal.SIGKILL)
        return True

    def has_begun(self, step: Step) -> bool:
        # At the very end it goes away between two looks.
        with suppress(FileNotFoundError):
            journal = self.journal()
            return journal is not None and step.value in (*journal.done, journal.at)
        return False

    def installed(self) -> dict[str, tuple[str, str]]:
        """cpv -> (BUILD_ID, BINPKGMD5), from Portage's own record and not by the agent's code."""
        found = {}
        for place in sorted((self.disk / "var/db/pkg").glob("*/*/")):
            fields = [(place / name).read_text().strip() for name in ("BUILD_ID", "BINPKGMD5")]
            found[f"{place.parent.name}/{place.name}"] = (fields[0], fields[1])
        return found

    def release(self) -> str:
        return (self.disk / "etc/distserver/release").read_text().strip()


@dataclass(frozen=True)
class Yard:
    """Two releases of one profile, the newer one published; between them everything changed that can."""

    farm: Farmyard
    press: Press
    first: str
    second: str
    machine: Machine
    """At the first release, whole."""

    def place(self, release: str) -> Path:
        return self.farm.tree.room("releases") / release

    def has(self, release: str) -> bool:
        """Is the machine at this release: by Portage's record, its world and what it says of itself?"""
        world = [f"{atom}\n" for atom in WORLDS[release == self.second]]
        return (
            self.machine.installed() == offered(self.place(release))
            and self.machine.release() == release
            and (self.machine.disk / "var/lib/portage/world").read_text() == "".join(sorted(world))
        )

    def another(self, place: Path) -> "Yard":
        """The same with a machine of its own."""
        run(["cp", "-a", self.machine.disk.parent, place])
        return replace(self, machine=replace(self.machine, place=place))


@contextmanager
def make_yard(place: Path, build_stage: Stage, install_stage: Stage) -> Iterator[Yard]:
    farm = Farmyard.make(place, build_stage, install_stage)
    site = Path(shutil.copytree(example_site(), place / "other-site"))
    press = Press(farm.tree, site, Signer(farm.tree.room("keys")))
    add_large(farm, "1")

    def build(world: Sequence[str]) -> str:
        farm.world = tuple(world)
        result = farm.build()
        assert result.release, result.reasons
        press.desk().publish(result.release, origins=result.origins)
        return result.release.id

    first = build(WORLDS[0])
    with serving(release_server(press)) as url:
        keyring = farm.tree.path / "keys/public.gpg"
        machine = Machine(place / "machine", install_stage.root, keyring, url)
        machine.lay(farm.tree.room("releases") / first)
        machine.agent("update")
        witness = farm.repository / "app-misc/witness/witness-1.ebuild"
        witness.rename(witness.with_name("witness-2.ebuild"))
        add_large(farm, "2")
        farm.files = {"package.use/web": b"app-misc/witness loud\n"}
        yield Yard(farm, press, first, build(WORLDS[1]), machine)


def add_large(farm: Farmyard, version: str) -> None:
    """A package as large as usual ones: what an update costs is compared with it."""
    place = farm.repository / "app-misc/large"
    shutil.rmtree(place, ignore_errors=True)
    (place / "files").mkdir(parents=True)
    (place / "files/large.conf").write_text(CONF % version)
    (place / f"large-{version}.ebuild").write_text(LARGE)


def offered(release: Path) -> dict[str, tuple[str, str]]:
    """The same of a release, of its index."""
    found = {}
    for paragraph in (release / "Packages").read_text().split("\n\n"):
        fields = dict(re.findall(r"^(\w+): (.*)$", paragraph, re.MULTILINE))
        if "CPV" in fields:
            found[fields["CPV"]] = (fields["BUILD_ID"], fields["MD5"])
    return found
