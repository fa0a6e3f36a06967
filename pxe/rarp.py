"""RARP (RFC 903): a machine that knows only its Ethernet address asks for its IP address. Pure."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from pxe.malformed import Malformed

ETHERTYPE = 0x8035
_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IP = 1, 0x0800
_REQUEST, _REPLY = 3, 4


@dataclass(frozen=True)
class Question:
    """Who asks, and whose address is asked for; MACs in lower case with colons."""

    sender: str
    target: str


def decode(data: bytes) -> Question:
    """Read what follows the Ethernet header, and perhaps padding. Raises Malformed, and nothing else."""
    if len(data) < _PACKET.size:
        raise Malformed("RARP packet", expected=f"at least {_PACKET.size} bytes", came=f"{len(data)} bytes")
    hardware, protocol, *lengths, operation, sender, _, target, _ = _PACKET.unpack_from(data)
    if (hardware, protocol, *lengths) != (_ETHERNET, _IP, 6, 4):
        came = f"{hardware}, {protocol:#x}, lengths {lengths}"
        raise Malformed("RARP packet", expected="Ethernet and IP addresses", came=came)
    if operation != _REQUEST:
        raise Malformed("RARP operation", expected=f"{_REQUEST}, a request", came=str(operation))
    return Question(sender.hex(":"), target.hex(":"))


def encode_reply(question: Question, found: IPv4Address, *, mac: str, address: IPv4Address) -> bytes:
    """The answer of the server at `address` with the Ethernet address `mac`."""
    us, them = (bytes.fromhex(one.replace(":", "")) for one in (mac, question.target))
    return _PACKET.pack(_ETHERNET, _IP, 6, 4, _REPLY, us, address.packed, them, found.packed)
