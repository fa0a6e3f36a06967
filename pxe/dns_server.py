"""Serves DNS on port 53 of each link, by UDP and TCP."""

import asyncio
import errno
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol

from appliance.dns_settings import NameBook
from appliance.errors import Problem
from pxe import dns
from pxe.dns_forward import Forwarder
from pxe.dns_limit import Limiter, Verdict
from pxe.dns_packets import MOST_QUERY_BYTES, Query, Rcode, encode, name_of, relay
from pxe.dns_zone import Zone
from pxe.policy import Address

log = logging.getLogger(__name__)

DNS_PORT = 53
BATCH = 64
"""Datagrams taken before other sockets get their turn."""
IDLE_SECONDS = 10.0
MOST_CONNECTIONS = 100
MOST_CONNECTIONS_PER_CLIENT = 8
MOST_WAITING = 400
"""Clients that wait for what another server says; more than that are told SERVFAIL at once."""


class Directory(Protocol):
    """What the names are, now. Asked for every question: quick."""

    def book(self) -> NameBook: ...


@dataclass(frozen=True)
class DnsSockets:
    """What is open on one link."""

    address: IPv4Address
    network: IPv4Network
    udp: socket.socket
    tcp: socket.socket

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()


def open_dns(address: IPv4Address, network: IPv4Network) -> DnsSockets:
    """Open port 53 of a link's address; needs CAP_NET_BIND_SERVICE. Raises Problem when it is taken."""
    udp = _bound(socket.SOCK_DGRAM, address)
    try:
        tcp = _bound(socket.SOCK_STREAM, address)
    except BaseException:
        udp.close()
        raise
    return DnsSockets(address, network, udp, tcp)


def _bound(kind: socket.SocketKind, address: IPv4Address) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(address), DNS_PORT))
        if kind == socket.SOCK_STREAM:
            made.listen(128)
    except OSError as error:
        made.close()
        if error.errno != errno.EADDRINUSE:
            raise
        letter = "t" if kind == socket.SOCK_STREAM else "u"
        command = f"ss -{letter}lpn 'sport = :{DNS_PORT}'"
        hint = f"`{command}` names it; without [dns] in the site this server needs no port {DNS_PORT}"
        who = "another DNS server (dnsmasq, bind, unbound, libvirt) runs on this host"
        raise Problem(f"DNS port {DNS_PORT} of {address} is taken: {who}", hint=hint) from error
    return made


class DnsServer:
    """Answers on every link it attends. Nothing that comes from the network ends it."""

    def __init__(self, directory: Directory, http_port: int, *, forward_port: int = DNS_PORT) -> None:
        self._directory = directory
        self._http_port = http_port
        self._forwarder = Forwarder(lambda: directory.book().settings.forward, port=forward_port)
        self._limiter = Limiter()
        self._open: dict[IPv4Address, DnsSockets] = {}
        self._listening: dict[IPv4Address, asyncio.Server] = {}
        self._zones: dict[IPv4Address, tuple[NameBook, tuple[IPv4Address, ...], Zone]] = {}
        self._connections: Counter[str] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()

    def open(self, address: IPv4Address, network: IPv4Network) -> None:
        """Open port 53 of a link; `attend` answers there. Raises Problem when somebody else has it."""
        self._open[address] = open_dns(address, network)

    async def attend(self, address: IPv4Address) -> None:
        """Answer what comes in by a link from now on."""
        taken = self._open[address]
        server = await asyncio.start_server(
            lambda reader, writer: self._connected(reader, writer, address), sock=taken.tcp, limit=1024
        )
        self._listening[address] = server
        asyncio.get_running_loop().add_reader(taken.udp, self._readable, taken.udp, address)
        log.info("answering DNS for %s on %s", self._directory.book().settings.zone, address)

    def leave(self, address: IPv4Address) -> None:
        """Answer no longer on the link with this address, and close its port."""
        taken = self._open.pop(address)
        if server := self._listening.pop(address, None):
            asyncio.get_running_loop().remove_reader(taken.udp)
            server.close()
        taken.close()

    def close(self) -> None:
        """Close the ports that are open still."""
        for address in list(self._open):
            self.leave(address)

    async def finish(self) -> None:
        """Give up the questions to other servers that are under way."""
        await self._forwarder.close()
        for task in list(self._waiting):
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)

    def _zone(self, address: IPv4Address) -> Zone:
        """The zone as a machine on this link sees it."""
        book, links = self._directory.book(), tuple(self._open)
        kept = self._zones.get(address)
        if kept and kept[0] is book and kept[1] == links:
            return kept[2]
        zone = Zone(
            name=book.settings.zone,
            server=address,
            http_port=self._http_port,
            networks=(*(taken.network for taken in self._open.values()), *book.networks),
            hosts=book.hosts,
            serial=book.serial,
            allow=tuple(name_of(one) for one in book.settings.allow) if book.settings.forward else (),
        )
        self._zones[address] = book, links, zone
        return zone

    # UDP

    def _readable(self, one: socket.socket, address: IPv4Address) -> None:
        for _ in range(BATCH):
            try:
                data, peer = one.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("dns: %s", error)
                return
            try:
                self._receive(one, address, data, peer)
            except Exception:
                log.exception("dns: a question of %s was not answered", peer[0])

    def _receive(self, one: socket.socket, address: IPv4Address, data: bytes, peer: Address) -> None:
        def send(reply: bytes) -> None:
            _send(one, reply, peer)

        match self._limiter.judge(peer[0], asyncio.get_running_loop().time()):
            case Verdict.DROP:
                return
            case Verdict.SLIP:
                if reply := dns.slip(data):
                    send(reply)
                return
        match dns.answer(data, self._zone(address), peer=IPv4Address(peer[0]), udp=True):
            case bytes() as reply:
                send(reply)
            case dns.Forward() as forward:
                self._forward(forward, send)

    def _forward(self, forward: dns.Forward, send: Callable[[bytes], None]) -> None:
        if len(self._waiting) >= MOST_WAITING:
            send(_failed(forward))
            return

        async def resolve() -> None:
            try:
                send(await self._resolve(forward))
            except Exception:
                log.exception("dns: a question was not answered")

        task = asyncio.create_task(resolve())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _resolve(self, forward: dns.Forward) -> bytes:
        came = await self._forwarder.resolve(forward.query)
        return relay(forward.query, came, most_bytes=forward.most_bytes) if came else _failed(forward)

    # TCP

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: IPv4Address
    ) -> None:
        peer: str = writer.get_extra_info("peername")[0]
        try:
            if self._connections.total() >= MOST_CONNECTIONS:
                return
            if self._connections[peer] >= MOST_CONNECTIONS_PER_CLIENT:
                return
            self._connections[peer] += 1
            try:
                await self._converse(reader, writer, address, IPv4Address(peer))
            finally:
                self._connections[peer] -= 1
                if not self._connections[peer]:
                    del self._connections[peer]
        except (OSError, TimeoutError, EOFError) as error:
            log.debug("dns: %s by TCP: %s", peer, error or type(error).__name__)
        except Exception:
            log.exception("dns: a question of %s was not answered", peer)
        finally:
            writer.close()

    async def _converse(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: IPv4Address,
        peer: IPv4Address,
    ) -> None:
        """Questions and answers in turn, each after its length (RFC 7766), until the client is done."""
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                if size > MOST_QUERY_BYTES:
                    return
                data = await reader.readexactly(size)
            match dns.answer(data, self._zone(address), peer=peer, udp=False):
                case bytes() as reply:
                    pass
                case dns.Forward() as forward:
                    reply = await self._resolve(forward)
                case None:
                    return
            async with asyncio.timeout(IDLE_SECONDS):
                writer.write(struct.pack("!H", len(reply)) + reply)
                await writer.drain()


def _send(one: socket.socket, reply: bytes, peer: Address) -> None:
    try:
        one.sendto(reply, peer)
    except OSError as error:
        # The send buffer is full, the client has gone, or the link was left meanwhile: it asks again.
        log.debug("dns: no answer to %s: %s", peer[0], error)


def _failed(forward: dns.Forward) -> bytes:
    query: Query = forward.query
    return encode(query, Rcode.SERVFAIL, most_bytes=forward.most_bytes)
