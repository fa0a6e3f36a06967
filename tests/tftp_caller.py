"""A TFTP server on loopback, and clients by hand that talk to it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.tftp_settings import TftpSettings
from pxe import hot_loop
from pxe import tftp_packets as packets
from pxe.policy import Address
from pxe.tftp_packets import Data, OptionAck
from pxe.tftp_server import TftpServer


class Caller:
    """A client by hand: sends datagrams, waits for what comes back."""

    def __init__(self, server: TftpServer) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(("127.0.0.1", 0))
        self.address: Address = self.socket.getsockname()

    def ask(self, datagram: bytes) -> None:
        """Put a datagram to port 69 of the server."""
        self.server.receive(datagram, self.address)

    async def answer(self) -> tuple[packets.Packet, Address]:
        loop = asyncio.get_running_loop()
        data, peer = await asyncio.wait_for(loop.sock_recvfrom(self.socket, 65536), 5)
        return packets.parse(data), peer

    async def fetch(self, name: str, *options: tuple[str, str]) -> bytes:
        """A whole small file in lock-step; what comes twice counts once, as with any client (RFC 1123)."""
        self.ask(packets.request(name, options=options))
        content, expected = b"", 1
        while True:
            packet, peer = await self.answer()
            if isinstance(packet, OptionAck):
                self.socket.sendto(packets.ack(0), peer)
                continue
            assert isinstance(packet, Data), packet
            if packet.block < expected:
                # Who hears the same block again acknowledges no more (the Sorcerer's Apprentice).
                continue
            assert packet.block == expected, packet
            content, expected = content + packet.payload, expected + 1
            self.socket.sendto(packets.ack(packet.block), peer)
            if len(packet.payload) < 512:
                return content


@dataclass
class Served:
    server: TftpServer
    finished: "asyncio.Queue[tuple[str, str, int]]"
    port69: socket.socket
    named: dict[str, Path]
    """Names that stand for any path."""

    async def next_finished(self) -> tuple[str, str, int]:
        return await asyncio.wait_for(self.finished.get(), 5)


@contextmanager
def serving(root: Path, chosen: TftpSettings) -> Iterator[Served]:
    finished: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()
    named: dict[str, Path] = {}

    def resolve(name: str, peer: str) -> Path | bytes | None:
        if name in named:
            return named[name]
        if name == "virtual":
            return f"made for {peer}\n".encode()
        path = root / name
        return path if path.exists() or path.is_symlink() else None

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as port69:
        port69.bind(("127.0.0.1", 0))
        server = TftpServer(
            "127.0.0.1",
            resolve,
            roots=(root,),
            finished=lambda peer, name, size, _: finished.put_nowait((peer, name, size)),
            settings=chosen,
            port69=port69,
        )
        try:
            yield Served(server, finished, port69, named)
        finally:
            server.close()


Talk = Callable[[Served, Caller], Awaitable[None]]


def with_server(
    root: Path,
    talk: Talk,
    *,
    chosen: TftpSettings = TftpSettings(),  # noqa: B008
    run: Callable[..., None] = hot_loop.run,
) -> None:
    async def conversation() -> None:
        with serving(root, chosen) as served:
            caller = Caller(served.server)
            with caller.socket:
                await talk(served, caller)

    run(conversation())
