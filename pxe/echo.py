"""Asks a host for an echo of a given size that may not be fragmented on its way."""

import os
import select
import socket
import struct
import time
from ipaddress import IPv4Address

from pxe.packets import checksum

_ECHO = struct.Struct("!BBHHH")
_HEADERS_BYTES = 20 + _ECHO.size
# <linux/in.h>: set the don't-fragment bit, whatever the kernel believes of the path.
_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3


def answers(address: IPv4Address, size: int, *, interface: str, seconds: float = 1.0) -> bool:
    """Does an ICMP echo of `size` bytes of IP come back? Needs CAP_NET_RAW."""
    number = os.getpid() & 0xFFFF
    body = _ECHO.pack(8, 0, 0, number, size & 0xFFFF) + bytes(max(size - _HEADERS_BYTES, 0) & ~1)
    packet = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        one.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        try:
            one.sendto(packet, (str(address), 0))
        except OSError:
            # Larger than the interface's own MTU, or no way there.
            return False
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([one], [], [], left)[0]:
                break
            answer = one.recv(65535)
            start = (answer[0] & 15) * 4
            mine = answer[start : start + 1] == b"\0" and answer[start + 4 : start + 8] == packet[4:8]
            if mine and answer[12:16] == address.packed:
                return True
    return False
