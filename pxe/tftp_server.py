"""Serves TFTP: a socket of its own for every transfer, one event loop for all."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path
from time import monotonic

from appliance.tftp_settings import TftpSettings
from pxe import tftp_packets as packets
from pxe.malformed import Malformed, printable
from pxe.policy import Address
from pxe.tftp import Limits, State, Transfer, clean_name, negotiate
from pxe.tftp_files import Content, Files, Refused, made
from pxe.tftp_packets import Ack, Data, ErrorCode, OptionAck, Request
from pxe.tftp_session import Session
from pxe.tftp_socket import Ports, Shared, Way

log = logging.getLogger(__name__)

Resolver = Callable[[str, str], Path | bytes | None]
"""The place, or the content, of a clean name for a client's address; None when there is no such file."""

Finished = Callable[[str, str, int, float], None]
"""Told of every complete transfer: the client's address, the name, bytes, seconds."""

# A transfer that waited so long for its client ends when there are too many: the client was switched off, or
# never was there.
GIVE_WAY_SECONDS = 1.0
# So many of the oldest are looked at for one that gives way.
OLDEST = 64
# The same request again while the transfer goes on was doubled on the way, or is late. When nothing came for
# so long its sender was switched on anew.
DOUBLED_SECONDS = 1.0
# Requests beyond that wait, for so long: until then their senders ask again, or are gone.
WAITING_SECONDS = 5.0
MOST_WAITING = 4096
# RFC 2347 allows 512 bytes.
LONGEST_REQUEST = 1024
# Clients whose path does not carry what their link does: for how long, and how many, are remembered.
NARROW_SECONDS = 3600.0
MOST_NARROW = 256
NARROW_BLKSIZE = 512


class TftpServer:
    """Answers what comes to port 69 of one link; `close` ends every transfer.

    Whoever forges a sender's address makes this server send that address an ERROR, or four datagrams
    (tftp.UNPROVED_TRIES) of at most 516 bytes within three seconds, for `settings.per_client` requests at a
    time; a request that is repeated adds one datagram.
    """

    def __init__(
        self,
        address: str,
        resolver: Resolver,
        *,
        finished: Finished,
        roots: Sequence[Path] = (Path("/"),),
        limits: Limits | None = None,
        settings: TftpSettings | None = None,
        port69: socket.socket | None = None,
    ) -> None:
        """`address` is what clients ask. Files are only sent from below `roots`; no link is followed there:
        a resolver that allows links resolves them. `port69` is only needed for `settings.single_port`."""
        self.settings = settings or TftpSettings()
        self.files = Files(roots)
        self._address = address
        self._resolver = resolver
        self._finished = finished
        self.limits = limits or Limits()
        """What new transfers may agree on."""
        self._port69 = port69 if self.settings.single_port else None
        self._ports = Ports(self.settings.first_port, self.settings.last_port)
        self._sessions: dict[Address, Session] = {}
        self._of_host: dict[str, list[Session]] = {}
        self._waiting: dict[Address, tuple[Request, float]] = {}
        self._narrow: dict[str, float] = {}
        self.dropped = 0
        """Malformed datagrams."""

    def __len__(self) -> int:
        """Transfers under way."""
        return len(self._sessions)

    def receive(self, datagram: bytes, peer: Address) -> None:
        """Handle one datagram that came to port 69."""
        if self._port69 and datagram[:2] not in (b"\0\1", b"\0\2") and (session := self._sessions.get(peer)):
            session.receive(datagram)
            return
        try:
            if len(datagram) > LONGEST_REQUEST:
                expected = f"at most {LONGEST_REQUEST} bytes"
                raise Malformed("packet", expected=expected, came=f"{len(datagram)} bytes")
            match packets.parse(datagram):
                case Request(write=True) as request:
                    log.warning("%s may not write %s", peer[0], printable(request.name))
                    self._refuse(peer, ErrorCode.ACCESS, "this server takes no files")
                case Request() as request:
                    self._read(request, peer)
                case Ack() | Data() | OptionAck() if self._port69:
                    self._refuse(peer, ErrorCode.UNKNOWN_TRANSFER, "there is no such transfer")
                case other:
                    log.debug("%s sent %s to port 69", peer[0], type(other).__name__)
        except Malformed as wrong:
            self.count_malformed(peer, wrong)

    def count_malformed(self, peer: Address, wrong: Malformed) -> None:
        self.dropped += 1
        log.warning("tftp: dropped a packet of %s: %s (%d so far)", peer[0], wrong, self.dropped)

    def close(self) -> None:
        self._waiting.clear()
        for session in list(self._sessions.values()):
            session.close()

    def way(self, peer: Address) -> Way | socket.socket:
        """How a transfer reaches its client. Raises OSError."""
        return Shared(self._port69, peer) if self._port69 else self._ports.open(self._address, peer)

    def _read(self, request: Request, peer: Address) -> None:
        if request.mode not in ("octet", "netascii"):
            self._refuse(peer, ErrorCode.ILLEGAL, "the mode is neither octet nor netascii")
            return
        now = monotonic()
        if before := self._sessions.get(peer):
            alive = not before.transfer.proved or before.transfer.unanswered(now) < DOUBLED_SECONDS
            if request == before.request and alive:
                # Its answer was lost, or the request was doubled or stood in a queue: another port would
                # confuse its sender.
                before.asked_again()
                return
            before.give_way()
        self._waiting.pop(peer, None)
        if not self._has_room(peer[0], now):
            log.info("tftp: %s has to wait: %d transfers under way", peer[0], len(self._sessions))
            self._waiting[peer] = request, now
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            return
        self._begin(request, peer, now)

    def _begin(self, request: Request, peer: Address, now: float) -> None:
        name = clean_name(request.name)
        content = self._open(name, request.mode, peer[0]) if name else None
        if name is None or content is None:
            log.debug("tftp: %s asked for %s, which is not here", peer[0], printable(request.name))
            self._refuse(peer, ErrorCode.NOT_FOUND, "no such file")
            return
        # What netascii makes of the file depends on its content, so its size is not told (RFC 2349).
        size = None if request.mode == "netascii" else content.size
        agreed = negotiate(request, size, self._limits_of(peer[0], now), rollover=self._rollover_of(peer[0]))
        session = Session(
            self, Transfer(content.size, agreed), content, name=name, peer=peer, request=request, now=now
        )
        self._sessions[peer] = session
        self._of_host.setdefault(peer[0], []).append(session)
        try:
            session.start()
        except OSError as error:
            # No descriptor or port left, no route, a firewall: the client asks again.
            log.warning("tftp: %s is not answered: %s", peer[0], error)

    def _has_room(self, host: str, now: float) -> bool:
        """Whether one more transfer of a host is possible; one that waits for its client gives way to it."""
        if len(own := self._of_host.get(host, [])) >= self.settings.per_client:
            return _made_room(own, now)
        if len(self._sessions) >= self.settings.transfers:
            return _made_room(list(islice(self._sessions.values(), OLDEST)), now)
        return True

    def _admit(self) -> None:
        """Begin what has room now, the longest waiting first."""
        now = monotonic()
        for peer, (request, came_at) in list(self._waiting.items()):
            if len(self._sessions) >= self.settings.transfers:
                return
            if now - came_at > WAITING_SECONDS:
                del self._waiting[peer]
            elif len(self._of_host.get(peer[0], ())) < self.settings.per_client:
                del self._waiting[peer]
                self._begin(request, peer, now)

    def _open(self, name: str, mode: str, host: str) -> Content | None:
        found = self._resolver(name, host)
        if found is None and name != name.lower():
            # FAT knows no case, and neither does some firmware.
            found = self._resolver(name.lower(), host)
        if found is None:
            return None
        if isinstance(found, bytes):
            return made(found, mode)
        try:
            return self.files.take(found, mode)
        except (OSError, Refused) as error:
            log.warning("tftp: %s cannot be sent: %s", printable(name), error)
            return None

    def _limits_of(self, host: str, now: float) -> Limits:
        for session in self._of_host.get(host, ()):
            self._note_narrow(session, now)
        if self._narrow.get(host, 0.0) <= now:
            return self.limits
        return Limits(NARROW_BLKSIZE, self.limits.windowsize, self.limits.timeout_seconds)

    def _note_narrow(self, session: Session, now: float) -> None:
        """Remember a client that answers and gets no large packet: somewhere between, the MTU is smaller."""
        host, blksize = session.peer[0], session.transfer.agreed.blksize
        if blksize <= NARROW_BLKSIZE or not session.transfer.stuck(now):
            return
        if host not in self._narrow:
            log.warning("tftp: %s gets no packet of %d bytes: is the MTU the same everywhere?", host, blksize)
        self._narrow.pop(host, None)
        self._narrow[host] = now + NARROW_SECONDS
        if len(self._narrow) > MOST_NARROW:
            del self._narrow[next(iter(self._narrow))]

    def _rollover_of(self, host: str) -> int:
        named = self.settings.rollover_1
        return int(bool(named) and any(IPv4Address(host) in network for network in named))

    def _refuse(self, peer: Address, code: ErrorCode, message: str) -> None:
        with contextlib.ExitStack() as opened:
            try:
                way = self.way(peer)
                if isinstance(way, socket.socket):
                    opened.enter_context(way)
                way.sendmsg([packets.error(code, message)])
            except OSError as error:
                log.debug("tftp: %s is not answered: %s", peer[0], error)

    def ended(self, session: Session, now: float) -> None:
        """A session is closed: forget it, and tell who wants to know."""
        host, seconds = session.peer[0], now - session.started_at
        self._sessions.pop(session.peer, None)
        own = self._of_host[host]
        own.remove(session)
        if not own:
            del self._of_host[host]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._admit)
        self.files.give_back(session.content)
        self._note_narrow(session, now)
        transfer = session.transfer
        match transfer.state:
            case State.DONE:
                name, size = printable(session.name), transfer.size
                log.info("tftp: %s got %s, %d bytes in %.2f s", host, name, size, seconds)
                self._finished(host, session.name, size, seconds)
            case State.LOST:
                log.warning("tftp: %s went silent while it got %s", host, printable(session.name))
            case _:
                # UEFI firmware asks once only to learn the size and then aborts with error 8.
                log.debug("tftp: %s ended: %s", printable(session.name), printable(transfer.error))


def _made_room(sessions: Collection[Session], now: float) -> bool:
    stalest = max(sessions, key=lambda session: session.transfer.unanswered(now))
    if stalest.transfer.unanswered(now) < GIVE_WAY_SECONDS:
        return False
    stalest.give_way()
    return True
