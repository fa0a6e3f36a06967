"""DHCP packets (RFC 2131, 2132, 3396) as values: bytes in, a Packet or Malformed out, and back."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from ipaddress import IPv4Address

from pxe.malformed import Malformed

SERVER_PORT = 67
CLIENT_PORT = 68
PXE_PORT = 4011

BOOTREQUEST = 1
BOOTREPLY = 2
BROADCAST_FLAG = 0x8000
NOBODY = IPv4Address(0)
_NOBODY = NOBODY.packed

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = bytes((99, 130, 83, 99))
_PAD = 0
_END = 255
# Relays and some ROMs drop BOOTP frames under 300 bytes (RFC 1542, 2.1).
_SHORTEST = 300
# edk2 drops any DHCP packet over 1472 bytes; without option 57 a client takes 576 bytes of IP (RFC 2131, 2).
_LONGEST = 1472
TAKEN_BYTES = 548
"""An answer of this length nobody refuses."""


class MessageType(IntEnum):
    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN = 15
    BROADCAST_ADDRESS = 28
    NTP = 42
    VENDOR = 43
    REQUESTED_ADDRESS = 50
    LEASE_SECONDS = 51
    MESSAGE_TYPE = 53
    SERVER = 54
    MESSAGE = 56
    MAX_SIZE = 57
    RENEWAL_SECONDS = 58
    REBINDING_SECONDS = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RELAY_AGENT = 82
    ARCHITECTURE = 93
    MACHINE_ID = 97
    IPXE = 175


_LENGTHS = {
    Option.REQUESTED_ADDRESS: 4,
    Option.LEASE_SECONDS: 4,
    Option.MESSAGE_TYPE: 1,
    Option.SERVER: 4,
    Option.MAX_SIZE: 2,
}


@dataclass(frozen=True)
class Packet:
    """One DHCP message; `options` in wire order, each code once."""

    op: int
    xid: int
    chaddr: bytes
    """The whole field, 16 bytes; `hlen` of them are the hardware address."""
    options: tuple[tuple[int, bytes], ...] = ()
    htype: int = 1
    hlen: int = 6
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = NOBODY
    yiaddr: IPv4Address = NOBODY
    siaddr: IPv4Address = NOBODY
    giaddr: IPv4Address = NOBODY
    sname: bytes = b""
    file: bytes = b""

    @cached_property
    def _values(self) -> dict[int, bytes]:
        return dict(self.options)

    def option(self, code: int) -> bytes | None:
        # A dozen of these are asked of every packet.
        return self._values.get(code)

    @property
    def message_type(self) -> int | None:
        value = self.option(Option.MESSAGE_TYPE)
        return value[0] if value else None

    @property
    def server(self) -> IPv4Address | None:
        """The server this message is meant for or from, option 54."""
        value = self.option(Option.SERVER)
        return IPv4Address(value) if value else None

    @property
    def longest_answer(self) -> int:
        """How many bytes of DHCP message the sender takes."""
        value = self.option(Option.MAX_SIZE)
        asked = int.from_bytes(value, "big") if value else 0
        return min(max(asked, TAKEN_BYTES), _LONGEST)


def decode(data: bytes) -> Packet:
    """Read one datagram. Raises Malformed, and nothing else, for bytes that are no DHCP message.

    Option overload (52) is not followed: nothing this project reads is ever put there by firmware.
    """
    if len(data) < _HEADER.size:
        raise Malformed("packet", expected=f"at least {_HEADER.size} bytes", came=f"{len(data)} bytes")
    fields = _HEADER.unpack_from(data)
    op, htype, hlen, hops, xid, secs, flags = fields[:7]
    ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, cookie = fields[7:]
    if op not in (BOOTREQUEST, BOOTREPLY):
        raise Malformed("op", expected="1 or 2", came=str(op))
    if hlen > len(chaddr):
        raise Malformed("hlen", expected="at most 16", came=str(hlen))
    if cookie != _COOKIE:
        raise Malformed("magic cookie", expected=_COOKIE.hex(), came=cookie.hex())
    options = _options(data)
    _check_lengths(options)
    packet = object.__new__(Packet)
    # What Packet(...) does, but for all fields at once: it sets each through a check, which takes as long as
    # everything else that is done here.
    packet.__dict__.update(
        op=op,
        htype=htype,
        hlen=hlen,
        hops=hops,
        xid=xid,
        secs=secs,
        flags=flags,
        ciaddr=_address(ciaddr),
        yiaddr=_address(yiaddr),
        siaddr=_address(siaddr),
        giaddr=_address(giaddr),
        chaddr=chaddr,
        sname=sname.partition(b"\0")[0],
        file=file.partition(b"\0")[0],
        options=tuple(options.items()),
        _values=options,
    )
    return packet


def _address(packed: bytes) -> IPv4Address:
    # Most are nobody's; making one takes as long as reading two options.
    return NOBODY if packed == _NOBODY else IPv4Address(packed)


def _options(data: bytes) -> dict[int, bytes]:
    """The options of a packet, in their order; one that comes twice is one long option (RFC 3396).

    What sub_options does, without a generator: it is done for every packet of the LAN.
    """
    options: dict[int, bytes] = {}
    at, end = _HEADER.size, len(data)
    while at < end and (code := data[at]) != _END:
        if code == _PAD:
            at += 1
            continue
        begin = at + 2
        if begin > end:
            raise Malformed(f"option {code}", expected="a length", came="the end of the packet")
        at = begin + data[at + 1]
        value = data[begin:at]
        if at > end:
            raise Malformed(f"option {code}", expected=f"{at - begin} bytes", came=f"{len(value)} bytes")
        options[code] = options[code] + value if code in options else value
    return options


def sub_options(data: bytes, what: str) -> Iterator[tuple[int, bytes]]:
    """The (code, value) pairs of an options field; a missing end mark is forgiven. Raises Malformed."""
    at = 0
    while at < len(data) and data[at] != _END:
        code = data[at]
        if code == _PAD:
            at += 1
            continue
        if at + 1 == len(data):
            raise Malformed(f"{what} {code}", expected="a length", came="the end of the packet")
        length = data[at + 1]
        value = data[at + 2 : at + 2 + length]
        if len(value) < length:
            raise Malformed(f"{what} {code}", expected=f"{length} bytes", came=f"{len(value)} bytes")
        yield code, value
        at += 2 + length


def _check_lengths(options: dict[int, bytes]) -> None:
    for code, expected in _LENGTHS.items():
        value = options.get(code)
        if value is not None and len(value) != expected:
            raise Malformed(f"option {code:d}", expected=f"{expected} bytes", came=f"{len(value)} bytes")
    architectures = options.get(Option.ARCHITECTURE)
    if architectures is not None and (not architectures or len(architectures) % 2):
        raise Malformed("option 93", expected="pairs of bytes", came=f"{len(architectures)} bytes")


def encode(packet: Packet) -> bytes:
    """The datagram for a packet, padded to 300 bytes. Raises ValueError when a field does not fit."""
    # The last byte of sname and file stays NUL: ROMs read them as C strings.
    for name, value, room in (("sname", packet.sname, 63), ("file", packet.file, 127)):
        if len(value) > room:
            raise ValueError(f"{name} is {len(value)} bytes long, expected at most {room}")
    header = _HEADER.pack(
        packet.op,
        packet.htype,
        packet.hlen,
        packet.hops,
        packet.xid,
        packet.secs,
        packet.flags,
        packet.ciaddr.packed,
        packet.yiaddr.packed,
        packet.siaddr.packed,
        packet.giaddr.packed,
        packet.chaddr,
        packet.sname,
        packet.file,
        _COOKIE,
    )
    return (header + encode_options(packet.options)).ljust(_SHORTEST, b"\0")


def encode_options(options: tuple[tuple[int, bytes], ...]) -> bytes:
    """An options field with its end mark; long values are split (RFC 3396)."""
    parts = bytearray()
    for code, value in options:
        for at in range(0, max(len(value), 1), 255):
            part = value[at : at + 255]
            parts += bytes((code, len(part))) + part
    parts.append(_END)
    return bytes(parts)
