"""Asks other DNS servers on behalf of machines: few at a time, each answer checked, none remembered."""

import asyncio
import logging
import secrets
import socket
import struct
from collections.abc import Callable, Sequence

from pxe.dns_packets import MOST_TCP_BYTES, Name, Query, ask, is_answer, is_truncated, lower, text_of
from pxe.malformed import printable

log = logging.getLogger(__name__)

PORT = 53
TRY_SECONDS = 1.5
TCP_SECONDS = 3.0
ROUNDS = 2
MOST_IN_FLIGHT = 200
"""Each has a socket; a process has 1024 descriptors by default."""

Key = tuple[Name, int, bool]


class Forwarder:
    """One for the process. A question that is under way is not asked twice: whoever wants to forge its answer
    has one number and one port to guess, not many."""

    def __init__(
        self, servers: Callable[[], Sequence[str]], *, port: int = PORT, try_seconds: float = TRY_SECONDS
    ) -> None:
        self._servers = servers
        self._port = port
        self._try_seconds = try_seconds
        self._flights: dict[Key, asyncio.Task[bytes | None]] = {}
        self._silent_at: dict[str, float] = {}
        """Servers that did not answer last time are asked after the others."""
        self.rejected = 0
        """Datagrams that came to a question's port and did not answer it."""

    async def resolve(self, query: Query) -> bytes | None:
        """Another server's answer, as it came; None when there is none in time or too many are under way."""
        key = lower(query.name), query.kind, query.edns_bytes is not None
        task = self._flights.get(key)
        if task is None:
            if len(self._flights) >= MOST_IN_FLIGHT:
                log.warning("dns: %d questions to other servers are under way", len(self._flights))
                return None
            task = asyncio.create_task(self._resolve(query))
            self._flights[key] = task
            task.add_done_callback(lambda _: self._flights.pop(key, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resolve(self, query: Query) -> bytes | None:
        for _ in range(ROUNDS):
            for server in sorted(self._servers(), key=lambda one: self._silent_at.get(one, 0.0)):
                try:
                    came = await self._ask(server, query)
                except (OSError, TimeoutError, EOFError) as error:
                    log.debug("dns: %s does not answer: %s", server, error or type(error).__name__)
                    self._silent_at[server] = asyncio.get_running_loop().time()
                    continue
                self._silent_at.pop(server, None)
                return came
        log.warning("dns: no server answers for %s", printable(text_of(query.name)))
        return None

    async def _ask(self, server: str, query: Query) -> bytes:
        """One server, by UDP and, when the answer does not fit there, by TCP."""
        asked = ask(query, secrets.randbelow(65536))
        came = await self._by_udp(server, asked)
        if not is_truncated(came):
            return came
        asked = ask(query, secrets.randbelow(65536))
        async with asyncio.timeout(TCP_SECONDS):
            return await self._by_tcp(server, asked)

    async def _by_udp(self, server: str, asked: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        # A socket for each question: the kernel gives it a random port and takes packets of that server only.
        with socket.socket(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        ) as one:
            one.connect((server, self._port))
            await loop.sock_sendall(one, asked)
            async with asyncio.timeout(self._try_seconds):
                while not is_answer(asked, came := await loop.sock_recv(one, 4096)):
                    self.rejected += 1
                    log.warning("dns: a datagram from %s does not answer what was asked", server)
                return came

    async def _by_tcp(self, server: str, asked: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port, limit=MOST_TCP_BYTES + 2)
        try:
            writer.write(struct.pack("!H", len(asked)) + asked)
            await writer.drain()
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            came = await reader.readexactly(size)
        finally:
            writer.close()
        if not is_answer(asked, came):
            self.rejected += 1
            raise EOFError(f"{server} answered another question by TCP")
        return came
