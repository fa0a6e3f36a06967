"""RARP: who asks for itself and has an address is told it; no other bytes are answered."""

import contextlib
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.stages import Stage
from pxe import rarp
from pxe.links import Link
from pxe.malformed import Malformed
from pxe.rarp_server import SAME_BOOT_SECONDS, RarpServer
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector

SPARC, OTHER = "08:00:20:11:22:33", "08:00:20:44:55:66"
LINK = Link("eth0", 2, IPv4Address("10.0.0.2"), IPv4Network("10.0.0.0/24"), "52:54:00:00:00:02", 1500)


def question(sender: str = SPARC, target: str = SPARC, operation: int = 3) -> bytes:
    """As OpenBoot sends it: its own Ethernet address twice, both IP addresses 0."""
    one, other = (bytes.fromhex(mac.replace(":", "")) for mac in (sender, target))
    return bytes.fromhex("000108000604") + operation.to_bytes(2, "big") + one + bytes(4) + other + bytes(4)


class Wire:
    def __init__(self, address: str = "10.0.0.33") -> None:
        self.director = FakeDirector(
            reservations={SPARC: IPv4Address(address), OTHER: IPv4Address("10.0.0.34")}
        )
        self.sightings = Sightings()
        self.now = 0.0
        self.server = RarpServer(self.director, self.sightings, lambda: self.now)


def test_a_known_machine_is_told_its_address_in_the_bytes_of_rfc_903() -> None:
    wire = Wire()
    reply = wire.server.answer(question() + bytes(18), SPARC, LINK)
    assert reply is not None
    assert reply.hex(" ", 2) == ("0001 0800 0604 0004 5254 0000 0002 0a00 0002 0800 2011 2233 0a00 0021")
    assert wire.sightings.mac_at("10.0.0.33") == SPARC


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (question(sender="08:00:20:00:00:01", target="08:00:20:00:00:01"), "08:00:20:00:00:01"),
        (question(target=OTHER), SPARC),
        (question(), OTHER),
        (question(operation=4), SPARC),
        (question(operation=1), SPARC),
        (question()[:27], SPARC),
        (b"\0\6" + question()[2:], SPARC),
    ],
    ids=["unknown", "for another", "another's name", "a reply", "ARP", "short", "no Ethernet"],
)
def test_nobody_else_is_answered(data: bytes, source: str) -> None:
    wire = Wire()
    assert wire.server.answer(data, source, LINK) is None
    assert wire.director.records == []


def test_an_address_of_another_network_is_not_told_here() -> None:
    assert Wire("10.0.1.33").server.answer(question(), SPARC, LINK) is None


def test_repeated_questions_are_one_boot_in_the_timeline_and_a_later_one_is_another() -> None:
    wire = Wire()
    for at in (0.0, 4.0, 8.0, 8.0 + SAME_BOOT_SECONDS):
        wire.now = at
        assert wire.server.answer(question(), SPARC, LINK)
    assert wire.director.stages() == [Stage.DISCOVER, Stage.OFFER] * 2


@given(st.binary(max_size=64))
def test_no_bytes_raise_anything_but_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        rarp.decode(data)
    assert Wire().server.answer(data, SPARC, LINK) is None


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6), st.integers(0, 65535))
def test_a_question_is_read_as_it_was_meant(sender: bytes, target: bytes, operation: int) -> None:
    data = question(sender.hex(":"), target.hex(":"), operation)
    if operation == 3:
        assert rarp.decode(data) == rarp.Question(sender.hex(":"), target.hex(":"))
    else:
        with pytest.raises(Malformed, match="RARP operation"):
            rarp.decode(data)
