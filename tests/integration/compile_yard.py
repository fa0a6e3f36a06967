"""A small compile cluster: a server and compile hosts in namespaces, real agents, real distccd."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from appliance.compile_host import CompileHost, HostState
from appliance.deadline import wait_until
from appliance.desks.cluster import ClusterDesk
from appliance.lab import APPLIANCE_ADDRESS, Lan, lan, wait_for_port
from appliance.model import Tree
from appliance.overlays import overlay
from appliance.run import run, running
from appliance.sandbox import PATH as SANDBOX_PATH
from appliance.sandbox import Overlay, Sandbox
from appliance.services import Services
from buildfarm.lease import Lease
from buildfarm.orders import Signs
from buildfarm.probe import Flags
from buildfarm.toolchain import Toolchain, Wanted
from tests.integration.netyard import inside

PORT = 8088
SECONDS = 90.0
CHOST = "x86_64-pc-linux-gnu"
ADDRESSES = {"one": "10.77.0.11", "two": "10.77.0.12"}
ROOMS = {**ADDRESSES, "three": "10.77.0.13"}
SITE = """name = "yard"
[[repository]]
name = "tiny"
location = "tiny"
"""
PROFILE = """arch = "amd64"
chost = "x86_64-pc-linux-gnu"
profile = "tiny:base"
stage.location = "reference:build"
kernel.package = "sys-kernel/tiny-kernel"
[[disk.partition]]
name = "root"
size = "rest"
filesystem = "ext4"
mount = "/"
"""
SOURCE = """
static unsigned long mix(unsigned long a, unsigned long b) { return (a ^ b) * 1099511628211ul + NUMBER; }
#define ONE(n) unsigned long a##n(unsigned long x) { for (int i = 0; i < n; i++) x = mix(x, n); return x; }
#define MANY(n) ONE(n##1) ONE(n##2) ONE(n##3) ONE(n##4) ONE(n##5) ONE(n##6) ONE(n##7)
MANY(1) MANY(2) MANY(3) MANY(4) MANY(5)
"""
EBUILD = """EAPI=8
DESCRIPTION="many files"
SLOT="0"
KEYWORDS="amd64"
S="${WORKDIR}"
src_compile() { cp "${FILESDIR}"/* . || die; emake CC="${CC}" CFLAGS="${CFLAGS}"; }
src_install() { insinto /usr/share/many; doins *.o; }
"""
MAKE_CONF = f"""CC="{CHOST}-gcc-12"
CXX="{CHOST}-g++-12"
CFLAGS="-O2 -g"
CXXFLAGS="-O2 -g"
FEATURES="-sandbox -usersandbox -news"
"""
TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"
AGENT = overlay("compile-host") / "usr/lib/distserver/compile-host"


def flags(version: int, *options: str) -> Flags:
    words = options or ("-O2", "-g")
    return Flags(Wanted(CHOST, f"{CHOST}-gcc-{version}", f"{CHOST}-g++-{version}"), words, words)


@dataclass
class Yard:
    """Everything below one directory; the test itself is the farm, on the server's host."""

    path: Path
    net: Lan
    services: Services
    stage: Path
    roots: int = field(default=0)

    def root(self) -> Sandbox:
        """A fresh build root over the reference stage."""
        self.roots += 1
        place = self.path / f"root{self.roots}"
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)
        return Sandbox(place / "root", [Overlay((self.stage,), place / "upper", place / "work")])

    def work(self, host: str) -> Path:
        return self.path / host / "work"

    def log(self, host: str) -> str:
        return (self.path / host / "log").read_text()

    @contextmanager
    def agent(
        self, host: str, *, key: Path | None = None, shell: Sequence[str] = ("sh",)
    ) -> Iterator[Popen[bytes]]:
        place = self.path / host
        place.mkdir(exist_ok=True)
        settings = place / "settings"
        settings.write_text(
            f"server=http://{APPLIANCE_ADDRESS}:{PORT}\nname={host}\n"
            f"key={key or self.services.cluster.signer.public_keyring()}\n"
            f"work={place / 'work'}\nstate={place / 'state'}\n"
        )
        argv: list[str | Path] = [*shell, AGENT, settings]
        with running(argv, prefix=self.net.exec_prefix(host), output=place / "log") as process:
            yield process

    def forget(self, made: Toolchain) -> None:
        """Nobody wants this toolchain any more."""
        self.services.store.database.execute("DELETE FROM wanted_toolchain WHERE hash = ?", (made.hash,))
        for suffix in ("json", "sqfs"):
            (self.services.cluster.toolchains / f"{made.hash}.{suffix}").unlink()
        self.services.cluster.tend()

    def small_tools(self) -> Path:
        """A PATH of busybox and what an installer's initramfs has besides."""
        place = self.path / "bin"
        if not place.exists():
            place.mkdir()
            run(["busybox", "--install", "-s", place])
            (place / "gpgv").symlink_to("/usr/bin/gpgv")
        return place

    def project(self, sandbox: Sandbox, files: int, *, weight: int = 1) -> None:
        """A directory /src in a root: so many C files, each `weight` times some work for a compiler."""
        upper = next(mount.upper for mount in sandbox.mounts if isinstance(mount, Overlay))
        (upper / "src").mkdir()
        more = "".join(f"MANY(9{one})\n" for one in range(5 * (weight - 1)))
        for number in range(files):
            (upper / f"src/f{number}.c").write_text(SOURCE.replace("NUMBER", str(number)) + more)
        (upper / "src/Makefile").write_text(
            "all: $(patsubst %.c,%.o,$(wildcard *.c))\n%.o: %.c\n\t$(CC) $(CFLAGS) -c $< -o $@\n"
        )

    def portage(self, sandbox: Sandbox, files: int) -> None:
        """The tiny repository in a root, with a package app-misc/many of so many files."""
        self.project(sandbox, files)
        upper = next(mount.upper for mount in sandbox.mounts if isinstance(mount, Overlay))
        repository = upper / "var/db/repos/tiny"
        shutil.copytree(TINY, repository)
        package = repository / "app-misc/many"
        shutil.copytree(upper / "src", package / "files")
        (package / "many-1.ebuild").write_text(EBUILD)
        (upper / "etc/portage/repos.conf").mkdir(parents=True)
        (upper / "etc/portage/repos.conf/tiny.conf").write_text(
            "[DEFAULT]\nmain-repo = tiny\n[tiny]\nlocation = /var/db/repos/tiny\n"
        )
        (upper / "etc/portage/make.conf").write_text(MAKE_CONF)
        (upper / "etc/portage/make.profile").symlink_to("../../var/db/repos/tiny/profiles/base")

    def make(self, lease: Lease, sandbox: Sandbox, version: int) -> str:
        """Compile /src with what the lease gives, as Portage would: distcc first in PATH."""
        inside = lease.into(sandbox)
        path = f"/usr/lib/distcc:{SANDBOX_PATH}"
        words = ["make", "-C", "/src", f"-j{lease.slots}", f"CC={CHOST}-gcc-{version}", "CFLAGS=-O2 -g"]
        return run(["env", f"PATH={path}", *words], prefix=inside.prefix()).stdout

    def wait_for_host(self, host: str, state: HostState = HostState.READY) -> CompileHost:
        def there() -> CompileHost | None:
            found = next((one for one in self.services.cluster.hosts() if one.name == host), None)
            return found if found and found.state is state else None

        return wait_until(
            there, seconds=SECONDS, what=f"{host} is {state.value}", last_seen=lambda: self.seen(host)
        )

    def seen(self, host: str) -> str:
        place = self.path / host / "log"
        return f"{self.services.cluster.show()}\n{place.read_text() if place.exists() else ''}"

    def wait_for_log(self, host: str, text: str) -> None:
        def said() -> bool | None:
            return text in self.log(host) or None

        wait_until(said, seconds=SECONDS, what=f"{host} says {text!r}", last_seen=lambda: self.seen(host))

    def wait_for_toolchain(self, host: str, digest: str) -> None:
        def runs() -> bool | None:
            self.services.cluster.tend()  # as the farm process does
            report = self.services.cluster.host(host).report
            return (report is not None and digest in report.runs) or None

        wait_until(runs, seconds=SECONDS, what=f"{host} runs {digest}", last_seen=lambda: self.seen(host))


@contextmanager
def yard(path: Path, stage: Path, *, signer: Signs | None = None, taps: int = 0) -> Iterator[Yard]:
    """The cluster's server runs, the calling thread is on its host; agents are started by the test."""
    site = path / "site"
    (site / "profiles" / "one").mkdir(parents=True)
    (site / "appliance.toml").write_text(SITE)
    (site / "profiles/one/profile.toml").write_text(PROFILE)
    shutil.copytree(TINY, site / "tiny")
    state = path / "state"
    with lan("compile", taps=taps, clients=ROOMS) as net:
        argv: list[str | Path] = [sys.executable, "-m", "tests.integration.cluster_server", state, site]
        argv += [APPLIANCE_ADDRESS, str(PORT)]
        with running(argv, prefix=net.exec_prefix("appliance"), output=path / "server.log"):
            wait_for_port(net, "appliance", PORT, seconds=SECONDS)
            with inside(net.namespace("appliance")):
                services = Services(site, Tree(state))
                if signer:
                    services.cluster = ClusterDesk(
                        services.live, services.tree, services.store, services.clock, signer
                    )
                yield Yard(path, net, services, stage)
