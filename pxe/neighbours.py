"""Finds out whether an address is in use before it is offered: ARP on our links, ICMP echo behind a relay."""

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from pxe.links import Link
from pxe.packets import checksum

log = logging.getLogger(__name__)

LISTEN_SECONDS = 0.4
"""edk2 collects offers for 4 s, iPXE for 1 s: an OFFER may be that late. A host of the LAN answers in ms."""
AGAIN_SECONDS = 0.15
MOST_QUESTIONS = 4096
"""At a time. Beyond that nothing is asked: a storm of machines is answered at once."""

_ETH_P_ARP = 0x0806
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ECHO = struct.Struct("!BBHHH")

Heard = Callable[[str | None], None]
"""Called once, with who has the address (a MAC, or what is known of it), or None when nobody answered."""


@dataclass
class _Question:
    heard: Heard
    timers: list[asyncio.TimerHandle]


class Neighbours:
    """Asks on sockets of its own, made when they are first needed (CAP_NET_RAW)."""

    def __init__(self) -> None:
        self._questions: dict[tuple[int, IPv4Address], _Question] = {}
        self._arp: dict[int, socket.socket] = {}
        self._icmp: socket.socket | None = None
        self._number = 0

    def ask(self, address: IPv4Address, link: Link, heard: Heard) -> None:
        """Find out who has an address; `heard` is called within half a second."""
        near = address in link.network
        key = (link.index if near else 0, address)
        if key in self._questions or len(self._questions) >= MOST_QUESTIONS:
            heard(None)
            return
        try:
            shout = self._by_arp(address, link) if near else self._by_echo(address)
            shout()
        except OSError as error:
            log.warning("%s: cannot ask who has %s: %s", link.name, address, error)
            heard(None)
            return
        loop = asyncio.get_running_loop()
        timers = [
            loop.call_later(AGAIN_SECONDS, _quietly, shout),
            loop.call_later(LISTEN_SECONDS, self._answered, key, None),
        ]
        self._questions[key] = _Question(heard, timers)

    def close(self) -> None:
        """Forget every question, and close the sockets."""
        for question in self._questions.values():
            for timer in question.timers:
                timer.cancel()
        self._questions.clear()
        loop = asyncio.get_running_loop()
        for one in (*self._arp.values(), *([self._icmp] if self._icmp else [])):
            loop.remove_reader(one)
            one.close()
        self._arp.clear()
        self._icmp = None

    def _answered(self, key: tuple[int, IPv4Address], who: str | None) -> None:
        question = self._questions.pop(key, None)
        if question:
            for timer in question.timers:
                timer.cancel()
            question.heard(who)

    def _by_arp(self, address: IPv4Address, link: Link) -> Callable[[], None]:
        if link.index not in self._arp:
            self._arp[link.index] = self._open_arp(link)
        one = self._arp[link.index]
        mac = bytes.fromhex(link.mac.replace(":", ""))
        # Sender address 0: nobody changes what they believe of an address (RFC 5227, 2.1.1).
        question = _ARP.pack(1, 0x0800, 6, 4, 1, mac, bytes(4), bytes(6), address.packed)
        frame = b"\xff" * 6 + mac + struct.pack("!H", _ETH_P_ARP) + question
        return lambda: _send(one, frame)

    def _open_arp(self, link: Link) -> socket.socket:
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        one = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ARP))
        try:
            one.bind((link.name, _ETH_P_ARP))
        except BaseException:
            one.close()
            raise
        asyncio.get_running_loop().add_reader(one, self._hear_arp, one, link.index)
        return one

    def _hear_arp(self, one: socket.socket, index: int) -> None:
        for frame in _waiting(one):
            if len(frame) < 14 + _ARP.size:
                continue
            _, kind, _, _, _, mac, owner, _, _ = _ARP.unpack_from(frame, 14)
            if kind == 0x0800 and any(owner):
                self._answered((index, IPv4Address(owner)), mac.hex(":"))

    def _by_echo(self, address: IPv4Address) -> Callable[[], None]:
        if self._icmp is None:
            kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            self._icmp = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
            asyncio.get_running_loop().add_reader(self._icmp, self._hear_echo, self._icmp)
        one = self._icmp
        self._number = (self._number + 1) & 0xFFFF
        body = _ECHO.pack(8, 0, 0, os.getpid() & 0xFFFF, self._number)
        datagram = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
        return lambda: _send(one, datagram, (str(address), 0))

    def _hear_echo(self, one: socket.socket) -> None:
        for packet in _waiting(one):
            start = (packet[0] & 15) * 4 if packet else 0
            if len(packet) >= max(start, 20) + _ECHO.size and packet[start] == 0:
                self._answered((0, IPv4Address(packet[12:16])), "a machine behind a router")


def _send(one: socket.socket, data: bytes, to: tuple[str, int] | None = None) -> None:
    if to:
        one.sendto(data, to)
    else:
        one.send(data)


def _quietly(shout: Callable[[], None]) -> None:
    """The second time of asking is for a frame that was lost; a link that is gone needs none."""
    with contextlib.suppress(OSError):
        shout()


def _waiting(one: socket.socket) -> list[bytes]:
    """What waits on a socket, a batch of it."""
    found: list[bytes] = []
    with contextlib.suppress(OSError):
        while len(found) < 64:
            found.append(one.recv(2048))
    return found
