"""Wake-on-LAN: the magic packet, and its way to a card that sleeps."""

import errno
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import Problem

DISCARD_PORT = 9
ETHERTYPE = 0x0842
BROADCAST_MAC = bytes.fromhex("ffffffffffff")
EVERYBODY = "255.255.255.255"
SECURE_ON = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|(\d{1,3}\.){3}\d{1,3}")


@dataclass(frozen=True)
class Sent:
    """One way a magic packet took."""

    interface: str
    raw: bool
    """As an Ethernet frame of its own type, which needs no IP; else by UDP."""

    def __str__(self) -> str:
        return f"{self.interface} ({'raw Ethernet' if self.raw else f'UDP port {DISCARD_PORT}'})"


def magic_packet(mac: str, password: bytes = b"") -> bytes:
    """Six bytes of ones, sixteen times the MAC, and the SecureOn password (AMD: Magic Packet Technology)."""
    if len(password) not in (0, 4, 6):
        raise ValueError(f"a SecureOn password has 4 or 6 bytes, this one {len(password)}")
    return BROADCAST_MAC + 16 * bytes.fromhex(mac.replace(":", "")) + password


def secure_on(text: str) -> bytes:
    """A password as cards' tools write it: six pairs of hexadecimal digits, or like an IPv4 address."""
    if not SECURE_ON.fullmatch(text):
        raise Problem(
            "a SecureOn password is written as 00:11:22:33:44:55 or as 192.168.1.1",
            hint="the first line of wake_password_file says it",
        )
    if ":" in text:
        return bytes.fromhex(text.replace(":", ""))
    octets = [int(octet) for octet in text.split(".")]
    if max(octets) > 255:
        raise Problem("a SecureOn password of four numbers has one above 255")
    return bytes(octets)


def send(packet: bytes, interfaces: Sequence[str]) -> list[Sent]:
    """Send a magic packet out of each interface, by UDP broadcast and, with CAP_NET_RAW, as a raw frame.

    Broadcast, because no switch remembers where a card that sleeps is. Raises Problem when it left by none.
    """
    sent: list[Sent] = []
    failures: list[str] = []
    for interface in interfaces:
        for raw, way in ((False, _by_udp), (True, _by_frame)):
            try:
                way(packet, interface)
            except OSError as error:
                if not (raw and error.errno == errno.EPERM):
                    failures.append(f"{interface}: {error.strerror}")
            else:
                sent.append(Sent(interface, raw))
    if not sent:
        raise Problem(f"no magic packet was sent: {'; '.join(failures) or 'there is no interface'}")
    return sent


def _by_udp(packet: bytes, interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        one.sendto(packet, (EVERYBODY, DISCARD_PORT))


def _by_frame(packet: bytes, interface: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
        one.bind((interface, 0))
        source: bytes = one.getsockname()[4]
        one.send(BROADCAST_MAC + source + struct.pack("!H", ETHERTYPE) + packet)
