"""IPv4 and UDP headers, for what cannot go through a UDP socket: bytes in, a Datagram or Malformed out."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from pxe.malformed import Malformed

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_PSEUDO = struct.Struct("!4s4sBBH")
_VERSION_AND_LENGTH = 0x45
_UDP_PROTOCOL = 17
_TTL = 64
# More fragments, and the offset of this one: set in every part of a datagram that was cut up.
_FRAGMENT = 0x3FFF


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram with the addresses of its IP header."""

    source: IPv4Address
    source_port: int
    destination: IPv4Address
    destination_port: int
    payload: bytes


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071): the complement of the one's complement sum of all 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    # 2**16 is 1 modulo 0xffff, so the remainder of the whole number is the folded sum of its words.
    total = int.from_bytes(data, "big")
    folded = total % 0xFFFF or (0xFFFF if total else 0)
    return folded ^ 0xFFFF


def encode(datagram: Datagram) -> bytes:
    """The IP packet that carries a datagram. It may be fragmented: some boot ROMs mistake the DF bit.

    Raises ValueError when the payload does not fit.
    """
    length = _UDP.size + len(datagram.payload)
    if _IP.size + length > 0xFFFF:
        raise ValueError(f"{len(datagram.payload)} bytes do not fit into one UDP datagram")
    source, destination = datagram.source.packed, datagram.destination.packed
    ports = datagram.source_port, datagram.destination_port
    pseudo = _PSEUDO.pack(source, destination, 0, _UDP_PROTOCOL, length)
    # A computed checksum of 0 is sent as 0xffff, since 0 says that there is none (RFC 768).
    summed = checksum(pseudo + _UDP.pack(*ports, length, 0) + datagram.payload) or 0xFFFF
    fields = (_VERSION_AND_LENGTH, 0, _IP.size + length, 0, 0, _TTL, _UDP_PROTOCOL)
    header = _IP.pack(*fields, 0, source, destination)
    header = _IP.pack(*fields, checksum(header), source, destination)
    return header + _UDP.pack(*ports, length, summed) + datagram.payload


def decode(data: bytes, *, summed: bool = True) -> Datagram:
    """Read one IP packet with a whole UDP datagram; bytes after it are the padding of a short frame.

    `summed` False: its UDP checksum was left to a network card and may be wrong (of a frame that never saw a
    wire: from a virtual machine or a container). Raises Malformed, and nothing else.
    """
    if len(data) < _IP.size:
        raise Malformed("IP packet", expected=f"at least {_IP.size} bytes", came=f"{len(data)} bytes")
    first, _, length, _, cut, _, protocol, _, source, destination = _IP.unpack_from(data)
    start = (first & 15) * 4
    if first >> 4 != 4 or start < _IP.size:
        raise Malformed("IP header", expected="version 4 and at least 5 words", came=f"0x{first:02x}")
    if not start + _UDP.size <= length <= len(data):
        expected = f"{start + _UDP.size} to {len(data)}"
        raise Malformed("length of the IP packet", expected=expected, came=str(length))
    if checksum(data[:start]):
        raise Malformed("checksum of the IP header", expected="a good one", came="a bad one")
    if protocol != _UDP_PROTOCOL or cut & _FRAGMENT:
        raise Malformed(
            "IP packet", expected="a whole UDP datagram", came=f"protocol {protocol}, part {cut:#x}"
        )
    source_port, destination_port, udp_length, told = _UDP.unpack_from(data, start)
    if not _UDP.size <= udp_length <= length - start:
        expected = f"{_UDP.size} to {length - start}"
        raise Malformed("length of the UDP datagram", expected=expected, came=str(udp_length))
    datagram = data[start : start + udp_length]
    pseudo = _PSEUDO.pack(source, destination, 0, _UDP_PROTOCOL, udp_length)
    if summed and told and checksum(pseudo + datagram):
        raise Malformed("checksum of the UDP datagram", expected="a good one", came="a bad one")
    return Datagram(
        IPv4Address(source), source_port, IPv4Address(destination), destination_port, datagram[_UDP.size :]
    )


# Classic BPF, <linux/filter.h>: (code, where to go on when true, when false, value).
_LOAD_BYTE, _LOAD_HALF, _LOAD_HALF_AT_X = 0x30, 0x28, 0x48
_HEADER_LENGTH_TO_X = 0xB1
_IF_EQUAL, _IF_BITS = 0x15, 0x45
_TAKE = 0x06
_PACKET_TYPE = 0xFFFFF000 + 4
_OTHERS = 3


def udp_filter(port: int) -> bytes:
    """A socket filter for packets that begin with their IP header: whole UDP datagrams to `port`, and for us.

    What the card only heard because it listens to everything, or with the tag of a VLAN this host does not
    have, is of the kernel's packet type "for others".
    """
    program = (
        (_LOAD_BYTE, 0, 0, _PACKET_TYPE),
        (_IF_EQUAL, 8, 0, _OTHERS),
        (_LOAD_BYTE, 0, 0, 9),
        (_IF_EQUAL, 0, 6, _UDP_PROTOCOL),
        (_LOAD_HALF, 0, 0, 6),
        (_IF_BITS, 4, 0, _FRAGMENT),
        (_HEADER_LENGTH_TO_X, 0, 0, 0),
        (_LOAD_HALF_AT_X, 0, 0, 2),
        (_IF_EQUAL, 0, 1, port),
        (_TAKE, 0, 0, 0x40000),
        (_TAKE, 0, 0, 0),
    )
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
