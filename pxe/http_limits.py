"""Ends HTTP connections that ask nothing: those that are too slow, too many, or left behind."""

import asyncio
import logging
from collections import Counter
from weakref import WeakKeyDictionary

from aiohttp import web

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
HEADER_SECONDS = 30.0
"""Within this time a connection must have asked something whole, or be asked something again."""
BODY_SECONDS = 30.0
PER_PEER = 64
"""Connections of one address. Firmware has 1, an installer some; browsers and proxies up to some dozens."""


class Limits:
    """Told of every question that begins and ends; looks at the connections that have none under way."""

    def __init__(self, *, front: bool = False, per_peer: int = PER_PEER) -> None:
        """`front`: all machines may come through another web server of this host."""
        self._per_peer = per_peer
        self._front = front
        self._asking: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self._quiet_since: WeakKeyDictionary[asyncio.BaseTransport, float] = WeakKeyDictionary()

    def began(self, transport: asyncio.BaseTransport | None) -> None:
        if transport is not None:
            self._asking[transport] = self._asking.get(transport, 0) + 1

    def ended(self, transport: asyncio.BaseTransport | None, now: float) -> None:
        if transport is not None:
            self._asking[transport] = self._asking.get(transport, 1) - 1
            self._quiet_since[transport] = now

    async def run(self, server: web.Server) -> None:
        """Look until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                self.look([one.transport for one in server.connections if one.transport], clock())
            except Exception:
                log.exception("looking at HTTP connections")

    def look(self, transports: list[asyncio.Transport], now: float) -> None:
        """End those that are quiet for too long, and of a peer with too many all that are quiet."""
        peers = Counter(_peer(one) for one in transports if not (self._front and _is_of_this_host(one)))
        for transport in transports:
            if self._asking.get(transport):
                continue
            quiet = now - self._quiet_since.setdefault(transport, now)
            if quiet > HEADER_SECONDS or peers[_peer(transport)] > self._per_peer:
                log.debug("%s asks nothing for %.0f s: its connection is ended", _peer(transport), quiet)
                transport.abort()


def _is_of_this_host(transport: asyncio.BaseTransport) -> bool:
    name = transport.get_extra_info("sockname")
    return _peer(transport) in ("127.0.0.1", str(name[0]) if name else "")


def _peer(transport: asyncio.BaseTransport) -> str:
    name = transport.get_extra_info("peername")
    return str(name[0]) if name else ""
