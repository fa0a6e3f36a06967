"""IP and UDP headers: what is encoded is read again, what a wire broke is not, and the kernel agrees."""

import contextlib
import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pxe.malformed import Malformed
from pxe.packets import Datagram, checksum, decode, encode

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
ports = st.integers(0, 65535)
datagrams = st.builds(Datagram, addresses, ports, addresses, ports, st.binary(max_size=600))
OFFER = Datagram(IPv4Address("10.0.0.2"), 67, IPv4Address("255.255.255.255"), 68, b"offer")


def summed_by_words(data: bytes) -> int:
    """RFC 1071, section 4.1, word by word."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    if len(data) % 2:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@given(st.binary(max_size=200))
@example(b"")
@example(b"\0\0")
@example(b"\xff\xff")
@example(b"\xff\xff\0\1\xff\xfe")
def test_the_checksum_is_that_of_rfc_1071(data: bytes) -> None:
    assert checksum(data) == summed_by_words(data)


@given(datagrams, st.binary(max_size=46))
def test_what_is_encoded_is_read_again_whatever_pads_the_frame(datagram: Datagram, padding: bytes) -> None:
    assert decode(encode(datagram) + padding) == datagram


def test_an_encoded_packet_may_be_fragmented_and_has_a_checksum() -> None:
    packet = encode(OFFER)
    assert packet[:1] == b"\x45"
    assert packet[6:8] == b"\0\0"
    assert packet[26:28] != b"\0\0"


@given(datagrams, st.data())
def test_a_flipped_bit_is_never_taken_for_the_datagram(datagram: Datagram, data: st.DataObject) -> None:
    packet = bytearray(encode(datagram))
    bit = data.draw(st.integers(0, len(packet) * 8 - 1))
    packet[bit // 8] ^= 1 << bit % 8
    try:
        read = decode(bytes(packet))
    except Malformed:
        return
    # Flipping the only bits of a checksum makes "there is none" of it (RFC 768): then nothing was checked.
    assert packet[26:28] == b"\0\0" and read == datagram


@given(datagrams, st.integers(0, 0xFFFF))
def test_an_unfinished_checksum_is_forgiven_only_when_the_kernel_says_so(
    datagram: Datagram, partial: int
) -> None:
    packet = bytearray(encode(datagram))
    good = int.from_bytes(packet[26:28], "big")
    packet[26:28] = partial.to_bytes(2, "big")
    assert decode(bytes(packet), summed=False) == datagram
    if partial not in (0, good) and {partial, good} != {0, 0xFFFF}:
        with pytest.raises(Malformed, match="checksum of the UDP datagram"):
            decode(bytes(packet))


@given(st.binary(max_size=80), st.booleans())
def test_no_bytes_raise_anything_but_malformed(data: bytes, summed: bool) -> None:
    with contextlib.suppress(Malformed):
        decode(data, summed=summed)


@given(st.binary(max_size=60), st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 255))
def test_a_header_with_a_good_checksum_raises_nothing_but_malformed_either(
    rest: bytes, first: int, length: int, protocol: int
) -> None:
    header = bytearray(
        struct.pack("!BBHHHBBH4s4s", first, 0, length, 0, 0, 64, protocol, 0, bytes(4), bytes(4))
    )
    if first & 15 == 5:
        header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    with contextlib.suppress(Malformed):
        decode(bytes(header) + rest)


def test_fragments_and_other_protocols_are_no_datagrams() -> None:
    for at, value in ((6, b"\x20\0"), (6, b"\0\1"), (9, b"\6")):
        packet = bytearray(encode(OFFER))
        packet[at : at + len(value)] = value
        packet[10:12] = b"\0\0"
        packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
        with pytest.raises(Malformed, match="a whole UDP datagram"):
            decode(bytes(packet))


@pytest.mark.parametrize(
    ("where", "length", "field"),
    [
        (2, 27, "length of the IP packet"),
        (2, 28 + 5 + 3 + 1, "length of the IP packet"),
        (24, 7, "length of the UDP datagram"),
        (24, 8 + 5 + 1, "length of the UDP datagram"),
    ],
    ids=["no room for UDP", "longer than the frame", "no room for its header", "longer than the packet"],
)
def test_a_length_that_cannot_be_is_malformed(where: int, length: int, field: str) -> None:
    packet = bytearray(encode(OFFER)) + bytes(3)
    packet[where : where + 2] = length.to_bytes(2, "big")
    packet[10:12] = packet[26:28] = b"\0\0"
    packet[10:12] = checksum(bytes(packet[:20])).to_bytes(2, "big")
    with pytest.raises(Malformed, match=field):
        decode(bytes(packet))


def test_ip_options_are_skipped() -> None:
    packet = bytearray(encode(OFFER))
    packet[20:20] = b"\1\1\1\0"
    packet[0] = 0x46
    packet[2:4] = len(packet).to_bytes(2, "big")
    packet[10:12] = b"\0\0"
    packet[10:12] = checksum(bytes(packet[:24])).to_bytes(2, "big")
    assert decode(bytes(packet)) == OFFER


def test_too_much_for_one_datagram_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        encode(replace(OFFER, payload=bytes(65508)))
    assert decode(encode(replace(OFFER, payload=bytes(65507)))).payload == bytes(65507)
