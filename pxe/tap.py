"""Takes datagrams for a port from the wire without having it, beside the server of this host that has."""

import ctypes
import socket
import struct
from ipaddress import IPv4Address
from typing import NamedTuple

from pxe import packets
from pxe.links import Link
from pxe.maker import Kind, Maker
from pxe.policy import Address

# <linux/if_ether.h>, <linux/if_packet.h>, <asm/socket.h>; Python's module has no names for them.
_ETH_P_IP = 0x0800
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_SO_ATTACH_FILTER = 26
_UNFINISHED_CHECKSUM = 1 << 3
_INSTRUCTION_BYTES = 8


class Arrived(NamedTuple):
    """A datagram that came in."""

    payload: bytes
    sender: Address
    asked: IPv4Address | None
    """The address it was sent to."""


class Tap:
    """Hears what comes to a port by one interface; the port's owner hears it as well."""

    def __init__(self, link: Link, heard: socket.socket) -> None:
        self._link = link
        self._heard = heard

    def fileno(self) -> int:
        return self._heard.fileno()

    def receive(self) -> Arrived | None:
        """What came. Raises Malformed, and OSError: BlockingIOError when nothing waits."""
        data, ancillary, _, (interface, *_) = self._heard.recvmsg(65536, 256)
        if interface != self._link.name:
            # A VLAN's frame is also shown on the interface below it, as one of the VLAN device.
            return None
        came = packets.decode(data, summed=not _unfinished(ancillary))
        return Arrived(came.payload, (str(came.source), came.source_port), came.destination)

    def close(self) -> None:
        self._heard.close()


def open_tap(link: Link, port: int, maker: Maker) -> Tap:
    """Hear UDP datagrams to `port` on a link; needs CAP_NET_RAW."""
    made = maker(Kind.PACKET)
    try:
        # First the filter, then the interface: nothing else ever comes in.
        attach(made, packets.udp_filter(port))
        made.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        made.bind((link.name, _ETH_P_IP))
    except BaseException:
        made.close()
        raise
    return Tap(link, made)


def attach(made: socket.socket, program: bytes) -> None:
    """Give a socket its BPF filter."""
    kept = ctypes.create_string_buffer(program, len(program))
    count = len(program) // _INSTRUCTION_BYTES
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", count, ctypes.addressof(kept)))


def _unfinished(ancillary: list[tuple[int, int, bytes]]) -> bool:
    """Whether the checksum was left to a network card that the packet never came through."""
    return any(
        bool(struct.unpack_from("=I", data)[0] & _UNFINISHED_CHECKSUM)
        for level, kind, data in ancillary
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA) and len(data) >= 4
    )
