"""What the kernel says of network interfaces and addresses (rtnetlink), as values."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from pxe.links import Interface

# <linux/netlink.h>, <linux/rtnetlink.h>, <linux/if_link.h>, <linux/if_addr.h>, <linux/if.h>
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ATTRIBUTE = struct.Struct("=HH")
_REQUEST_DUMP = 0x1 | 0x300
_ERROR, _DONE = 2, 3
_DUMP_INTERRUPTED = 0x10
NEW_LINK, GET_LINK, NEW_ADDRESS, GET_ADDRESS = 16, 18, 20, 22
# RTMGRP_LINK, RTMGRP_IPV4_IFADDR
LINK_GROUP, ADDRESS_GROUP = 0x1, 0x10
_IFLA_ADDRESS, _IFLA_NAME, _IFLA_MTU = 1, 3, 4
_IFA_LOCAL = 2
_AF_INET = 2
_IFF_UP = 1
_NESTED = 0x3FFF


@dataclass(frozen=True)
class Message:
    kind: int
    flags: int
    body: bytes

    @property
    def last(self) -> bool:
        """Whether this ends the answer to a question; an error ends it, too."""
        return self.kind in (_DONE, _ERROR)

    @property
    def stale(self) -> bool:
        """Whether something changed while it was told, so that it has to be asked again."""
        return bool(self.flags & _DUMP_INTERRUPTED)


def question(kind: int, sequence: int) -> bytes:
    """Asks for all links (GET_LINK) or all IPv4 addresses (GET_ADDRESS)."""
    body = _LINK.pack(0, 0, 0, 0, 0) if kind == GET_LINK else _ADDRESS.pack(_AF_INET, 0, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST_DUMP, sequence, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram; one that is cut off ends it."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield Message(kind, flags, data[at + _HEADER.size : at + length])
        at += length + 3 & ~3


def interfaces(told: Sequence[Message]) -> tuple[Interface, ...]:
    """The interfaces with their addresses, out of the answers to both questions."""
    addresses: dict[int, list[IPv4Interface]] = {}
    for message in told:
        if message.kind == NEW_ADDRESS and len(message.body) >= _ADDRESS.size:
            family, prefix_length, _, _, index = _ADDRESS.unpack_from(message.body)
            local = _attributes(message.body[_ADDRESS.size :]).get(_IFA_LOCAL, b"")
            if family == _AF_INET and len(local) == 4 and prefix_length <= 32:
                one = IPv4Interface((IPv4Address(local), prefix_length))
                addresses.setdefault(index, []).append(one)
    found = []
    for message in told:
        if message.kind == NEW_LINK and len(message.body) >= _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(message.body)
            has = _attributes(message.body[_LINK.size :])
            found.append(
                Interface(
                    index=index,
                    name=has.get(_IFLA_NAME, b"").rstrip(b"\0").decode(errors="replace"),
                    mac=has.get(_IFLA_ADDRESS, b"").hex(":"),
                    mtu=int.from_bytes(has.get(_IFLA_MTU, b""), "little" if _LITTLE else "big"),
                    up=bool(flags & _IFF_UP),
                    addresses=tuple(addresses.get(index, ())),
                )
            )
    return tuple(found)


_LITTLE = struct.pack("=H", 1) == b"\1\0"


def _attributes(data: bytes) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & _NESTED] = data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found
