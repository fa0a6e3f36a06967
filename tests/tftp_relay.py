"""A bad wire for TFTP: loses, doubles and delays datagrams of transfers between clients and a server.

`python -m tests.tftp_relay LISTEN SERVER LOSS DOUBLED LATE SEED` listens on port 69. Requests always arrive:
how long a client waits before it asks again is its own matter.
"""

import asyncio
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass

READY = "relay is ready"
LATE_SECONDS = 0.02
OACK = b"\0\6"

Address = tuple[str, int]


@dataclass(frozen=True)
class Chances:
    """Of one datagram; a late one comes after others that were sent behind it."""

    loss: float
    doubled: float
    late: float


class Relay:
    """Forwards datagrams; each client has a pair of sockets of its own, as behind NAT."""

    def __init__(self, listen: str, server: str, chances: Chances, seed: int) -> None:
        self.listen = listen
        self.server = server
        self._chances = chances
        self._random = random.Random(seed)
        self._flows: dict[Address, Flow] = {}

    def pass_on(self, to: asyncio.DatagramTransport, datagram: bytes, there: Address) -> None:
        """Send a datagram to a place, as badly as the chances want it."""
        if self._random.random() < self._chances.loss:
            return
        # atftp gives up when it sees an OACK twice.
        twice = self._random.random() < self._chances.doubled and datagram[:2] != OACK
        for _ in range(2 if twice else 1):
            late = LATE_SECONDS if self._random.random() < self._chances.late else 0.0
            asyncio.get_running_loop().call_later(late, to.sendto, datagram, there)

    async def asked(self, datagram: bytes, client: Address) -> None:
        """Take a request to port 69."""
        flow = self._flows.get(client)
        if flow is None:
            loop = asyncio.get_running_loop()
            flow = self._flows[client] = Flow(self, client)
            near, _ = await loop.create_datagram_endpoint(
                lambda: End(flow.from_client), local_addr=(self.listen, 0)
            )
            far, _ = await loop.create_datagram_endpoint(
                lambda: End(flow.from_server), local_addr=("0.0.0.0", 0)
            )
            flow.near, flow.far = near, far
        flow.tid = None
        if flow.far:
            flow.far.sendto(datagram, (self.server, 69))


class Flow:
    """One client: `near` is what it sees of the server, `far` what the server sees of it."""

    def __init__(self, relay: Relay, client: Address) -> None:
        self._relay = relay
        self._client = client
        self.tid: Address | None = None
        self.near: asyncio.DatagramTransport | None = None
        self.far: asyncio.DatagramTransport | None = None

    def from_server(self, datagram: bytes, sender: Address) -> None:
        self.tid = self.tid or sender
        if self.near and sender == self.tid:
            self._relay.pass_on(self.near, datagram, self._client)

    def from_client(self, datagram: bytes, sender: Address) -> None:
        if self.far and self.tid:
            self._relay.pass_on(self.far, datagram, self.tid)


class End(asyncio.DatagramProtocol):
    """One socket of a flow."""

    def __init__(self, handle: Callable[[bytes, Address], None]) -> None:
        self._handle = handle

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._handle(data, addr)


async def main(listen: str, server: str, chances: Chances, seed: int) -> None:
    relay = Relay(listen, server, chances, seed)
    loop = asyncio.get_running_loop()
    going: set[asyncio.Task[None]] = set()

    def asked(datagram: bytes, client: Address) -> None:
        task = loop.create_task(relay.asked(datagram, client))
        going.add(task)
        task.add_done_callback(going.discard)

    await loop.create_datagram_endpoint(lambda: End(asked), local_addr=(listen, 69))
    print(READY, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    listen, server, *numbers, seed = sys.argv[1:]
    asyncio.run(main(listen, server, Chances(*map(float, numbers)), int(seed)))
