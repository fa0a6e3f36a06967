"""Serves TFTP: a socket of its own for every transfer, one event loop for all."""

import asyncio
import logging
import os
import socket
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pxe import tftp_packets as packets
from pxe.malformed import Malformed, printable
from pxe.policy import Address
from pxe.tftp import Bytes, Limits, Source, State, Transfer, clean_name, negotiate, netascii
from pxe.tftp_packets import ErrorCode, Request

log = logging.getLogger(__name__)

Resolver = Callable[[str, str], Path | bytes | None]
"""The place, or the content, of a clean name for a client's address; None when there is no such file."""

Finished = Callable[[str, str, int, float], None]
"""Told of every complete transfer: the client's address, the name, bytes, seconds."""

# Every transfer holds a socket and perhaps a file; a process has 1024 descriptors by default.
MOST_TRANSFERS = 400
MOST_TRANSFERS_PER_CLIENT = 64


class FileSource:
    """A regular file, kept open. Its content may shrink meanwhile: reads then come back short."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        self.size = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise IsADirectoryError(f"{path} is no regular file")

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        os.close(self._descriptor)


class TftpServer:
    """Answers what comes to port 69; `close` ends every transfer."""

    def __init__(
        self, address: str, resolver: Resolver, *, finished: Finished, limits: Limits | None = None
    ) -> None:
        self._address = address
        self._resolver = resolver
        self._finished = finished
        self._limits = limits or Limits()
        self._sessions: dict[Address, _Session] = {}
        self._per_client: Counter[str] = Counter()
        self.dropped = 0
        """Malformed datagrams."""

    def receive(self, datagram: bytes, peer: Address) -> None:
        """Handle one datagram that came to port 69."""
        try:
            match packets.parse(datagram):
                case Request(write=True) as request:
                    log.warning("%s may not write %s", peer[0], printable(request.name))
                    self._refuse(peer, ErrorCode.ACCESS, "this server takes no files")
                case Request() as request:
                    self._read(request, peer)
                case other:
                    log.debug("%s sent %s to port 69", peer[0], type(other).__name__)
        except Malformed as wrong:
            self.count_malformed(peer, wrong)

    def count_malformed(self, peer: Address, wrong: Malformed) -> None:
        self.dropped += 1
        log.warning("tftp: dropped a packet of %s: %s (%d so far)", peer[0], wrong, self.dropped)

    def close(self) -> None:
        for session in list(self._sessions.values()):
            session.close()

    def _read(self, request: Request, peer: Address) -> None:
        if request.mode not in ("octet", "netascii"):
            self._refuse(peer, ErrorCode.ILLEGAL, "the mode is neither octet nor netascii")
            return
        # The same port asking again did not get our answer, or is a machine that was switched on anew.
        if again := self._sessions.get(peer):
            again.give_way()
        if len(self._sessions) >= MOST_TRANSFERS or self._per_client[peer[0]] >= MOST_TRANSFERS_PER_CLIENT:
            log.warning("tftp: %s has to wait: %d transfers under way", peer[0], len(self._sessions))
            return
        name = clean_name(request.name)
        source = self._open(name, request.mode, peer[0]) if name else None
        if name is None or source is None:
            log.debug("tftp: %s asked for %s, which is not here", peer[0], printable(request.name))
            self._refuse(peer, ErrorCode.NOT_FOUND, "no such file")
            return
        # What netascii makes of the file depends on its content, so its size is not told (RFC 2349).
        size = None if request.mode == "netascii" else source.size
        transfer = Transfer(source, negotiate(request, size, self._limits))
        session = _Session(self, transfer, name=name, address=self._address, peer=peer)
        self._sessions[peer] = session
        self._per_client[peer[0]] += 1
        session.start()

    def _open(self, name: str, mode: str, peer: str) -> Source | None:
        found = self._resolver(name, peer)
        if isinstance(found, Path):
            try:
                source: Source = FileSource(found)
            except OSError as error:
                log.warning("tftp: %s cannot be read: %s", printable(name), error)
                return None
        elif found is None:
            return None
        else:
            source = Bytes(found)
        if mode == "netascii":
            text = source.read(0, source.size)
            _close(source)
            return Bytes(netascii(text))
        return source

    def _refuse(self, peer: Address, code: ErrorCode, message: str) -> None:
        with _transfer_socket(self._address, peer) as answering:
            answering.send(packets.error(code, message))

    def ended(self, session: "_Session", seconds: float) -> None:
        self._sessions.pop(session.peer, None)
        host = session.peer[0]
        self._per_client[host] -= 1
        if not self._per_client[host]:
            del self._per_client[host]
        transfer = session.transfer
        size = transfer.source.size
        match transfer.state:
            case State.DONE:
                log.info("tftp: %s got %s, %d bytes in %.2f s", host, printable(session.name), size, seconds)
                self._finished(host, session.name, size, seconds)
            case State.LOST:
                log.warning("tftp: %s went silent while it got %s", host, printable(session.name))
            case _:
                # UEFI firmware asks once only to learn the size and then aborts with error 8.
                log.debug("tftp: %s ended: %s", printable(session.name), printable(transfer.error))


class _Session:
    """One transfer with its socket and its timer."""

    def __init__(
        self, server: TftpServer, transfer: Transfer, *, name: str, address: str, peer: Address
    ) -> None:
        self.transfer = transfer
        self.name = name
        self.peer = peer
        self._server = server
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._started_at = self._loop.time()

    def start(self) -> None:
        try:
            self._socket = _transfer_socket(self._address, self.peer)
            self._loop.add_reader(self._socket, self._readable)
            self._send(self.transfer.begin(self._loop.time()))
        except OSError:
            self.close()
            raise
        self._settle()

    def give_way(self) -> None:
        """End now; an ACK of the last block that is waiting still counts."""
        self._readable()
        if self._socket:
            self.close()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._socket:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        _close(self.transfer.source)
        self._server.ended(self, self._loop.time() - self._started_at)

    def _readable(self) -> None:
        try:
            while self._socket and not self.transfer.over:
                datagram = self._socket.recv(2048)
                self._send(self.transfer.receive(datagram, self._loop.time()))
        except BlockingIOError:
            pass
        except Malformed as wrong:
            self._server.count_malformed(self.peer, wrong)
        except ConnectionRefusedError:
            # Its port is closed: after the size probe, or when it has the file and forgot us.
            log.debug("tftp: %s closed its port", self.peer[0])
            self.close()
            return
        except Exception:
            log.exception("tftp: the transfer of %s to %s ends", printable(self.name), self.peer[0])
            self.close()
            return
        self._settle()

    def _expired(self) -> None:
        self._timer = None
        try:
            self._send(self.transfer.timeout(self._loop.time()))
        except ConnectionRefusedError:
            self.close()
            return
        except Exception:
            log.exception("tftp: the transfer of %s to %s ends", printable(self.name), self.peer[0])
            self.close()
            return
        self._settle()

    def _send(self, datagrams: list[bytes]) -> None:
        assert self._socket is not None
        for datagram in datagrams:
            try:
                self._socket.send(datagram)
            except BlockingIOError:
                # The send buffer is full: lost like on a wire, the timer sends it again.
                break

    def _settle(self) -> None:
        """Close when over; else have a timer that fires no later than the deadline.

        The deadline moves with every ACK; the timer is only set again when it fires.
        """
        if self.transfer.over:
            if self._socket:
                self.close()
        elif self._timer is None:
            self._timer = self._loop.call_at(self.transfer.deadline, self._expired)


def _transfer_socket(address: str, peer: Address) -> socket.socket:
    """A socket with a port of its own (the TID) that hears only `peer`; strangers get ICMP unreachable.

    It has the address the request went to, because firmware compares it.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        made.bind((address, 0))
        made.connect(peer)
    except OSError:
        made.close()
        raise
    return made


# <linux/in.h>; Python's socket module has no names for them.
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0


def _close(source: Source) -> None:
    if isinstance(source, FileSource):
        source.close()
