"""One TFTP transfer with its socket, its bytes and its timer."""

import asyncio
import contextlib
import errno
import logging
import socket
import struct
from time import monotonic
from typing import Protocol

from pxe import tftp_packets as packets
from pxe.hot_loop import HotLoop
from pxe.malformed import Malformed, printable
from pxe.policy import Address
from pxe.tftp import LAST_NUMBER, Transfer
from pxe.tftp_files import Content
from pxe.tftp_packets import Error, ErrorCode, Opcode, Request
from pxe.tftp_socket import HEAD, Segments, Way

log = logging.getLogger(__name__)

# Of an ERROR's message the beginning is enough; nothing else a client sends in a transfer is longer.
LONGEST_DATAGRAM = 256
# A timer that comes later than the deadline by less is left as it is.
TOLERANCE_SECONDS = 0.02
# Plain numbers: a member of an enumeration costs a call for each datagram.
ACK, DATA = int(Opcode.ACK), int(Opcode.DATA)
data_head = HEAD.pack


class Owner(Protocol):
    """The server that a session belongs to."""

    def way(self, peer: Address) -> Way | socket.socket: ...

    def count_malformed(self, peer: Address, wrong: Malformed) -> None: ...

    def ended(self, session: "Session", now: float) -> None: ...


class Session:
    """Lives from `start` until it has told its owner that it ended."""

    def __init__(
        self,
        owner: Owner,
        transfer: Transfer,
        content: Content,
        *,
        name: str,
        peer: Address,
        request: Request,
        now: float,
    ) -> None:
        self.transfer = transfer
        self.content = content
        self.name = name
        self.peer = peer
        self.request = request
        self.started_at = now
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._view = content.view
        self._blksize = transfer.agreed.blksize
        self._socket: socket.socket | None = None
        self._segments: Segments | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0
        self._closed = False

    def start(self) -> None:
        """Send what comes first. Raises OSError when there is no way to the client."""
        try:
            way = self._owner.way(self.peer)
            self._segments = Segments(way, self._blksize)
            if isinstance(way, socket.socket):
                self._socket = way
                self._listen(way)
        except OSError:
            self.close()
            raise
        self._answer(self.transfer.begin(monotonic()))
        self._settle()

    def _listen(self, own: socket.socket) -> None:
        if isinstance(self._loop, HotLoop):
            self._loop.watch(own.fileno(), self._readable)
        else:
            self._loop.add_reader(own, self._readable)

    def asked_again(self) -> None:
        self._answer(self.transfer.asked_again())
        self._settle()

    def give_way(self) -> None:
        """End now; an ACK of the last block that is waiting still counts."""
        if self._socket:
            self._readable()
        self.close()

    def close(self) -> None:
        """Do nothing when it is closed already."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._socket:
            if isinstance(self._loop, HotLoop):
                self._loop.unwatch(self._socket.fileno())
            else:
                self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self._segments = None
        if not self._closed:
            self._closed = True
            self._owner.ended(self, monotonic())

    def receive(self, datagram: bytes) -> bool:
        """Take what the client sent; whether the loop has to look."""
        try:
            opcode, number = HEAD.unpack_from(datagram)
            if opcode == ACK:
                blocks = self.transfer.acknowledged(number, monotonic())
                if blocks:
                    self._answer(blocks)
            else:
                match packets.parse(datagram):
                    case Error(code, message):
                        self.transfer.refused(code, message)
        except struct.error:
            wrong = Malformed("packet", expected="at least 4 bytes", came=f"{len(datagram)} bytes")
            self._owner.count_malformed(self.peer, wrong)
        except Malformed as wrong:
            self._owner.count_malformed(self.peer, wrong)
        return self._settle()

    def _readable(self) -> bool:
        assert self._socket is not None
        try:
            datagram = self._socket.recv(LONGEST_DATAGRAM)
        except BlockingIOError:
            return False
        except OSError as error:
            self._failed(error)
            return self._settle()
        return self.receive(datagram)

    def _expired(self) -> None:
        self._timer = None
        self._answer(self.transfer.timeout(monotonic()))
        self._settle()

    def _answer(self, blocks: range) -> None:
        """Send blocks; those before the first are the OACK."""
        transfer, size, view = self.transfer, self._blksize, self._view
        parts: list[bytes | memoryview] = []
        for block in blocks:
            if not block:
                parts = [packets.option_ack(transfer.agreed.oack), b""]
                break
            end = block * size
            number = block if block <= LAST_NUMBER else transfer.wire(block)
            parts += data_head(DATA, number), view[end - size : end]
        try:
            if self._segments and parts:
                self._segments.send(parts)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """What sending or receiving says of the client or the file."""
        if error.errno == errno.ECONNREFUSED:
            # After the size probe, or when it has the file and forgot us.
            self.transfer.gone()
            return
        if error.errno != errno.EFAULT:
            # A route or an address that went away may come back; the timer sends again until it gives up.
            log.debug("tftp: %s: %s", self.peer[0], error)
            return
        log.warning("tftp: %s was cut off while it was sent to %s", printable(self.name), self.peer[0])
        self.transfer.changed()
        if self._segments:
            with contextlib.suppress(OSError):
                self._segments.send([packets.error(ErrorCode.UNDEFINED, "the file changed"), b""])

    def _settle(self) -> bool:
        """Close when over; else have a timer that fires about when the deadline is.

        The deadline moves with every ACK, so the timer is set again when it fires, or when it would come
        too late. Returns whether the loop has something to look at.
        """
        transfer = self.transfer
        if transfer.over:
            self.close()
            return True
        if self._timer is not None:
            if transfer.deadline >= self._fires_at - TOLERANCE_SECONDS:
                return False
            self._timer.cancel()
        self._fires_at = transfer.deadline
        self._timer = self._loop.call_at(self._fires_at, self._expired)
        return True
