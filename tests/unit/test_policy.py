from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import BootTarget, Firmware, Silence
from pxe import dhcp
from pxe.dhcp import MessageType, Packet
from pxe.policy import Address, Ignore
from pxe.responder import Responder
from pxe.sightings import Sightings
from tests.boot_packets import (
    BIOS,
    ECHO,
    HERE,
    HTTP,
    IPXE,
    LINK,
    LOCAL,
    MAC,
    NETBOOT,
    PXE_CLASS,
    SERVER,
    UEFI,
    decided,
    golden,
    packet,
    replied,
)
from tests.fake_director import FakeDirector


def test_the_offer_to_a_bios_rom_is_exactly_this() -> None:
    reply = replied(packet(MessageType.DISCOVER, *BIOS))
    expected = golden("35 01 02", SERVER, PXE_CLASS, ECHO, "2b 04 06 01 08 ff", file=b"undionly.kpxe")
    assert dhcp.encode(reply.packet) == expected
    assert reply.destination == ("255.255.255.255", 68)


def test_the_offer_to_uefi_is_exactly_this_without_option_43() -> None:
    reply = replied(packet(MessageType.DISCOVER, *UEFI))
    assert dhcp.encode(reply.packet) == golden("35 01 02", SERVER, PXE_CLASS, ECHO, file=b"snponly.efi")


def test_the_offer_to_ipxe_is_exactly_this_with_the_url_of_its_script() -> None:
    reply = replied(packet(MessageType.DISCOVER, *BIOS, *IPXE))
    url = b"http://10.77.0.2:80/boot/52:54:00:77:00:01.ipxe"
    before_others = "af 03 01 01 01"
    expected = golden("35 01 02", SERVER, PXE_CLASS, ECHO, before_others, file=url)
    assert dhcp.encode(reply.packet) == expected


def test_the_offer_to_uefi_http_boot_is_exactly_this_with_class_httpclient() -> None:
    reply = replied(packet(MessageType.DISCOVER, *HTTP))
    url = b"http://10.77.0.2:80/boot/snponly.efi"
    http_class = "3c 0a" + b"HTTPClient".hex()
    assert dhcp.encode(reply.packet) == golden("35 01 02", SERVER, http_class, ECHO, file=url)


def test_the_answer_on_4011_to_edk2_is_exactly_this_and_goes_back_to_its_port() -> None:
    request = packet(MessageType.REQUEST, *UEFI, ciaddr="10.77.0.101", flags=0)
    reply = replied(request, port=4011, sender=("10.77.0.101", 4011))
    expected = golden(
        "35 01 05", SERVER, PXE_CLASS, ECHO, file=b"snponly.efi", flags="0000", ciaddr="0a4d0065"
    )
    assert dhcp.encode(reply.packet) == expected
    assert reply.destination == ("10.77.0.101", 4011)


def test_the_offer_to_a_relayed_client_goes_to_the_relay_with_its_option_82_last() -> None:
    relay_agent = (82, b"\1\4\0\1\0\2")
    reply = replied(packet(MessageType.DISCOVER, relay_agent, *UEFI, giaddr="10.9.0.1", flags=0))
    expected = golden(
        "35 01 02",
        SERVER,
        PXE_CLASS,
        ECHO,
        "52 06 010400010002",
        file=b"snponly.efi",
        giaddr="0a090001",
    )
    assert dhcp.encode(reply.packet) == expected
    assert reply.destination == ("10.9.0.1", 67)


def test_a_question_on_4011_without_an_address_is_answered_by_broadcast() -> None:
    reply = replied(packet(MessageType.REQUEST, *UEFI), port=4011, sender=("0.0.0.0", 4011))
    assert reply.destination == ("255.255.255.255", 68)


@pytest.mark.parametrize("kind", [MessageType.REQUEST, MessageType.DISCOVER, MessageType.INFORM])
def test_4011_answers_every_kind_of_question(kind: MessageType) -> None:
    assert replied(packet(kind, *UEFI), port=4011).packet.message_type == MessageType.ACK


@pytest.mark.parametrize("machine_id", [b"", b"\0", bytes(16), bytes(18)])
def test_a_machine_id_of_odd_length_is_not_echoed_and_no_reason_for_silence(machine_id: bytes) -> None:
    assert replied(packet(MessageType.DISCOVER, *UEFI, machine_id=machine_id)).packet.option(97) is None


def test_the_item_of_a_boot_menu_is_echoed_on_4011() -> None:
    request = packet(MessageType.REQUEST, *BIOS, (43, bytes.fromhex("47 04 80 00 00 00 ff")))
    assert replied(request, port=4011).packet.option(43) == bytes.fromhex("47 04 80 00 00 00 ff")


def test_a_question_for_boot_credentials_is_refused() -> None:
    request = packet(MessageType.REQUEST, *BIOS, (43, bytes.fromhex("47 04 00 00 80 00 ff")))
    assert isinstance(decided(request, port=4011), Ignore)


@pytest.mark.parametrize("garbled", ["47", "47 04 00", "47 02 00 00 ff", ""])
def test_a_garbled_option_43_of_a_client_is_as_if_not_sent(garbled: str) -> None:
    request = packet(MessageType.REQUEST, *BIOS, (43, bytes.fromhex(garbled)))
    assert replied(request, port=4011).packet.file == b"undionly.kpxe"


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (BIOS, "undionly.kpxe"),
        (UEFI, "local-x64.efi"),
        (HTTP, "http://10.77.0.2:80/boot/local-x64.efi"),
        ((*BIOS, *IPXE), "http://10.77.0.2:80/boot/52:54:00:77:00:01.ipxe"),
        ((*UEFI, *IPXE), "http://10.77.0.2:80/boot/52:54:00:77:00:01.ipxe"),
    ],
)
def test_local_boot_is_offered_as_a_program_that_finds_the_disk(
    options: tuple[tuple[int, bytes], ...], file: str
) -> None:
    assert replied(packet(MessageType.DISCOVER, *options), LOCAL).packet.file.decode() == file


@pytest.mark.parametrize("arch", [BIOS, UEFI])
@pytest.mark.parametrize("target", [NETBOOT, LOCAL])
@pytest.mark.parametrize("port", [67, 4011])
def test_ipxe_is_never_given_ipxe_again(
    arch: tuple[tuple[int, bytes], ...], target: BootTarget, port: int
) -> None:
    # The chained program sends our own class back, without an architecture in it.
    chained = tuple((code, b"PXEClient" if code == 60 else value) for code, value in arch)
    for marks in (IPXE, IPXE[:1], IPXE[1:]):
        reply = replied(packet(MessageType.DISCOVER, *chained, *marks), target, port=port)
        assert reply.packet.file.endswith(b".ipxe")
        assert reply.packet.option(43) is None


def test_an_ipxe_without_http_is_given_ours_by_tftp() -> None:
    poor = ((77, b"iPXE"), (175, bytes.fromhex("21 01 01")))
    assert (
        replied(packet(MessageType.DISCOVER, *BIOS, *poor)).packet.file == b"tftp://10.77.0.2/undionly.kpxe"
    )
    assert replied(packet(MessageType.DISCOVER, *UEFI, *poor)).packet.file == b"tftp://10.77.0.2/snponly.efi"


@pytest.mark.parametrize("port", [67, 4011])
def test_silence_is_no_packet_at_all(port: int) -> None:
    decision = decided(packet(MessageType.DISCOVER, *UEFI), Silence("not ours"), port=port)
    assert decision == Ignore("not ours")


def test_a_request_that_takes_another_servers_lease_is_ignored_quietly() -> None:
    request = packet(MessageType.REQUEST, *UEFI, (54, IPv4Address("10.77.0.1").packed))
    decision = decided(request)
    assert isinstance(decision, Ignore) and decision.expected and "10.77.0.1" in decision.reason


@pytest.mark.parametrize("kind", [kind for kind in MessageType if kind is not MessageType.DISCOVER])
def test_only_discover_is_answered_on_67(kind: MessageType) -> None:
    assert isinstance(decided(packet(kind, *UEFI, (54, HERE.address.packed))), Ignore)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (packet(MessageType.DISCOVER, *UEFI, op=2), "op 2"),
        (packet(MessageType.DISCOVER), "does not ask for a network boot"),
        (packet(MessageType.DISCOVER, (60, b"PXEClient")), "does not ask for a network boot"),
        (packet(MessageType.DISCOVER, (93, b"\0\0"), (60, b"AAPLBSDPC")), "does not ask for a network boot"),
        (packet(MessageType.DISCOVER, (93, b"\0\x0b"), (60, b"PXEClient")), "architecture 11 (UEFI arm64)"),
        (packet(MessageType.DISCOVER, (93, b"\x12\x34"), (60, b"PXEClient")), "architecture 4660 (unknown)"),
    ],
)
def test_what_gets_no_answer_says_why(request_: Packet, said: str) -> None:
    decision = decided(request_)
    assert isinstance(decision, Ignore) and said in decision.reason


def test_an_answer_longer_than_the_client_takes_is_not_sent() -> None:
    relay_agent = (82, bytes(400))
    plain = Packet(
        op=1,
        xid=1,
        chaddr=bytes.fromhex("525400770001") + bytes(10),
        options=((53, b"\1"), relay_agent, *BIOS),
    )
    decision = decided(plain)
    assert isinstance(decision, Ignore) and "takes 548" in decision.reason


# The whole handler: datagrams in, datagrams out.


class Wire:
    def __init__(self, target: BootTarget = NETBOOT) -> None:
        self.sent: list[tuple[int, bytes, Address]] = []
        self.director = FakeDirector({"*": target})
        self.sightings = Sightings()
        self.responder = Responder(
            self.director,
            HERE.http_port,
            self.sightings,
            lambda port, datagram, destination, _link: self.sent.append((port, datagram, destination)),
        )

    def receive(self, request: Packet, *, port: int = 67, sender: Address = ("0.0.0.0", 68)) -> None:
        self.responder.receive(dhcp.encode(request), sender, port=port, link=LINK)


def test_a_discover_on_67_makes_one_offer_and_one_event_however_often_it_comes() -> None:
    wire = Wire()
    for _ in range(3):
        wire.receive(packet(MessageType.DISCOVER, *UEFI))
    assert [(port, destination) for port, _, destination in wire.sent] == [(67, ("255.255.255.255", 68))] * 3
    assert wire.director.stages() == ["discover", "offer"]
    assert wire.director.asked[0] == (MAC, Firmware.UEFI)


def test_the_director_is_not_asked_about_telephones() -> None:
    wire = Wire()
    wire.receive(packet(MessageType.DISCOVER, (60, b"android-dhcp-13")))
    assert not wire.director.asked and not wire.sent


def test_the_address_of_a_machine_is_learnt_from_its_request_to_the_other_server() -> None:
    wire = Wire()
    wire.receive(
        packet(
            MessageType.REQUEST,
            *UEFI,
            (54, IPv4Address("10.77.0.1").packed),
            (50, IPv4Address("10.77.0.101").packed),
        )
    )
    assert wire.sightings.mac_at("10.77.0.101") == MAC
    assert not wire.sent
    wire.receive(
        packet(MessageType.REQUEST, *UEFI, ciaddr="10.77.0.102"), port=4011, sender=("10.77.0.102", 4011)
    )
    assert wire.sightings.mac_at("10.77.0.102") == MAC
    assert wire.sent[0][0] == 4011


def test_malformed_packets_are_counted_and_logged_with_their_sender(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire()
    wire.responder.receive(b"\x01\x1b[31m", ("10.77.0.66", 68), port=67, link=LINK)
    assert wire.responder.dropped[67] == 1
    assert "10.77.0.66" in caplog.text and "\x1b" not in caplog.text


@given(st.binary(max_size=600), st.sampled_from([67, 4011]))
def test_no_bytes_raise_out_of_the_handler(data: bytes, port: int) -> None:
    Wire().responder.receive(data, ("10.77.0.66", 68), port=port, link=LINK)


values = st.binary(max_size=48) | st.sampled_from([b"\0\7", b"\0\0", b"PXEClient", b"iPXE", b"\1", b"\3"])
codes = st.sampled_from([43, 50, 53, 54, 57, 60, 77, 82, 93, 97, 175])


@given(st.lists(st.tuples(codes, values), max_size=10), st.sampled_from([67, 4011]), st.integers(0, 16))
def test_no_options_raise_out_of_the_handler_and_every_answer_decodes(
    options: list[tuple[int, bytes]], port: int, hlen: int
) -> None:
    wire = Wire()
    request = Packet(
        op=1, xid=1, hlen=hlen, chaddr=bytes.fromhex(MAC.replace(":", "")) + bytes(10), options=tuple(options)
    )
    wire.receive(request, port=port)
    for _, datagram, _ in wire.sent:
        reply = dhcp.decode(datagram)
        assert reply.op == 2 and reply.server == HERE.address and (reply.file or reply.option(67))
