"""The boot servers on a virtual LAN, told by a table what its machines boot."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.lab import Lan
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.netyard import inside

SECONDS = 60.0


@contextmanager
def serving(net: Lan, boot_dir: Path, director: FakeDirector) -> Iterator[None]:
    """The boot servers on the LAN, in a thread of their own."""
    servers = Servers(Network(("eth0",), 80, ""), director, boot_dir)
    room = net.namespace("appliance")
    with inside(room):
        servers.open()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        ready.set()
        await servers.serve(stop)

    def everything() -> None:
        with inside(room):
            asyncio.run(serve())

    thread = threading.Thread(target=everything)
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(SECONDS)
