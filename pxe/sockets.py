"""Opens the sockets of one link; who has a port already is a problem with a sentence."""

import errno
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from typing import Protocol

from appliance.errors import Problem
from pxe import packets, tap
from pxe.dhcp import PXE_PORT, SERVER_PORT
from pxe.links import EVERYBODY, Link
from pxe.maker import Kind, Maker
from pxe.malformed import Malformed
from pxe.packets import Datagram
from pxe.policy import Address
from pxe.rarp_server import open_rarp
from pxe.tap import Arrived, Tap
from pxe.tftp_socket import IP_MTU_DISCOVER, IP_PMTUDISC_DONT

log = logging.getLogger(__name__)

TFTP_PORT = 69
# Datagrams taken before other sockets get their turn.
BATCH = 64

# <linux/in.h>; Python's module has no name for it.
IP_PKTINFO = 8


BROADCAST = str(EVERYBODY)
_TO_EVERYBODY = EVERYBODY.packed
Ancillary = list[tuple[int, int, bytes]]


class Inlet(Protocol):
    """Where datagrams for one port come in."""

    def fileno(self) -> int: ...

    def receive(self) -> Arrived | None:
        """What came, None when it makes no sense. Raises OSError: BlockingIOError when nothing waits."""

    def close(self) -> None: ...


def take(inlet: Inlet, handle: Callable[[Arrived], None], where: str) -> None:
    """Take what is waiting on a socket. Nothing that comes from the network ends the server."""
    for _ in range(BATCH):
        try:
            came = inlet.receive()
        except BlockingIOError:
            return
        except Malformed as wrong:
            log.debug("%s: dropped a packet: %s", where, wrong)
            continue
        except OSError as error:
            # An earlier answer could not be delivered, or the interface went down; the kernel tells it here.
            log.debug("%s: %s", where, error)
            return
        if came is None:
            continue
        try:
            handle(came)
        except OSError as error:
            log.warning("%s: a packet of %s was not answered: %s", where, came.sender[0], error)
        except Exception:
            log.exception("%s: a packet of %s was not answered", where, came.sender[0])


class Port:
    """A UDP port of this host."""

    def __init__(self, bound: socket.socket) -> None:
        self.bound = bound
        self._link: Link | None = None
        """The one that was sent from last, and how the kernel is told of it."""
        self._anywhere: Ancillary = []
        self._here: Ancillary = []

    def fileno(self) -> int:
        return self.bound.fileno()

    def receive(self) -> Arrived | None:
        payload, ancillary, _, sender = self.bound.recvmsg(65536, 256)
        return Arrived(payload, sender, _asked_address(ancillary))

    def send(self, payload: bytes, destination: Address, link: Link) -> None:
        """Send from the address of the link; a broadcast goes out of its interface."""
        if link is not self._link:
            self._link = link
            self._anywhere, self._here = _source(link, 0), _source(link, link.index)
        source = self._here if destination[0] == BROADCAST else self._anywhere
        self.bound.sendmsg((payload,), source, 0, destination)

    def close(self) -> None:
        self.bound.close()


class Outlet:
    """Sends UDP datagrams from ports that belong to others on this host; needs CAP_NET_RAW."""

    def __init__(self) -> None:
        mode = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._raw = socket.socket(socket.AF_INET, mode, socket.IPPROTO_RAW)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

    def send(self, port: int, payload: bytes, destination: Address, link: Link) -> None:
        """Send from `port` of the link's address: a broadcast by its interface, the rest as routes say."""
        there = IPv4Address(destination[0])
        packet = packets.encode(Datagram(link.address, port, there, destination[1], payload))
        index = link.index if there == EVERYBODY else 0
        out = struct.pack("=i4s4s", index, bytes(4), bytes(4))
        self._raw.sendmsg([packet], [(socket.IPPROTO_IP, IP_PKTINFO, out)], 0, (destination[0], 0))

    def close(self) -> None:
        self._raw.close()


@dataclass(frozen=True)
class Sockets:
    """What is open on one link. Opening needs CAP_NET_BIND_SERVICE and CAP_NET_RAW."""

    dhcp: Port | Tap
    pxe: Port
    tftp: Port
    http: socket.socket
    rarp: socket.socket

    @property
    def inlets(self) -> Sequence[tuple[int, Inlet]]:
        return (SERVER_PORT, self.dhcp), (PXE_PORT, self.pxe), (TFTP_PORT, self.tftp)

    def close(self) -> None:
        for one in (self.dhcp, self.pxe, self.tftp, self.http, self.rarp):
            one.close()


class Port67(Enum):
    """Who has the DHCP port on this host."""

    OURS = "ours"
    """Another server there is a problem."""
    THEIRS = "theirs"
    """It is never opened, so that the other server may be started later."""
    EITHER = "either"


def open_sockets(link: Link, http_port: int, maker: Maker, *, whose: Port67 = Port67.EITHER) -> Sockets:
    """Open every socket of a link. Raises Problem when somebody else has a port.

    A DHCP server on this host keeps port 67 to itself: requests are then taken from the wire.
    """
    address = str(link.address)
    with ExitStack() as opened:
        dhcp = _dhcp(link, maker, whose)
        opened.callback(dhcp.close)
        # These are asked for at their address, from whichever interface a relayed machine's route ends at.
        pxe = Port(_udp(maker, address, PXE_PORT))
        opened.callback(pxe.close)
        tftp = Port(_udp(maker, address, TFTP_PORT))
        opened.callback(tftp.close)
        http = opened.enter_context(_tcp(address, http_port))
        rarp = open_rarp(link, maker)
        opened.pop_all()
    return Sockets(dhcp, pxe, tftp, http, rarp)


def _dhcp(link: Link, maker: Maker, whose: Port67) -> Port | Tap:
    if whose is Port67.THEIRS:
        return tap.open_tap(link, SERVER_PORT, maker)
    try:
        # Broadcasts only reach a socket bound to every address; the device keeps other LANs out.
        # No SO_REUSEADDR: with it a DHCP server on this host would share the port without a word, and
        # the kernel would give us the unicast renewals of its leases.
        return Port(_udp(maker, "", SERVER_PORT, device=link.name))
    except Problem as taken:
        cause = taken.__cause__
        busy = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
        if whose is Port67.OURS or not busy:
            raise
    return tap.open_tap(link, SERVER_PORT, maker)


def _asked_address(ancillary: Ancillary) -> IPv4Address | None:
    """The address a datagram was sent to, out of what recvmsg tells beside it."""
    for level, kind, data in ancillary:
        # struct in_pktinfo: the interface, our address, the address in the packet's header.
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= 12:
            asked = data[8:12]
            return EVERYBODY if asked == _TO_EVERYBODY else IPv4Address(asked)
    return None


def _source(link: Link, index: int) -> Ancillary:
    """What makes the address of a link a datagram's source; with an index it leaves by that interface."""
    return [(socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4s", index, link.address.packed, bytes(4)))]


_NEIGHBOURS = {
    SERVER_PORT: "a DHCP server (dnsmasq, dhcpd, kea, systemd-networkd, libvirt) runs on this host",
    PXE_PORT: "another PXE service (dnsmasq, pixiecore) runs on this host",
    TFTP_PORT: "another TFTP server (tftpd-hpa, atftpd, dnsmasq) runs on this host",
}


def _claim(made: socket.socket, address: str, port: int, *, kind: str) -> None:
    try:
        made.bind((address, port))
    except OSError as error:
        what = f"{kind} port {port}"
        if error.errno == errno.EADDRINUSE:
            who = _NEIGHBOURS.get(port, "another server runs on this host")
            command = f"ss -{'u' if kind == 'UDP' else 't'}lpn 'sport = :{port}'"
            raise Problem(f"{what} is taken: {who}", hint=f"`{command}` names it") from error
        if error.errno == errno.EADDRNOTAVAIL:
            raise Problem(
                f"{what}: {address} is no address of this host", hint="see `ip -4 address`"
            ) from error
        if isinstance(error, PermissionError):
            raise Problem(f"{what} may only be opened by root", hint="start it as root") from error
        raise


def _udp(maker: Maker, address: str, port: int, *, device: str = "") -> socket.socket:
    made = maker(Kind.UDP)
    try:
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        # The don't-fragment bit confuses some boot ROMs (dnsmasq clears it for them).
        made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        _claim(made, address, port, kind="UDP")
    except BaseException:
        made.close()
        raise
    return made


SILENT_MILLISECONDS = 60_000
"""Firmware that fetches something acknowledges what it gets at once."""


def _tcp(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Connections of an earlier run that wait for their end do not hold the port.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A machine that is switched off in a download is noticed by its silence (connections inherit it).
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_MILLISECONDS)
        _claim(made, address, port, kind="TCP")
        made.listen(512)
    except BaseException:
        made.close()
        raise
    return made
