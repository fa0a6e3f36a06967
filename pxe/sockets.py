"""Opens the sockets of one link; who has a port already is a problem with a sentence."""

import errno
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.errors import Problem
from pxe.dhcp import PXE_PORT, SERVER_PORT
from pxe.links import Link
from pxe.tftp_server import IP_MTU_DISCOVER, IP_PMTUDISC_DONT

TFTP_PORT = 69
# With the default buffer 598 of 1000 machines switched on at once lost their DISCOVER, with this none.
RECEIVE_BUFFER_BYTES = 4 << 20

# <linux/in.h> and <asm/socket.h>; Python's modules have no names for them.
IP_PKTINFO = 8
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True)
class Sockets:
    """What is open on one link. Opening needs CAP_NET_BIND_SERVICE and CAP_NET_RAW."""

    dhcp: socket.socket
    pxe: socket.socket
    tftp: socket.socket
    http: socket.socket

    def close(self) -> None:
        for one in (self.dhcp, self.pxe, self.tftp, self.http):
            one.close()


def open_sockets(link: Link, http_port: int) -> Sockets:
    """Open every socket of a link. Raises Problem when somebody else has a port."""
    address = str(link.address)
    with ExitStack() as opened:

        def keep(made: socket.socket) -> socket.socket:
            return opened.enter_context(made)

        # Broadcasts only reach a socket bound to every address; the device keeps other LANs out.
        # No SO_REUSEADDR: with it a DHCP server on this host would share the port without a word, and
        # the kernel would give us the unicast renewals of its leases.
        dhcp = keep(_udp("", SERVER_PORT, device=link.name))
        # These are asked for at their address, from whichever interface a relayed machine's route ends at.
        pxe = keep(_udp(address, PXE_PORT))
        tftp = keep(_udp(address, TFTP_PORT))
        http = keep(_tcp(address, http_port))
        opened.pop_all()
    return Sockets(dhcp, pxe, tftp, http)


def asked_address(ancillary: list[tuple[int, int, bytes]]) -> IPv4Address | None:
    """The address a datagram was sent to, out of what recvmsg tells beside it."""
    for level, kind, data in ancillary:
        # struct in_pktinfo: the interface, our address, the address in the packet's header.
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= 12:
            return IPv4Address(data[8:12])
    return None


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


def _udp(address: str, port: int, *, device: str = "") -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        # The don't-fragment bit confuses some boot ROMs (dnsmasq clears it for them).
        made.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        try:
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except PermissionError:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        _claim(made, address, port, kind="UDP")
    except BaseException:
        made.close()
        raise
    return made


def _tcp(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        # Connections of an earlier run that wait for their end do not hold the port.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _claim(made, address, port, kind="TCP")
        made.listen(512)
    except BaseException:
        made.close()
        raise
    return made
