"""The boot servers with programs, a release and a pool, and a client's namespace on the same wire."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.deadline import wait_until
from appliance.model import BootTarget, LocalBoot, NetBoot, Silence
from appliance.run import run
from pxe.images import make_boot_directory
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.netyard import DEADLINE_SECONDS, running_servers, yard

SILENT = "52:54:00:77:00:09"
BROKEN = "52:54:00:77:00:0a"
"""A machine that is a bug's."""
LOCAL = "52:54:00:77:00:0b"
SERVER, CLIENT = "10.77.9.2", "10.77.9.3"
URL = f"http://{SERVER}:80"
FILES = ("undionly.kpxe", "snponly.efi", "local-x64.efi", "large.bin", "small.bin")


@dataclass
class Served:
    server: str
    """The namespace of the servers."""
    client: str
    director: FakeDirector
    boot: Path
    releases: Path

    @property
    def on_client(self) -> list[str]:
        return ["ip", "netns", "exec", self.client]

    def wait_for(self, stage: str, *, since: int = 0) -> None:
        """Until the director was told of a stage."""
        wait_until(
            lambda: True if stage in self.director.stages()[since:] else None,
            seconds=DEADLINE_SECONDS,
            what=f"{stage} is recorded",
            last_seen=lambda: str(self.director.records[since:]),
        )

    def curl(self, *words: str, ok: tuple[int, ...] = (0,)) -> str:
        return run(["curl", "-sS", "--max-time", "20", *words], prefix=self.on_client, ok=ok).stdout


@contextmanager
def serve_everything(root: Path) -> Iterator[Served]:
    """The servers and a client on one wire, while the block lasts; what is served lies below `root`."""
    boot, releases, pool = root / "boot", root / "releases", root / "pool"
    make_boot_directory(boot)
    (boot / "large.bin").write_bytes(os.urandom(3 * 1468 * 1000))
    (boot / "small.bin").write_bytes(b"")
    (releases / "r1").mkdir(parents=True)
    (releases / "r1" / "kernel").write_bytes(os.urandom(300_000))
    (releases / "r1" / "installer").write_bytes(os.urandom(1000))
    (pool / "ab").mkdir(parents=True)
    (pool / "ab" / "ab12.gpkg.tar").write_bytes(b"package")
    targets: dict[str, BootTarget] = {SILENT: Silence("not ours"), "*": NetBoot("r1", "quiet", "armed")}
    targets[LOCAL] = LocalBoot("installed")
    (releases / "r1" / "manifest").write_text("a manifest")
    (releases / "r2.partial").mkdir()
    (releases / "r2.partial" / "kernel").write_bytes(b"half")
    (root / "channels" / "vm").mkdir(parents=True)
    (root / "channels" / "vm" / "stable").write_bytes(b"a signed statement")
    director = FakeDirector(targets, broken=BROKEN, releases=releases, pool=pool, channels=root / "channels")
    with yard() as net:
        net.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", f"{CLIENT}/24"))
        server, client = net.room("server"), net.room("client")
        with running_servers(server, Servers(Network(("eth0",)), director, boot)):
            yield Served(server, client, director, boot, releases)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
