"""Random histories of many clients: no address is ever two machines' at once, and none is out of range."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.dhcp_settings import DhcpSettings, Subnet
from pxe.client import identify
from pxe.dhcp import NOBODY, MessageType, Packet
from pxe.full import Guest, Scene, answer_full
from pxe.leases import Leases
from pxe.policy import Here, Reply

HERE = Here(IPv4Address("10.0.0.2"), 80)
SHORT = 600
SUBNETS = (
    Subnet(IPv4Network("10.0.0.0/29"), ((IPv4Address("10.0.0.1"), IPv4Address("10.0.0.5")),), SHORT),
    Subnet(IPv4Network("10.1.0.0/29"), ((IPv4Address("10.1.0.2"), IPv4Address("10.1.0.4")),), SHORT),
)
MACS = [f"52:54:00:00:00:{number:02x}" for number in range(7)]
FIXED = {MACS[0]: IPv4Address("10.0.0.4")}
PLACES = [NOBODY, IPv4Address("10.1.0.1")]
ADDRESSES = [IPv4Address(f"10.{net}.0.{host}") for net in (0, 1) for host in range(8)]
macs, places, addresses = st.sampled_from(MACS), st.sampled_from(PLACES), st.sampled_from(ADDRESSES)


class Lan(RuleBasedStateMachine):
    """The server as its clients see it: what an ACK said is theirs until it is over or they gave it back."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases()
        self.settings = DhcpSettings(SUBNETS, FIXED, known_only=False, per_port=3)
        self.now = 1000.0
        self.offers: dict[str, tuple[IPv4Address, IPv4Address]] = {}
        self.theirs: dict[IPv4Address, tuple[str, float]] = {}
        """By address who was told that it has it, and until when: kept by the clients, not by the server."""

    def say(
        self, kind: MessageType, mac: str, place: IPv4Address, *options: tuple[int, bytes], own: IPv4Address
    ) -> Packet | None:
        request = Packet(
            op=1,
            xid=1,
            chaddr=bytes.fromhex(mac.replace(":", "")) + bytes(10),
            giaddr=place,
            ciaddr=own,
            options=((53, bytes((kind,))), *options),
        )
        guest = Guest(known=mac in MACS[:4])
        scene = Scene(self.settings, self.leases, HERE, self.now)
        decision = answer_full(request, identify(request), guest, scene)
        if decision.drop:
            self.leases.drop(mac)
        for lease in decision.keep:
            self.leases.put(lease)
        if decision.hold:
            self.leases.hold(decision.hold)
        if not isinstance(decision.answer, Reply):
            return None
        reply = decision.answer.packet
        if kind is MessageType.REQUEST and reply.message_type == MessageType.ACK:
            self.told(mac, reply)
        return reply

    def told(self, mac: str, ack: Packet) -> None:
        seconds = int.from_bytes(ack.option(51) or b"", "big")
        owner, until = self.theirs.get(ack.yiaddr, (mac, 0.0))
        assert owner == mac or until <= self.now, f"{ack.yiaddr} is {owner}'s and was given to {mac}"
        fixed = FIXED.get(mac)
        if ack.yiaddr != fixed:
            assert any(subnet.covers(ack.yiaddr) for subnet in SUBNETS), f"{ack.yiaddr} is in no range"
            assert ack.yiaddr not in (HERE.address, *FIXED.values())
        # A machine that takes an address has left the one it had on that subnet.
        net = next(subnet.network for subnet in SUBNETS if ack.yiaddr in subnet.network)
        self.theirs = {at: one for at, one in self.theirs.items() if one[0] != mac or at not in net}
        self.theirs[ack.yiaddr] = mac, self.now + seconds

    @rule(mac=macs, place=places, wanted=st.none() | addresses)
    def discover(self, mac: str, place: IPv4Address, wanted: IPv4Address | None) -> None:
        options = [(50, wanted.packed)] if wanted else []
        offer = self.say(MessageType.DISCOVER, mac, place, *options, own=NOBODY)
        if offer:
            owner, until = self.theirs.get(offer.yiaddr, (mac, 0.0))
            assert owner == mac or until <= self.now
            others = {held for other, (held, _) in self.offers.items() if other != mac}
            holder = self.leases.holder(offer.yiaddr, self.now)
            assert holder == mac or offer.yiaddr not in others
            self.offers[mac] = offer.yiaddr, place

    @rule(mac=macs, ours=st.booleans())
    def take_the_offer(self, mac: str, ours: bool) -> None:
        if mac in self.offers:
            address, place = self.offers.pop(mac)
            server = HERE.address if ours else IPv4Address("10.0.0.7")
            self.say(MessageType.REQUEST, mac, place, (54, server.packed), (50, address.packed), own=NOBODY)

    @rule(mac=macs, place=places, address=addresses)
    def select_what_was_never_offered(self, mac: str, place: IPv4Address, address: IPv4Address) -> None:
        options = (54, HERE.address.packed), (50, address.packed)
        self.say(MessageType.REQUEST, mac, place, *options, own=NOBODY)

    @rule(mac=macs, place=places, address=addresses)
    def reboot(self, mac: str, place: IPv4Address, address: IPv4Address) -> None:
        self.say(MessageType.REQUEST, mac, place, (50, address.packed), own=NOBODY)

    @rule(mac=macs, place=places, address=addresses)
    def renew(self, mac: str, place: IPv4Address, address: IPv4Address) -> None:
        self.say(MessageType.REQUEST, mac, place, own=address)

    @rule(mac=macs, address=addresses)
    def give_back(self, mac: str, address: IPv4Address) -> None:
        self.say(MessageType.RELEASE, mac, NOBODY, (54, HERE.address.packed), own=address)
        if self.theirs.get(address, ("", 0.0))[0] == mac:
            del self.theirs[address]

    @rule(mac=macs, address=addresses)
    def decline(self, mac: str, address: IPv4Address) -> None:
        options = (54, HERE.address.packed), (50, address.packed)
        self.say(MessageType.DECLINE, mac, NOBODY, *options, own=NOBODY)
        if self.theirs.get(address, ("", 0.0))[0] == mac:
            del self.theirs[address]

    @rule(seconds=st.sampled_from([1.0, 19.0, 21.0, 300.0, 601.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        """What was only in memory is lost; leases come back from the store."""
        kept = [lease for address in ADDRESSES if (lease := self.leases.at(address))]
        self.leases = Leases(kept)

    @rule(known_only=st.booleans())
    def change_the_site(self, known_only: bool) -> None:
        self.settings = replace(self.settings, known_only=known_only)

    @invariant()
    def the_server_knows_of_every_lease_that_a_client_has(self) -> None:
        for address, (mac, until) in self.theirs.items():
            if self.now < until:
                lease = self.leases.at(address)
                assert lease and lease.mac == mac and lease.expires >= until


TestLan = Lan.TestCase
TestLan.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
