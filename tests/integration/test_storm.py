"""A thousand machines are switched on together, the server is killed in the middle: all get their files."""

import asyncio
import contextlib
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance import statement
from appliance.farm_model import Release
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.run import run
from appliance.services import Services
from appliance.statement import Statement
from buildfarm.signing import Signer
from tests.integration.netyard import Yard, answering, inside, yard

SERVER = "10.79.1.2"
RELEASE = "20260101-00000000000a"
MACHINES, PLACES = 1000, 40
KERNEL_BYTES, INSTALLER_BYTES = 100_000, 200_000
HASTE = 4.0
"""The clients of this test wait so many times shorter than they are told to."""
MOST_BYTES = 160 << 20
SLEEP = re.compile(r"^sleep ([0-9]+)$", re.MULTILINE)
AGAIN = re.compile(rf"http://{SERVER}:80(/boot/[0-9a-f:]+\.ipxe\?since=[0-9]+)")


def mac_of(number: int) -> str:
    return f"52:54:00:79:{number >> 8:02x}:{number & 255:02x}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site and a state with a release and a thousand armed machines."""
    place = tmp_path_factory.mktemp("storm")
    site = Path(shutil.copytree(example_site(), place / "site"))
    with (site / "appliance.toml").open("a") as settings:
        settings.write(f"\n[net]\nadmission = {PLACES}\n")
    tree = Tree(place / "state")
    signer = Signer(tree.path / "keys")
    signer.ready()
    services = Services(site, tree)
    services.store.releases.add(Release(RELEASE, "vm", 1.0, "distserver:0123", 3, 100))
    said = Statement("vm", "stable", RELEASE, 1, "2026-01-01T00:00:00Z")
    services.desk.channels.put(said, signer.clearsign(statement.write(said)))
    with services.store.database.change():
        for number in range(MACHINES):
            services.store.machines.add(Machine(mac_of(number), MachineState.ARMED, profile="vm"))
    services.store.close()
    release = tree.path / "releases" / RELEASE
    release.mkdir(parents=True)
    (release / "kernel").write_bytes(b"k" * KERNEL_BYTES)
    (release / "installer").write_bytes(b"i" * INSTALLER_BYTES)
    return place


@pytest.fixture(scope="module")
def net() -> Iterator[Yard]:
    with yard() as net:
        net.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", "10.79.1.3/24"))
        yield net


@contextlib.contextmanager
def boot_process(net: Yard, place: Path, log: Path) -> Iterator[int]:
    """The boot process as `up` starts it; its process ID."""
    words = [sys.executable, "-m", "appliance.cli", "--state", str(place / "state"), "process", "boot"]
    words += ["--site", str(place / "site"), "--interface", "eth0"]
    with answering(net, words, log) as process:
        yield process


@dataclass
class Crowd:
    """Machines as they boot: script, kernel, installer; each follows what it is told."""

    arrived: int = 0
    fetching: int = 0
    most_at_once: int = 0
    told_to_wait: int = 0
    half: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, path: str) -> tuple[int, bytes]:
        """The status and the body; a server that is away is asked again, as iPXE's script does."""
        while True:
            try:
                return await self._once(path)
            except (OSError, EOFError):
                await asyncio.sleep(5 / HASTE)

    @staticmethod
    async def _once(path: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection(SERVER, 80)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {SERVER}:80\r\nConnection: close\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            return int(head.split()[1]), await reader.readexactly(length)
        finally:
            writer.close()

    async def machine(self, number: int) -> None:
        mac = mac_of(number)
        path = f"/boot/{mac}.ipxe"
        while True:
            status, body = await self.get(path)
            assert status == 200
            text = body.decode()
            if f"/r/{RELEASE}/kernel?mac={mac}" in text:
                break
            self.told_to_wait += 1
            again = AGAIN.search(text)
            wait = SLEEP.search(text)
            assert again and wait
            path = again[1]
            await asyncio.sleep(int(wait[1]) / HASTE)
        self.fetching += 1
        self.most_at_once = max(self.most_at_once, self.fetching)
        for name, size in (("kernel", KERNEL_BYTES), ("installer", INSTALLER_BYTES)):
            status, body = await self.get(f"/r/{RELEASE}/{name}?mac={mac}")
            while status == 503:
                await asyncio.sleep(1 / HASTE)
                status, body = await self.get(f"/r/{RELEASE}/{name}?mac={mac}")
            assert (status, len(body)) == (200, size)
        self.fetching -= 1
        self.arrived += 1
        if self.arrived >= MACHINES // 2:
            self.half.set()


def most_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_thousand_machines_switched_on_together_all_arrive_though_the_server_is_killed(
    net: Yard, place: Path, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as servers, inside(net.room("client")):
        first = servers.enter_context(boot_process(net, place, tmp_path / "first.log"))

        async def storm() -> tuple[Crowd, int, int]:
            crowd = Crowd()
            async with asyncio.TaskGroup() as together:
                for number in range(MACHINES):
                    together.create_task(crowd.machine(number))
                await crowd.half.wait()
                before = most_memory(first)
                run(["kill", f"-{signal.SIGKILL:d}", str(first)])
                again = boot_process(net, place, tmp_path / "second.log")
                second = await asyncio.to_thread(servers.enter_context, again)
            return crowd, before, most_memory(second)

        crowd, before, after = asyncio.run(storm())
    assert crowd.arrived == MACHINES
    assert crowd.told_to_wait > MACHINES // 2
    # Those whose server was killed while they fetched may come beside those the next one let in.
    assert crowd.most_at_once <= 2 * PLACES
    assert max(before, after) < MOST_BYTES
