"""A transfer's way to its client: a socket with a port of its own, or port 69 shared by all."""

import errno
import itertools
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

from pxe.policy import Address

# <linux/in.h> and <linux/udp.h>; Python's socket module has no names for them.
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DONT = 0
UDP_SEGMENT = 103

# net/ipv4/udp.c: one call takes no more segments, and no more bytes than a datagram may have.
MOST_SEGMENTS = 64
MOST_SEGMENTED_BYTES = 65000
SEND_BUFFER_BYTES = 1 << 20
# What the kernel says where it cannot cut a buffer into datagrams: a device without checksums, a segment
# above the path's MTU, a kernel before 4.18.
NO_SEGMENTS = frozenset({errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.ENOPROTOOPT, errno.EOPNOTSUPP})
# A full buffer: what was to be sent is lost as on a wire.
FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})

HEAD = struct.Struct("!HH")
_SIZE = struct.Struct("=H")

Control = list[tuple[int, int, bytes]]


class Way(Protocol):
    """Where datagrams leave."""

    def sendmsg(self, buffers: Sequence[bytes | memoryview], control: Control = ..., /) -> int: ...


class Shared:
    """Port 69 itself, for one client: for who reaches this server through NAT or a container's one port."""

    def __init__(self, port69: socket.socket, peer: Address) -> None:
        self._sendmsg = port69.sendmsg
        self._peer = peer

    def sendmsg(self, buffers: Sequence[bytes | memoryview], control: Control | None = None, /) -> int:
        return self._sendmsg(buffers, control or [], 0, self._peer)


class Ports:
    """The ports that transfers may have: any, or those of a range, for who has to name them to a firewall."""

    def __init__(self, first: int = 0, last: int = 0) -> None:
        self._ports = range(first, last + 1)
        self._turn: Iterator[int] = itertools.cycle(self._ports)

    def open(self, address: str, peer: Address) -> socket.socket:
        """A socket with a port of its own (the TID) that hears only `peer`; the kernel tells strangers that
        nobody is there. Raises OSError, also when all ports of the range are taken.

        It has the address the request went to, because firmware compares it.
        """
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # Linux forbids fragments by default, which confuses some boot ROMs (dnsmasq clears it, too).
            made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self._bind(made, address)
            made.connect(peer)
        except OSError:
            made.close()
            raise
        return made

    def _bind(self, made: socket.socket, address: str) -> None:
        for port in itertools.islice(self._turn, len(self._ports)):
            try:
                made.bind((address, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        if self._ports:
            taken = f"all ports from {self._ports[0]} to {self._ports[-1]} are taken"
            raise OSError(errno.EADDRINUSE, taken)
        made.bind((address, 0))


class Segments:
    """Sends runs of DATA packets of one size, many with one call where the kernel can cut them (GSO)."""

    def __init__(self, way: Way, blksize: int) -> None:
        self.sendmsg = way.sendmsg
        """Sends one packet."""
        self._control: Control = [(socket.IPPROTO_UDP, UDP_SEGMENT, _SIZE.pack(blksize + HEAD.size))]
        self._at_once = min(MOST_SEGMENTS, MOST_SEGMENTED_BYTES // (blksize + HEAD.size))

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send packets, each a head and its bytes; only the last may be shorter than the others.

        Raises OSError, also for a full buffer (FULL).
        """
        while len(parts) > 2 and self._at_once > 1:
            try:
                self.sendmsg(parts[: 2 * self._at_once], self._control)
            except OSError as error:
                if error.errno not in NO_SEGMENTS:
                    raise
                self._at_once = 1
            else:
                parts = parts[2 * self._at_once :]
        for place in range(0, len(parts), 2):
            self.sendmsg(parts[place : place + 2])
