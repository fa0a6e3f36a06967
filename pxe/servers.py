"""The sockets of a booting LAN: bind them, then serve until told to stop."""

import asyncio
import errno
import fcntl
import logging
import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web

from appliance.errors import Problem
from appliance.stages import Stage
from pxe.dhcp import PXE_PORT, SERVER_PORT
from pxe.director import Director
from pxe.http import application, protocol_log
from pxe.policy import Address, Here
from pxe.responder import Responder
from pxe.sightings import Sightings
from pxe.tftp import Limits
from pxe.tftp_server import IP_MTU_DISCOVER, IP_PMTUDISC_DONT, TftpServer

log = logging.getLogger(__name__)

TFTP_PORT = 69
# With the default buffer 598 of 1000 machines switched on at once lost their DISCOVER, with this none.
RECEIVE_BUFFER_BYTES = 4 << 20
# Datagrams taken before other sockets get their turn.
BATCH = 64

# <linux/sockios.h>, <linux/in.h> and <asm/socket.h>; Python's modules have no names for them.
_SIOCGIFADDR = 0x8915
_SIOCGIFMTU = 0x8921
_IP_PKTINFO = 8
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True)
class Sockets:
    """What needs privileges to open; `serve` needs none."""

    dhcp: socket.socket
    pxe: socket.socket
    tftp: socket.socket
    http: socket.socket
    here: Here
    mtu: int

    def close(self) -> None:
        for one in (self.dhcp, self.pxe, self.tftp, self.http):
            one.close()


def interface_address(interface: str) -> str:
    """The IPv4 address of a network interface. Raises Problem when it has none."""
    try:
        answered = _ask_interface(interface, _SIOCGIFADDR)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        hint = "set [http] address, or give the interface an address"
        raise Problem(f"{interface} has no IPv4 address", hint=hint) from error
    return str(IPv4Address(answered[20:24]))


def _ask_interface(interface: str, question: int) -> bytes:
    """A struct ifreq filled by the kernel."""
    name = interface.encode()
    known = ", ".join(sorted(name for _, name in socket.if_nameindex()))
    if not 0 < len(name) < 16 or interface not in known.split(", "):
        raise Problem(f"there is no network interface {interface!r}", hint=f"there are: {known}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        return fcntl.ioctl(asking, question, struct.pack("16s24x", name))


def bind(interface: str, address: str, http_port: int) -> Sockets:
    """Open every socket on one interface; needs root. Raises Problem when somebody else has a port."""
    mtu = struct.unpack_from("=i", _ask_interface(interface, _SIOCGIFMTU), 16)[0]
    with ExitStack() as opened:

        def keep(made: socket.socket) -> socket.socket:
            return opened.enter_context(made)

        # Broadcasts only reach a socket bound to every address; the device keeps other LANs out.
        # No SO_REUSEADDR: with it a DHCP server on this host would share the port without a word, and
        # the kernel would give us the unicast renewals of its leases.
        dhcp = keep(_udp(interface, "", SERVER_PORT))
        pxe = keep(_udp(interface, address, PXE_PORT))
        tftp = keep(_udp(interface, address, TFTP_PORT))
        http = keep(_tcp(address, http_port))
        here = Here(IPv4Address(address), http.getsockname()[1])
        opened.pop_all()
    return Sockets(dhcp, pxe, tftp, http, here, mtu)


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


def _udp(interface: str, address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
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


async def serve(sockets: Sockets, director: Director, boot_dir: Path, stop: asyncio.Event) -> None:
    """Answer machines until `stop` is set, then close the sockets."""
    here = sockets.here
    sightings = Sightings()
    responder = Responder(director, here, sightings, _sender(sockets))

    def fetched(peer: str, name: str, size: int, seconds: float) -> None:
        if mac := sightings.mac_at(peer):
            director.record(mac, Stage.PROGRAM, size_bytes=size, seconds=seconds, message=name)

    tftp = TftpServer(
        str(here.address),
        lambda name, _peer: _boot_program(boot_dir, name),
        finished=fetched,
        limits=Limits(blksize=min(1468, sockets.mtu - 32)),
    )
    handlers: dict[socket.socket, Callable[[bytes, Address], None]] = {
        sockets.dhcp: lambda datagram, peer: responder.receive(datagram, peer, port=SERVER_PORT),
        sockets.pxe: lambda datagram, peer: responder.receive(datagram, peer, port=PXE_PORT),
        sockets.tftp: tftp.receive,
    }
    app = application(director, here, boot_dir, sightings)
    runner = web.AppRunner(app, access_log=None, logger=protocol_log)
    loop = asyncio.get_running_loop()
    try:
        await runner.setup()
        await web.SockSite(runner, sockets.http).start()
        for one, handle in handlers.items():
            loop.add_reader(one, _receive, one, handle)
        log.info("answering on %s: DHCP 67 and 4011, TFTP 69, HTTP %d", here.address, here.http_port)
        await stop.wait()
    finally:
        for one in handlers:
            loop.remove_reader(one)
        tftp.close()
        await runner.cleanup()
        sockets.close()


def _receive(one: socket.socket, handle: Callable[[bytes, Address], None]) -> None:
    """Take what is waiting on a socket. Nothing that comes from the network ends the server."""
    for _ in range(BATCH):
        try:
            datagram, peer = one.recvfrom(65536)
        except BlockingIOError:
            return
        except OSError as error:
            # An earlier answer could not be delivered; the kernel tells it here.
            log.debug("port %d: %s", one.getsockname()[1], error)
            return
        try:
            handle(datagram, peer)
        except Exception:
            log.exception("a packet of %s to port %d was not answered", peer, one.getsockname()[1])


def _sender(sockets: Sockets) -> Callable[[int, bytes, Address], None]:
    """Send from port 67 or 4011 with our address as source, whichever others the interface has."""
    source = struct.pack("=i4s4s", 0, sockets.here.address.packed, bytes(4))
    by_port = {SERVER_PORT: sockets.dhcp, PXE_PORT: sockets.pxe}

    def send(port: int, datagram: bytes, destination: Address) -> None:
        control = [(socket.IPPROTO_IP, _IP_PKTINFO, source)]
        by_port[port].sendmsg([datagram], control, 0, destination)

    return send


def _boot_program(boot_dir: Path, name: str) -> Path | None:
    """A boot program by its name; a directory before it is what some firmware adds, and means nothing."""
    path = boot_dir / name.rsplit("/", 1)[-1]
    return path if path.is_file() else None
