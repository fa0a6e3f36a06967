import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pxe import dhcp
from pxe.dhcp import MessageType, Option, Packet
from pxe.malformed import Malformed, printable

MAC = bytes.fromhex("525400770001") + bytes(10)


def discover(*options: tuple[int, bytes], **fields: object) -> Packet:
    first = ((int(Option.MESSAGE_TYPE), bytes((MessageType.DISCOVER,))),)
    return Packet(op=1, xid=0x12345678, chaddr=MAC, options=(*first, *options), **fields)  # type: ignore[arg-type]


addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
texts = st.binary(max_size=63).map(lambda value: value.replace(b"\0", b""))
options = st.dictionaries(
    st.integers(1, 254).filter(lambda code: code not in (50, 51, 53, 54, 57, 93)),
    st.binary(max_size=600),
    max_size=8,
)
packets = st.builds(
    Packet,
    op=st.sampled_from([1, 2]),
    xid=st.integers(0, 2**32 - 1),
    chaddr=st.binary(min_size=16, max_size=16),
    options=options.map(lambda found: tuple(found.items())),
    htype=st.integers(0, 255),
    hlen=st.integers(0, 16),
    hops=st.integers(0, 255),
    secs=st.integers(0, 65535),
    flags=st.integers(0, 65535),
    ciaddr=addresses,
    yiaddr=addresses,
    siaddr=addresses,
    giaddr=addresses,
    sname=texts,
    file=texts,
)


@given(packets)
def test_what_is_encoded_is_decoded_to_the_same_packet(packet: Packet) -> None:
    assert dhcp.decode(dhcp.encode(packet)) == packet


@given(st.binary(max_size=700))
@example(b"")
@example(bytes(240))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        dhcp.decode(data)
    except Malformed as wrong:
        assert wrong.field and wrong.expected and wrong.came


@given(st.binary(max_size=400))
def test_any_options_behind_a_good_header_are_a_packet_or_malformed(tail: bytes) -> None:
    header = dhcp.encode(discover())[:240]
    try:
        packet = dhcp.decode(header + tail)
        assert 548 <= packet.longest_answer <= 1472
        assert packet.server is None or packet.server == IPv4Address(packet.option(54) or b"")
    except Malformed:
        pass


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x01", "packet: expected at least 240 bytes, came 1 bytes"),
        (b"\x07" + dhcp.encode(discover())[1:], "op: expected 1 or 2, came 7"),
        (b"\x01\x01\x11" + dhcp.encode(discover())[3:], "hlen: expected at most 16, came 17"),
        (
            dhcp.encode(discover())[:236] + bytes(8),
            "magic cookie: expected 63825363, came 00000000",
        ),
        (dhcp.encode(discover())[:240] + b"\x3c", "option 60: expected a length, came the end of the packet"),
        (dhcp.encode(discover())[:240] + b"\x3c\x09PXE", "option 60: expected 9 bytes, came 3 bytes"),
        (dhcp.encode(discover((93, b"\0"))), "option 93: expected pairs of bytes, came 1 bytes"),
        (dhcp.encode(discover((54, b"\0\0\0"))), "option 54: expected 4 bytes, came 3 bytes"),
        (dhcp.encode(discover((57, b""))), "option 57: expected 2 bytes, came 0 bytes"),
    ],
)
def test_malformed_names_the_field_what_was_expected_and_what_came(data: bytes, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        dhcp.decode(data)
    assert str(caught.value) == said


def test_a_missing_end_mark_is_forgiven() -> None:
    packet = dhcp.decode(dhcp.encode(discover())[:243])
    assert packet.message_type == MessageType.DISCOVER


def test_an_option_that_comes_twice_is_one_long_option() -> None:
    header = dhcp.encode(discover())[:240]
    packet = dhcp.decode(header + b"\x4d\x02iP" + b"\0\0" + b"\x4d\x02XE\xff")
    assert packet.option(77) == b"iPXE"


def test_a_packet_is_padded_to_300_bytes() -> None:
    assert len(dhcp.encode(discover())) == 300


def test_a_name_without_room_for_its_nul_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="file is 128 bytes long, expected at most 127"):
        dhcp.encode(discover(file=b"x" * 128))


@pytest.mark.parametrize(
    ("asked", "longest"), [(None, 548), (0, 548), (576, 576), (1472, 1472), (0xFF00, 1472)]
)
def test_option_57_caps_the_answer_between_what_all_take_and_what_edk2_takes(
    asked: int | None, longest: int
) -> None:
    options = ((57, struct.pack("!H", asked)),) if asked is not None else ()
    assert discover(*options).longest_answer == longest


def test_control_characters_of_strangers_are_escaped_for_the_log() -> None:
    assert printable(b"a\x1b[31m\nb\xff") == "a\\x1b[31m\\nb\\xff"
