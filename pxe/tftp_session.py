"""One TFTP transfer with its socket, its bytes and its timer."""

import asyncio
import contextlib
import errno
import logging
import socket
import struct
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from pxe import tftp_packets as packets
from pxe.hot_loop import HotLoop
from pxe.malformed import Malformed, printable
from pxe.policy import Address
from pxe.tftp import LAST_NUMBER, Transfer
from pxe.tftp_files import Content
from pxe.tftp_packets import Error, ErrorCode, Opcode, Request
from pxe.tftp_socket import FULL, HEAD, Segments, Way

log = logging.getLogger(__name__)

# Of an ERROR's message the beginning is enough; nothing else a client sends in a transfer is longer.
LONGEST_DATAGRAM = 256
# A timer that comes later than the deadline by less is left as it is.
TOLERANCE_SECONDS = 0.02
# Plain numbers: a member of an enumeration costs a call for each datagram.
ACK, DATA = int(Opcode.ACK), int(Opcode.DATA)
pack_head, unpack_head = HEAD.pack, HEAD.unpack_from


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
        self._recv: Callable[[int], bytes] = bytes  # until `start` has a socket
        self._segments: Segments | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._too_late = 0.0
        """For a deadline before this the timer that is set would come too late."""
        self._closed = False

    def start(self) -> None:
        """Send what comes first. Raises OSError when there is no way to the client."""
        try:
            way = self._owner.way(self.peer)
            self._segments = Segments(way, self._blksize)
            if isinstance(way, socket.socket):
                self._socket, self._recv = way, way.recv
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
        transfer = self.transfer
        try:
            opcode, number = unpack_head(datagram)
        except struct.error:
            wrong = Malformed("packet", expected="at least 4 bytes", came=f"{len(datagram)} bytes")
            self._owner.count_malformed(self.peer, wrong)
            return False
        if opcode != ACK:
            self._other(datagram)
        elif blocks := transfer.acknowledged(number, monotonic()):
            self._answer(blocks)
        if transfer.over or transfer.deadline < self._too_late:
            return self._settle()
        return False

    def _other(self, datagram: bytes) -> None:
        try:
            match packets.parse(datagram):
                case Error(code, message):
                    self.transfer.refused(code, message)
        except Malformed as wrong:
            self._owner.count_malformed(self.peer, wrong)

    def _readable(self) -> bool:
        try:
            datagram = self._recv(LONGEST_DATAGRAM)
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
        transfer, size, view, segments = self.transfer, self._blksize, self._view, self._segments
        if segments is None or not blocks:
            return
        try:
            if not (block := blocks.start):
                segments.sendmsg((packets.option_ack(transfer.agreed.oack),))
                return
            if len(blocks) == 1:
                end = block * size
                number = block if block <= LAST_NUMBER else transfer.wire(block)
                segments.sendmsg((pack_head(DATA, number), view[end - size : end]))
                return
            parts: list[bytes | memoryview] = []
            for block in blocks:
                end = block * size
                number = block if block <= LAST_NUMBER else transfer.wire(block)
                parts += pack_head(DATA, number), view[end - size : end]
            segments.send(parts)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """What sending or receiving says of the client or the file."""
        if error.errno == errno.ECONNREFUSED:
            # After the size probe, or when it has the file and forgot us.
            self.transfer.gone()
            return
        if error.errno in FULL:
            # Lost as on a wire; the timer sends it again.
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
            if transfer.deadline >= self._too_late:
                return False
            self._timer.cancel()
        self._too_late = transfer.deadline - TOLERANCE_SECONDS
        self._timer = self._loop.call_at(transfer.deadline, self._expired)
        return True
