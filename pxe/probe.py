"""Asks a LAN for its DHCP servers: sends PXE-shaped DISCOVERs and collects every OFFER with its sender."""

import fcntl
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address

from appliance.errors import Problem
from pxe import dhcp, packets
from pxe.dhcp import (
    BOOTREPLY,
    BOOTREQUEST,
    BROADCAST_FLAG,
    CLIENT_PORT,
    NOBODY,
    SERVER_PORT,
    MessageType,
    Option,
    Packet,
)
from pxe.diagnosis import Seen
from pxe.malformed import Malformed
from pxe.tap import attach

PXE_ARCHITECTURES = (0, 7, 11, 16)
"""BIOS, UEFI x64, UEFI arm64 and UEFI HTTP x64: what servers usually tell apart."""
HTTP_ARCHITECTURES = (15, 16, 18, 19, 20)
COLLECT_SECONDS = 5.0
"""dnsmasq and dhcpd try an address for 1 to 3 s before they offer it."""
REPEAT_SECONDS = 2.0

# <linux/if_ether.h>, <linux/sockios.h>; Python's modules have no names for them.
_ETH_P_ALL, _ETH_P_IP, _SIOCGIFHWADDR = 3, 0x0800, 0x8927
_IP, _UDP = struct.Struct("!BBHHHBBH4s4s"), struct.Struct("!HHHH")
_EVERYBODY = IPv4Address("255.255.255.255")
_REQUESTED = bytes.fromhex("0102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687")
"""Option 55 as OVMF sends it."""


def hardware_address(interface: str) -> bytes:
    """The MAC of an interface, 6 bytes. Raises Problem when there is no such interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            answered = fcntl.ioctl(asking, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()[:15]))
        except OSError as error:
            known = ", ".join(sorted(name for _, name in socket.if_nameindex()))
            problem = f"there is no network interface {interface!r}"
            raise Problem(problem, hint=f"there are: {known}") from error
    return answered[18:24]


def discover(mac: bytes, arch: int, *, xid: int, secs: int = 0) -> Packet:
    """A DISCOVER as the network firmware of an architecture sends it."""
    kind = b"HTTPClient" if arch in HTTP_ARCHITECTURES else b"PXEClient"
    undi = b"\1\3\0" if arch else b"\1\2\1"
    return Packet(
        op=BOOTREQUEST,
        xid=xid,
        chaddr=mac + bytes(10),
        secs=secs,
        flags=BROADCAST_FLAG,
        options=(
            (Option.MESSAGE_TYPE, bytes((MessageType.DISCOVER,))),
            (Option.MAX_SIZE, (1472).to_bytes(2, "big")),
            (55, _REQUESTED),
            (Option.MACHINE_ID, b"\0" + mac + bytes(10)),
            (94, undi),
            (Option.ARCHITECTURE, arch.to_bytes(2, "big")),
            (Option.VENDOR_CLASS, kind + b":Arch:%05d:UNDI:%03d%03d" % (arch, undi[1], undi[2])),
        ),
    )


@contextmanager
def listening(interface: str) -> Iterator[socket.socket]:
    """A socket that sees every packet to port 68 on an interface, our own too, whoever has that port."""
    with _privileged(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as one:
        # First the filter, then the interface: nothing else ever comes in.
        attach(one, packets.udp_filter(CLIENT_PORT))
        try:
            one.bind((interface, _ETH_P_ALL))
        except OSError as error:
            raise Problem(f"{interface}: {error.strerror}", hint="see `ip -brief link`") from error
        yield one


@contextmanager
def shouting(interface: str) -> Iterator[Callable[[Packet], None]]:
    """What broadcasts a packet from port 68 without having that port: a DHCP client of this host may.

    It goes through this host's own IP, so that a server on this host hears it, too.
    """
    with _privileged(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)

        def shout(packet: Packet) -> None:
            try:
                one.sendto(_datagram(dhcp.encode(packet)), (str(_EVERYBODY), 0))
            except OSError as error:
                raise Problem(
                    f"{interface}: a broadcast cannot be sent: {error.strerror}",
                    hint=f"is it up, and has it an address? `ip address show {interface}`",
                ) from error

        yield shout


def _privileged(family: int, kind: int, protocol: int) -> socket.socket:
    try:
        return socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
    except PermissionError as error:
        hint = "run it as root, or with the capability CAP_NET_RAW"
        raise Problem("packets may not be taken from the wire", hint=hint) from error


def collect(
    interface: str,
    *,
    architectures: Sequence[int] = PXE_ARCHITECTURES,
    seconds: float = COLLECT_SECONDS,
    progress: Callable[[float, int], None] = lambda _passed, _offers: None,
    enough: Callable[[Seen], bool] = lambda _seen: False,
) -> list[Seen]:
    """Send a DISCOVER for each architecture and return every OFFER that comes within `seconds`, in order.

    `progress` is called a few times a second with the seconds passed and the offers so far. Raises Problem
    when that is not permitted or the interface cannot send. An OFFER that is `enough` ends it at once.
    """
    mac = hardware_address(interface)
    first = secrets.randbits(31)
    asked = {first + number: arch for number, arch in enumerate(architectures)}
    found: list[Seen] = []
    with listening(interface) as ears, shouting(interface) as shout:
        began = time.monotonic()
        again = began + REPEAT_SECONDS
        for xid, arch in asked.items():
            shout(discover(mac, arch, xid=xid))
        while (now := time.monotonic()) < began + seconds:
            if now >= again:
                # The first may have been lost; the same transaction, so whoever answered may do it again.
                for xid in asked.keys() - {one.packet.xid for one in found}:
                    shout(discover(mac, asked[xid], xid=xid, secs=int(now - began)))
                again = now + seconds
            progress(now - began, len(found))
            select.select([ears], [], [], min(0.2, max(began + seconds - now, 0)))
            for packet, sender, hardware in received(ears):
                if packet.xid in asked and packet.message_type == MessageType.OFFER:
                    passed = time.monotonic() - began
                    found.append(Seen(packet, sender, hardware, asked[packet.xid], passed))
            if any(map(enough, found)):
                break
    return _each_once(found)


def _each_once(found: Sequence[Seen]) -> list[Seen]:
    """Answers to a repeated question say nothing new."""
    kept: dict[tuple[int, IPv4Address, str, IPv4Address], Seen] = {}
    for one in found:
        kept.setdefault((one.packet.xid, one.server, one.mac, one.packet.yiaddr), one)
    return list(kept.values())


def received(ears: socket.socket) -> Iterator[tuple[Packet, IPv4Address, str]]:
    """The DHCP answers that wait on a socket of listening(): packet, source address, MAC; never junk."""
    while True:
        try:
            data, (_, protocol, _, _, hardware) = ears.recvfrom(65535)
        except OSError:
            # Nothing waits, or the interface went down; the next wait says whether it comes back.
            return
        packet = answer_in(data) if protocol == _ETH_P_IP else None
        if packet:
            yield packet[0], packet[1], hardware.hex(":")


def answer_in(data: bytes) -> tuple[Packet, IPv4Address] | None:
    """What an IP packet holds of a DHCP server's answer, and its source; None for anything else."""
    try:
        # A checksum may have been left to a card that the packet never came through: our own answers.
        came = packets.decode(data, summed=False)
        packet = dhcp.decode(came.payload)
    except Malformed:
        return None
    return (packet, came.source) if packet.op == BOOTREPLY else None


def _datagram(payload: bytes) -> bytes:
    """The payload from port 68 to 255.255.255.255:67; the kernel writes IP's length, source and checksum."""
    size = _UDP.size + len(payload)
    # IPv4 may leave UDP's checksum out (RFC 768): the kernel writes the source address that it would cover.
    udp = _UDP.pack(CLIENT_PORT, SERVER_PORT, size, 0)
    header = _IP.pack(
        0x45, 0, _IP.size + size, 0, 0, 64, socket.IPPROTO_UDP, 0, NOBODY.packed, _EVERYBODY.packed
    )
    return header + udp + payload
