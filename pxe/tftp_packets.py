"""TFTP packets (RFC 1350, 2347) as values: bytes in, a packet or Malformed out, and back."""

import struct
from dataclasses import dataclass
from enum import IntEnum

from pxe.malformed import Malformed


class Opcode(IntEnum):
    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS = 2
    ILLEGAL = 4
    UNKNOWN_TRANSFER = 5


@dataclass(frozen=True)
class Request:
    """Somebody wants to read, or to write, a file."""

    name: bytes
    """As it came."""
    mode: str
    """Lower case."""
    options: tuple[tuple[str, str], ...] = ()
    """Names in the sender's spelling."""
    write: bool = False


@dataclass(frozen=True)
class Data:
    block: int
    payload: bytes


@dataclass(frozen=True)
class Ack:
    block: int


@dataclass(frozen=True)
class Error:
    code: int
    message: str = ""


@dataclass(frozen=True)
class OptionAck:
    options: tuple[tuple[str, str], ...]


Packet = Request | Data | Ack | Error | OptionAck


def parse(datagram: bytes) -> Packet:
    """Read one datagram. Raises Malformed, and nothing else, for bytes that are no TFTP packet."""
    if len(datagram) < 4:
        raise Malformed("packet", expected="at least 4 bytes", came=f"{len(datagram)} bytes")
    opcode, number = struct.unpack_from("!HH", datagram)
    match opcode:
        case Opcode.RRQ | Opcode.WRQ:
            return _request(datagram[2:], write=opcode == Opcode.WRQ)
        case Opcode.DATA:
            return Data(number, datagram[4:])
        case Opcode.ACK:
            return Ack(number)
        case Opcode.ERROR:
            # Some clients leave the NUL after the message out; it is only for the log.
            return Error(number, datagram[4:].split(b"\0", 1)[0].decode("latin-1"))
        case Opcode.OACK:
            return OptionAck(_options(_strings(datagram[2:])))
    raise Malformed("opcode", expected="1 to 6", came=str(opcode))


def _request(body: bytes, *, write: bool) -> Request:
    strings = _strings(body)
    if len(strings) < 2:
        raise Malformed("request", expected="a file name and a mode", came=f"{len(strings)} strings")
    name, mode, *rest = strings
    return Request(name, mode.decode("latin-1").lower(), _options(rest), write)


def _strings(body: bytes) -> list[bytes]:
    *strings, rest = body.split(b"\0")
    if rest:
        raise Malformed("last string", expected="a NUL at its end", came="the end of the packet")
    return strings


def _options(strings: list[bytes]) -> tuple[tuple[str, str], ...]:
    if len(strings) % 2:
        raise Malformed("options", expected="pairs of name and value", came=f"{len(strings)} strings")
    texts = [string.decode("latin-1") for string in strings]
    return tuple(zip(texts[::2], texts[1::2], strict=True))


def data(block: int, payload: bytes | memoryview) -> bytes:
    return struct.pack("!HH", Opcode.DATA, block) + payload


def ack(block: int) -> bytes:
    return struct.pack("!HH", Opcode.ACK, block)


def error(code: int, message: str) -> bytes:
    return struct.pack("!HH", Opcode.ERROR, code) + message.encode("ascii", "replace") + b"\0"


def option_ack(options: tuple[tuple[str, str], ...]) -> bytes:
    words = "".join(f"{name}\0{value}\0" for name, value in options)
    return struct.pack("!H", Opcode.OACK) + words.encode("latin-1")


def request(
    name: str, *, mode: str = "octet", options: tuple[tuple[str, str], ...] = (), write: bool = False
) -> bytes:
    words = [name, mode, *(word for option in options for word in option)]
    opcode = Opcode.WRQ if write else Opcode.RRQ
    return struct.pack("!H", opcode) + "".join(f"{word}\0" for word in words).encode()
