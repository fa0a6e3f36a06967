"""Full DHCP's order of things: probe before OFFER, write before ACK, and no packet that ends it."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dhcp_settings import DhcpSettings, Subnet
from appliance.leases import Lease, LeaseState
from appliance.model import NetBoot
from pxe import dhcp
from pxe.dhcp import MessageType, Packet
from pxe.full import Guest
from pxe.full_server import SUBJECT, FullServer, SteadyClock
from pxe.links import Link
from pxe.neighbours import Heard
from pxe.policy import Address
from pxe.responder import Responder
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector

NETWORK = IPv4Network("10.0.0.0/24")
OURS = IPv4Address("10.0.0.2")
LINK = Link("eth0", 2, OURS, NETWORK, "52:54:00:00:00:ff", 1500)
RANGE = (IPv4Address("10.0.0.100"), IPv4Address("10.0.0.101"))
MAC = "52:54:00:77:00:01"
UEFI = ((93, b"\0\7"), (60, b"PXEClient:Arch:00007:UNDI:003000"))
SERVER = (54, OURS.packed)


@dataclass
class Registry:
    """Leases in a list; it can be a full disk."""

    leases: dict[IPv4Address, Lease] = field(default_factory=dict)
    full: bool = False
    writes: int = 0

    def settings(self) -> DhcpSettings:
        return DhcpSettings((Subnet(NETWORK, (RANGE,), lease_seconds=3600),))

    def guest(self, mac: str) -> Guest:
        return Guest(known=True)

    def kept(self) -> Sequence[Lease]:
        return list(self.leases.values())

    def keep(self, leases: Sequence[Lease]) -> None:
        if self.full:
            raise OSError("no space left")
        self.writes += 1
        self.leases |= {lease.address: lease for lease in leases}


@dataclass
class Asking:
    """Neighbours that are asked and answer when the test wants."""

    asked: list[tuple[IPv4Address, Heard]] = field(default_factory=list)

    def ask(self, address: IPv4Address, link: Link, heard: Heard) -> None:
        self.asked.append((address, heard))

    def close(self) -> None:
        self.asked.clear()


class Wire:
    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry or Registry()
        self.asking = Asking()
        self.sent: list[Packet] = []
        self.unreachable = ""
        self.director = FakeDirector({"*": NetBoot("r1", "", "armed")})
        sightings = Sightings(self.director.saw_address)
        self.full = FullServer(self.registry, self.director, sightings, asking=self.asking)
        self.responder = Responder(self.director, 80, sightings, self._send, full=self.full)

    def _send(self, port: int, datagram: bytes, destination: Address, link: Link) -> None:
        if destination[0] == self.unreachable:
            raise OSError("no route to host")
        self.sent.append(dhcp.decode(datagram))

    def say(
        self, kind: MessageType, *options: tuple[int, bytes], mac: str = MAC, own: str = "0.0.0.0"
    ) -> None:
        packet = Packet(
            op=1,
            xid=7,
            chaddr=bytes.fromhex(mac.replace(":", "")) + bytes(10),
            ciaddr=IPv4Address(own),
            options=((53, bytes((kind,))), *options),
        )
        self.receive(dhcp.encode(packet))

    def receive(self, datagram: bytes) -> None:
        self.responder.receive(datagram, ("0.0.0.0", 68), port=67, link=LINK)

    def kinds(self) -> list[int | None]:
        return [packet.message_type for packet in self.sent]

    def hear(self, who: str | None) -> IPv4Address:
        """The oldest question is answered."""
        address, heard = self.asking.asked.pop(0)
        heard(who)
        return address


def run(story: Coroutine[None, None, None]) -> None:
    asyncio.run(story)


async def turn() -> None:
    """Let the event loop go round once."""
    await asyncio.sleep(0)


def test_an_offer_waits_for_the_neighbours_and_a_repeated_discover_does_not_ask_again() -> None:
    async def story() -> None:
        wire = Wire()
        wire.say(MessageType.DISCOVER, *UEFI)
        wire.say(MessageType.DISCOVER, *UEFI)
        assert wire.sent == [] and len(wire.asking.asked) == 1
        address = wire.hear(None)
        assert wire.kinds() == [MessageType.OFFER] and wire.sent[0].yiaddr == address
        assert wire.sent[0].file == b"snponly.efi"
        # The address is its own now: the same question needs no probe.
        wire.say(MessageType.DISCOVER, *UEFI)
        assert wire.kinds() == [MessageType.OFFER] * 2 and not wire.asking.asked
        assert wire.director.stages() == ["discover", "offer"]

    run(story())


def test_the_machines_own_answer_is_no_conflict() -> None:
    async def story() -> None:
        wire = Wire()
        wire.say(MessageType.DISCOVER)
        wire.hear(MAC)
        assert wire.kinds() == [MessageType.OFFER]

    run(story())


def test_a_conflict_is_kept_and_the_next_address_offered() -> None:
    async def story() -> None:
        wire = Wire()
        wire.say(MessageType.DISCOVER)
        taken = wire.hear("52:54:00:00:00:66")
        await turn()
        other = wire.hear(None)
        assert other != taken and wire.sent[-1].yiaddr == other
        kept = wire.registry.leases[taken]
        assert (kept.state, kept.mac) == (LeaseState.DECLINED, "52:54:00:00:00:66")
        assert any(one.mac == SUBJECT and str(taken) in one.message for one in wire.director.records)

    run(story())


def test_no_ack_leaves_before_its_lease_is_written_and_a_burst_is_one_write() -> None:
    async def story() -> None:
        wire = Wire()
        for number, address in enumerate(RANGE):
            wire.say(MessageType.REQUEST, SERVER, (50, address.packed), mac=f"52:54:00:77:00:0{number}")
        assert wire.sent == [] and wire.registry.leases == {}
        await turn()
        assert wire.kinds() == [MessageType.ACK] * 2
        assert wire.registry.writes == 1 and set(wire.registry.leases) == set(RANGE)

    run(story())


def test_on_a_full_disk_nobody_is_told_and_nothing_is_remembered(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        wire = Wire(Registry(full=True))
        wire.say(MessageType.REQUEST, SERVER, (50, RANGE[0].packed))
        await turn()
        assert wire.sent == []
        wire.registry.full = False
        wire.say(MessageType.REQUEST, SERVER, (50, RANGE[0].packed), mac="52:54:00:77:00:02")
        await turn()
        assert wire.kinds() == [MessageType.ACK]

    run(story())
    assert "could not be written" in caplog.text


def test_the_next_process_goes_on_with_the_leases_of_the_store() -> None:
    async def story() -> None:
        first = Wire()
        first.say(MessageType.REQUEST, SERVER, (50, RANGE[0].packed))
        await turn()
        second = Wire(first.registry)
        second.say(MessageType.REQUEST, SERVER, (50, RANGE[0].packed), mac="52:54:00:77:00:02")
        second.say(MessageType.REQUEST, own=str(RANGE[0]))
        await turn()
        assert second.kinds() == [MessageType.NAK, MessageType.ACK]

    run(story())


def test_an_answer_that_cannot_be_sent_does_not_keep_the_others() -> None:
    async def story() -> None:
        wire = Wire()
        wire.unreachable = str(RANGE[0])
        wire.say(MessageType.REQUEST, own=wire.unreachable)
        wire.say(MessageType.REQUEST, SERVER, (50, RANGE[1].packed), mac="52:54:00:77:00:02")
        await turn()
        assert [packet.yiaddr for packet in wire.sent] == [RANGE[1]]

    run(story())


def test_a_machine_that_takes_another_servers_offer_tells_of_that_server_once() -> None:
    async def story() -> None:
        wire = Wire()
        for _ in range(3):
            wire.say(MessageType.REQUEST, (54, IPv4Address("10.0.0.9").packed), (50, RANGE[0].packed))
        (alarm,) = [one for one in wire.director.records if one.mac == SUBJECT]
        assert (alarm.stage, alarm.status) == ("foreign", "failed") and "10.0.0.9" in alarm.message

    run(story())


def test_an_exhausted_range_is_an_alarm() -> None:
    async def story() -> None:
        wire = Wire()
        for number in range(3):
            wire.say(
                MessageType.REQUEST, SERVER, (50, (RANGE[0] + number).packed), mac=f"52:54:00:77:00:0{number}"
            )
        await turn()
        wire.say(MessageType.DISCOVER, mac="52:54:00:77:00:09")
        assert any("all 2 addresses of 10.0.0.0/24" in one.message for one in wire.director.records)

    run(story())


def test_a_clock_that_was_set_back_does_not_go_back() -> None:
    lease = Lease(RANGE[0], MAC, LeaseState.BOUND, since=9e9, expires=9e9 + 3600)
    clock = SteadyClock(lease.since)
    assert clock() >= 9e9 and lease.live(clock())
    assert not replace(lease, expires=9e9).live(clock())


values = st.binary(max_size=24) | st.sampled_from(
    [b"\0\7", OURS.packed, RANGE[0].packed, RANGE[1].packed, b"\1\4abcd"]
)
codes = st.sampled_from([12, 43, 50, 51, 54, 57, 60, 61, 77, 82, 93, 97, 175])
addresses = st.sampled_from(["0.0.0.0", "10.0.0.100", "10.0.0.101", "10.0.0.7", "192.0.2.1"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MessageType), st.lists(st.tuples(codes, values), max_size=8), addresses, addresses
        ),
        max_size=6,
    )
)
def test_no_packets_raise_and_every_answer_decodes(
    packets: list[tuple[MessageType, list[tuple[int, bytes]], str, str]],
) -> None:
    async def story() -> None:
        wire = Wire()
        for kind, options, own, relay in packets:
            request = Packet(
                op=1,
                xid=1,
                chaddr=bytes.fromhex(MAC.replace(":", "")) + bytes(10),
                ciaddr=IPv4Address(own),
                giaddr=IPv4Address(relay),
                options=((53, bytes((kind,))), *options),
            )
            datagram = dhcp.encode(request)
            before = len(wire.sent)
            wire.receive(datagram)
            await turn()
            while wire.asking.asked:
                wire.hear(None)
            # One answer at the most, and none that a client could not take.
            assert len(wire.sent) <= before + 1
            for reply in wire.sent[before:]:
                assert len(dhcp.encode(reply)) <= 1472 and reply.server == OURS

    run(story())
