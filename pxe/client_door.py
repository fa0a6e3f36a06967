"""The door of installed machines: HTTP over TLS, and who asks is said by their certificate."""

import asyncio
import hashlib
import logging
import re
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from appliance.errors import Problem
from pxe.client_director import ClientDirector
from pxe.http import NEVER_KEPT, protocol_log
from pxe.http_limits import BODY_SECONDS, Limits
from pxe.malformed import printable
from pxe.outermost import LIMITS, handled

log = logging.getLogger(__name__)

LONGEST_BODY = 64 * 1024
HANDSHAKE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
AGAIN_SECONDS = 5.0
MOST_CONNECTIONS = 2000
"""All together; the next ones wait in the kernel's queue, where nothing of ours is spent on them."""
PER_PEER = 256
"""Of one address: a router may stand before a whole house of machines."""
BACKLOG = 512
KEY = re.compile(r"[0-9a-f]{64}")

DIRECTOR = web.AppKey("director", ClientDirector)
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    """Something else that machines may ask here; who asks, the handler learns from machine_of()."""

    method: str
    path: str
    handle: Handle


def machine_of(request: web.Request) -> str:
    """The MAC of the machine that asks. Raises 401 without a certificate, 403 when it counts no more."""
    channel = request.get_extra_info("ssl_object")
    der = channel.getpeercert(binary_form=True) if channel else None
    if not der:
        raise web.HTTPUnauthorized(text="this needs the certificate of a machine\n")
    try:
        return request.app[DIRECTOR].machine_of(hashlib.sha256(der).hexdigest())
    except Problem as problem:
        log.warning("%s comes with a certificate that does not count: %s", request.remote, problem.message)
        raise web.HTTPForbidden(text=f"{problem.message}\n") from problem


async def body_of(request: web.Request, most: int = LONGEST_BODY) -> bytes:
    """All of it, in time. Raises 408, and 413 for one of more than `most` octets."""
    came = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.content.iter_any():
                came += piece
                if len(came) > most:
                    raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(came))
            return bytes(came)
    except TimeoutError:
        text = f"the rest did not come within {BODY_SECONDS:.0f} s\n"
        raise web.HTTPRequestTimeout(text=text) from None


def application(director: ClientDirector, routes: Sequence[Route] = ()) -> web.Application:
    """What is asked inside the TLS; `routes` are further questions."""
    app = web.Application(client_max_size=LONGEST_BODY, middlewares=[_guard])
    app[DIRECTOR] = director
    app[LIMITS] = Limits(per_peer=PER_PEER)
    own = (
        Route("GET", "/client/certificate/{key}", _certificate),
        Route("GET", "/client/order", _order),
        Route("POST", "/client/report", _report),
        Route("POST", "/client/event", _event),
    )
    for one in (*own, *routes):
        app.router.add_route(one.method, one.path, one.handle)
    return app


async def _certificate(request: web.Request) -> web.Response:
    key = request.match_info["key"]
    found = request.app[DIRECTOR].certificate(key) if KEY.fullmatch(key) else None
    if found is None:
        raise web.HTTPNotFound(text="nobody was enrolled with this key\n")
    if not found:
        return web.Response(status=202, text="it is not signed yet\n")
    return web.Response(text=found, content_type="application/x-pem-file")


async def _order(request: web.Request) -> web.Response:
    return web.json_response(request.app[DIRECTOR].order(machine_of(request)))


async def _report(request: web.Request) -> web.Response:
    mac = machine_of(request)
    taken = request.app[DIRECTOR].report(mac, await body_of(request))
    return web.json_response({"taken": True} if taken else {"taken": False, "lists": False})


async def _event(request: web.Request) -> web.Response:
    mac = machine_of(request)
    request.app[DIRECTOR].event(mac, await body_of(request))
    return web.json_response({"taken": True})


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What makes no sense to a use case is a sentence for the machine, and no answer is kept by anybody."""

    async def answer(asked: web.Request) -> web.StreamResponse:
        try:
            found = await handler(asked)
        except Problem as problem:
            log.warning("%s of %s: %s", printable(asked.path), asked.remote, printable(str(problem)))
            return web.Response(status=400, text=f"{problem}\n")
        found.headers.update(NEVER_KEPT)
        return found

    return await handled(request, answer)


class Pair:
    """Certificate and key of the door, one file; another file in its place counts for whoever comes next."""

    def __init__(self, pem: Path, authority: Path) -> None:
        """Raises Problem when they cannot be read."""
        self._pem = pem
        # Its purpose is to ask machines for certificates: those of this one authority, and nobody else's.
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.verify_mode = ssl.CERT_OPTIONAL
        # A connection asks one thing: nobody comes back with a ticket.
        self.context.options |= ssl.OP_NO_TICKET
        self.context.num_tickets = 0
        try:
            self._loaded = self._stamp()
            self.context.load_cert_chain(pem)
            self.context.load_verify_locations(authority)
        except OSError as failed:  # ssl.SSLError is one, too
            raise Problem(f"the door for machines has no certificate: {failed}") from failed

    def look(self) -> None:
        """Load it again when it is another file."""
        try:
            if (now := self._stamp()) != self._loaded:
                self.context.load_cert_chain(self._pem)
                self._loaded = now
        except OSError as failed:
            log.warning("%s cannot be read, the certificate before it is used: %s", self._pem, failed)

    def _stamp(self) -> tuple[int, int]:
        status = self._pem.stat()
        return status.st_ino, status.st_mtime_ns


class ClientDoor:
    """The door on every address that is served; it opens as soon as its certificate is there."""

    def __init__(
        self,
        director: ClientDirector,
        port: int,
        *,
        pem: Path,
        authority: Path,
        routes: Sequence[Route] = (),
        most: int = MOST_CONNECTIONS,
    ) -> None:
        self._port = port
        self._pem = pem
        self._authority = authority
        self._most = most
        self._app = application(director, routes)
        self._runner: web.AppRunner | None = None
        self._pair: Pair | None = None
        self._wanted: set[IPv4Address] = set()
        self._open: dict[IPv4Address, tuple[socket.socket, asyncio.Task[None]]] = {}
        self._said = ""

    def attend(self, address: IPv4Address) -> None:
        """Be there at an address from now on, or as soon as that is possible."""
        self._wanted.add(address)
        self._follow()

    def leave(self, address: IPv4Address) -> None:
        self._wanted.discard(address)
        self._follow()

    def bound(self, address: IPv4Address) -> int:
        """The port at an address; 0 while it is not open."""
        found = self._open.get(address)
        return int(found[0].getsockname()[1]) if found else 0

    async def run(self) -> None:
        """Open, and look after what is open, until cancelled."""
        self._runner = web.AppRunner(self._app, access_log=None, logger=protocol_log)
        await self._runner.setup()
        assert self._runner.server
        limits = asyncio.create_task(self._app[LIMITS].run(self._runner.server))
        try:
            while True:
                self._follow()
                if self._pair:
                    self._pair.look()
                await asyncio.sleep(AGAIN_SECONDS)
        finally:
            limits.cancel()
            self._wanted.clear()
            self._follow()
            await self._runner.cleanup()

    def _follow(self) -> None:
        """Close what is not wanted, and open what is."""
        for address in set(self._open) - self._wanted:
            listener, accepting = self._open.pop(address)
            accepting.cancel()
            listener.close()
        missing = sorted(self._wanted - set(self._open))
        if not missing or self._runner is None:
            return
        try:
            self._pair = self._pair or Pair(self._pem, self._authority)
            for address in missing:
                self._open[address] = self._opened(address)
                log.info("installed machines may come to https://%s:%d", address, self.bound(address))
        except (Problem, OSError) as failed:
            self._say(f"the door for installed machines is not open yet: {failed}")

    def _opened(self, address: IPv4Address) -> tuple[socket.socket, asyncio.Task[None]]:
        listener = socket.create_server((str(address), self._port), backlog=BACKLOG)
        listener.setblocking(False)
        return listener, asyncio.create_task(self._accept(listener))

    async def _accept(self, listener: socket.socket) -> None:
        """Take connections one by one, and none while there are as many as there may be."""
        assert self._runner and self._runner.server
        loop, server = asyncio.get_running_loop(), self._runner.server
        under_way: set[asyncio.Task[None]] = set()
        peers: Counter[str] = Counter()
        try:
            while True:
                if len(under_way) + len(server.connections) >= self._most:
                    self._say(f"{self._most} connections of installed machines: the next ones wait")
                    await asyncio.sleep(0.1)
                    continue
                try:
                    plain, sender = await loop.sock_accept(listener)
                except OSError as failed:
                    # Descriptors may be used up for a moment.
                    log.warning("accepting installed machines: %s", failed)
                    await asyncio.sleep(1.0)
                    continue
                peer = str(sender[0])
                if peers[peer] >= PER_PEER:
                    plain.close()
                    continue
                peers[peer] += 1
                task = asyncio.create_task(self._greet(plain))
                under_way.add(task)

                def greeted(task: asyncio.Task[None], peer: str = peer) -> None:
                    under_way.discard(task)
                    peers[peer] -= 1
                    if not peers[peer]:
                        del peers[peer]

                task.add_done_callback(greeted)
        finally:
            for task in under_way:
                task.cancel()

    async def _greet(self, plain: socket.socket) -> None:
        """The handshake, and then HTTP; who does not speak TLS in time is gone."""
        assert self._runner and self._runner.server and self._pair
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._runner.server,
                plain,
                ssl=self._pair.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=CLOSE_SECONDS,
            )
        except (OSError, asyncio.IncompleteReadError) as failed:
            log.debug("a handshake of an installed machine failed: %s", failed)
            with suppress(OSError):
                plain.close()
        except Exception:
            log.exception("a handshake of an installed machine")
            plain.close()

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            log.warning("%s", sentence)
