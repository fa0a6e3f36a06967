"""Full DHCP as RFC 2131 says it: who gets which address, and who gets a NAK, an answer or silence."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance.dhcp_settings import DhcpSettings, Subnet
from appliance.leases import Lease, LeaseState
from appliance.model import NetBoot
from pxe.client import identify
from pxe.dhcp import NOBODY, MessageType, Packet
from pxe.full import Decision, Exhausted, Guest, Scene, answer_full
from pxe.leases import HOLD_SECONDS, QUARANTINE_SECONDS, Leases
from pxe.policy import Here, Ignore, Reply, answer

HERE = Here(IPv4Address("10.0.0.2"), 80)
NET = Subnet(
    network=IPv4Network("10.0.0.0/24"),
    ranges=((IPv4Address("10.0.0.100"), IPv4Address("10.0.0.103")),),
    lease_seconds=3600,
    router=IPv4Address("10.0.0.1"),
    dns=(None, IPv4Address("10.0.0.9")),
    domain="lan.example",
    ntp=(IPv4Address("10.0.0.8"),),
)
FAR = Subnet(IPv4Network("10.1.0.0/24"), ((IPv4Address("10.1.0.100"), IPv4Address("10.1.0.103")),))
SETTINGS = DhcpSettings((NET, FAR))
KNOWN = Guest(known=True)
MAC = "52:54:00:77:00:01"
OTHER = "52:54:00:77:00:02"
BIOS = ((93, b"\0\0"), (60, b"PXEClient:Arch:00000:UNDI:002001"))
UEFI = ((93, b"\0\7"), (60, b"PXEClient:Arch:00007:UNDI:003000"))
HTTP = ((93, b"\0\x10"), (60, b"HTTPClient:Arch:00016:UNDI:003000"))
IPXE = ((77, b"iPXE"), (175, bytes.fromhex("13 01 01 18 01 01")))
SERVER = (54, HERE.address.packed)
RELAYED = IPv4Address("10.1.0.1")


def asked(address: str) -> tuple[int, bytes]:
    return 50, IPv4Address(address).packed


def packet(
    kind: MessageType,
    *options: tuple[int, bytes],
    mac: str = MAC,
    giaddr: IPv4Address = NOBODY,
    own: str = "",
) -> Packet:
    return Packet(
        op=1,
        xid=7,
        chaddr=bytes.fromhex(mac.replace(":", "")) + bytes(10),
        giaddr=giaddr,
        ciaddr=IPv4Address(own or "0.0.0.0"),
        options=((53, bytes((kind,))), *options),
    )


class Yard:
    """A server between two packets: what is kept is applied as the real one does."""

    def __init__(self, settings: DhcpSettings = SETTINGS) -> None:
        self.settings = settings
        self.leases = Leases()
        self.now = 1000.0

    def say(self, request: Packet, guest: Guest = KNOWN) -> Decision:
        scene = Scene(self.settings, self.leases, HERE, self.now)
        client = identify(request)
        plain = replace(
            request, options=((53, b"\1"), *(one for one in request.options if one[0] not in (53, 54)))
        )
        proxy = answer(plain, client, NetBoot("r1", "", "armed"), HERE)
        decision = answer_full(
            request, client, guest, scene, boot=proxy.packet if isinstance(proxy, Reply) else None
        )
        if decision.drop:
            self.leases.drop(client.mac)
        for lease in decision.keep:
            self.leases.put(lease)
        if decision.hold:
            self.leases.hold(decision.hold)
        return decision

    def reply(self, request: Packet, guest: Guest = KNOWN) -> Packet:
        decision = self.say(request, guest)
        assert isinstance(decision.answer, Reply), decision.answer
        return decision.answer.packet

    def silence(self, request: Packet, guest: Guest = KNOWN) -> str:
        decision = self.say(request, guest)
        assert isinstance(decision.answer, Ignore), decision.answer
        return decision.answer.reason

    def lease(self, mac: str = MAC, *options: tuple[int, bytes], giaddr: IPv4Address = NOBODY) -> IPv4Address:
        """DISCOVER, OFFER, REQUEST, ACK."""
        offer = self.reply(packet(MessageType.DISCOVER, *options, mac=mac, giaddr=giaddr))
        wanted = (50, offer.yiaddr.packed)
        request = packet(MessageType.REQUEST, SERVER, wanted, *options, mac=mac, giaddr=giaddr)
        ack = self.reply(request)
        assert (offer.message_type, ack.message_type) == (MessageType.OFFER, MessageType.ACK)
        assert ack.yiaddr == offer.yiaddr
        return ack.yiaddr


def test_an_offer_says_everything_a_machine_of_the_subnet_needs() -> None:
    offer = Yard().reply(packet(MessageType.DISCOVER), Guest(known=True, name="web1"))
    assert NET.covers(offer.yiaddr)
    assert {code: value.hex(" ") for code, value in offer.options} == {
        53: "02",
        54: "0a 00 00 02",
        51: "00 00 0e 10",
        58: "00 00 07 08",
        59: "00 00 0c 4e",
        1: "ff ff ff 00",
        3: "0a 00 00 01",
        6: "0a 00 00 02 0a 00 00 09",
        12: b"web1".hex(" "),
        15: b"lan.example".hex(" "),
        28: "0a 00 00 ff",
        42: "0a 00 00 08",
    }
    # It boots nothing: no server and no file is named.
    assert (offer.siaddr, offer.file) == (NOBODY, b"")


def test_a_bios_rom_is_told_its_program_in_the_same_packet() -> None:
    offer = Yard().reply(packet(MessageType.DISCOVER, *BIOS))
    assert (offer.siaddr, offer.file) == (HERE.address, b"undionly.kpxe")
    assert offer.option(60) == b"PXEClient" and offer.option(43) == bytes.fromhex("060108ff")
    assert (offer.option(66), offer.option(67)) == (b"10.0.0.2", b"undionly.kpxe")


def test_uefi_is_told_without_the_class_that_would_send_it_to_port_4011() -> None:
    offer = Yard().reply(packet(MessageType.DISCOVER, *UEFI))
    assert (offer.siaddr, offer.file, offer.option(67)) == (HERE.address, b"snponly.efi", b"snponly.efi")
    assert offer.option(60) is None and offer.option(43) is None


def test_uefi_http_boot_is_told_a_url_and_the_class_it_wants() -> None:
    offer = Yard().reply(packet(MessageType.DISCOVER, *HTTP))
    assert offer.option(60) == b"HTTPClient" and offer.option(67) == b"http://10.0.0.2:80/boot/snponly.efi"
    assert offer.option(66) is None


def test_ipxe_is_told_not_to_wait_for_a_proxy() -> None:
    offer = Yard().reply(packet(MessageType.DISCOVER, *BIOS, *IPXE))
    assert offer.option(175) == bytes.fromhex("b00101ff")
    assert offer.file.endswith(b".ipxe")


def test_the_clients_identifier_and_the_relays_option_go_back_the_latter_last() -> None:
    relay = (82, bytes.fromhex("0102aabb"))
    request = packet(MessageType.DISCOVER, relay, (61, b"\1abcdef"), giaddr=RELAYED)
    answer_ = Yard().say(request).answer
    assert isinstance(answer_, Reply)
    assert answer_.destination == ("10.1.0.1", 67)
    assert answer_.packet.options[-2:] == ((61, b"\1abcdef"), relay)


def test_the_relay_says_which_subnet_an_address_comes_from() -> None:
    yard = Yard()
    assert FAR.covers(yard.lease(giaddr=RELAYED))
    assert NET.covers(yard.lease())
    # Link selection (RFC 3527) wins over the address the relay can be reached at.
    selection = (82, bytes.fromhex("0504") + IPv4Address("10.1.0.0").packed)
    assert FAR.covers(yard.lease(OTHER, selection, giaddr=IPv4Address("10.0.0.1")))
    assert "no subnet" in yard.silence(packet(MessageType.DISCOVER, giaddr=IPv4Address("10.9.0.1")))


def test_a_machine_gets_the_same_address_again_after_release_expiry_and_a_lost_store() -> None:
    yard = Yard()
    first = yard.lease()
    assert "gave" in yard.silence(packet(MessageType.RELEASE, SERVER, own=str(first)))
    assert yard.lease() == first
    yard.now += 3601
    assert yard.lease() == first
    assert Yard().lease() == first


def test_a_requested_address_is_given_when_it_is_free() -> None:
    yard = Yard()
    taken = yard.lease(OTHER)
    wanted = next(one for one in ("10.0.0.100", "10.0.0.101") if one != str(taken))
    assert str(yard.lease(MAC, asked(wanted))) == wanted
    third = "52:54:00:77:00:03"
    assert yard.reply(packet(MessageType.DISCOVER, asked(wanted), mac=third)).yiaddr not in (wanted, taken)
    outside = yard.reply(packet(MessageType.DISCOVER, asked("10.0.0.50"), mac=third))
    assert NET.covers(outside.yiaddr)


def test_a_full_range_is_said_and_ends_with_the_first_lease() -> None:
    yard = Yard()
    macs = [f"52:54:00:00:00:{number:02x}" for number in range(4)]
    assert len({yard.lease(mac) for mac in macs}) == 4
    refused = yard.say(packet(MessageType.DISCOVER)).answer
    assert refused == Exhausted("all 4 addresses of 10.0.0.0/24 are taken")
    yard.now += 3601
    assert NET.covers(yard.lease())


def test_an_offer_is_held_for_a_short_time_only() -> None:
    yard = Yard()
    for number in range(4):
        yard.reply(packet(MessageType.DISCOVER, mac=f"52:54:00:00:00:{number:02x}"))
    assert isinstance(yard.say(packet(MessageType.DISCOVER)).answer, Exhausted)
    yard.now += HOLD_SECONDS
    assert NET.covers(yard.lease())


def test_an_offer_lost_by_a_restart_is_honoured_while_nobody_has_the_address() -> None:
    yard = Yard()
    offered = yard.reply(packet(MessageType.DISCOVER)).yiaddr
    yard.leases = Leases()
    ack = yard.reply(packet(MessageType.REQUEST, SERVER, (50, offered.packed)))
    assert (ack.message_type, ack.yiaddr) == (MessageType.ACK, offered)


def test_taking_another_servers_offer_is_silence_and_frees_ours() -> None:
    yard = Yard()
    offered = yard.reply(packet(MessageType.DISCOVER)).yiaddr
    other = (54, IPv4Address("10.0.0.77").packed)
    assert "10.0.0.77" in yard.silence(packet(MessageType.REQUEST, other, (50, offered.packed)))
    assert yard.leases.holder(offered, yard.now) is None


def test_an_address_that_went_to_somebody_else_is_nakked() -> None:
    yard = Yard()
    taken = yard.lease(OTHER)
    nak = yard.say(packet(MessageType.REQUEST, SERVER, (50, taken.packed))).answer
    assert isinstance(nak, Reply) and nak.packet.message_type == MessageType.NAK
    assert nak.destination == ("255.255.255.255", 68)
    assert (nak.packet.yiaddr, nak.packet.siaddr, nak.packet.option(51)) == (NOBODY, NOBODY, None)


# INIT-REBOOT (RFC 2131, 4.3.2).


def test_init_reboot_with_the_right_address_is_an_ack() -> None:
    yard = Yard()
    address = yard.lease()
    ack = yard.reply(packet(MessageType.REQUEST, (50, address.packed)))
    assert (ack.message_type, ack.yiaddr) == (MessageType.ACK, address)


def test_init_reboot_on_the_wrong_network_is_a_nak_even_for_who_is_in_no_record() -> None:
    assert Yard().reply(packet(MessageType.REQUEST, asked("192.168.1.5"))).message_type == MessageType.NAK
    # Through a relay with the broadcast bit, so that it broadcasts it.
    nak = Yard().say(packet(MessageType.REQUEST, asked("10.0.0.100"), giaddr=RELAYED)).answer
    assert isinstance(nak, Reply)
    assert (nak.packet.flags & 0x8000, nak.destination) == (0x8000, ("10.1.0.1", 67))


def test_init_reboot_with_a_wrong_address_of_the_right_network_is_a_nak() -> None:
    yard = Yard()
    address = yard.lease()
    wrong = packet(MessageType.REQUEST, (50, (address + 1).packed))
    assert yard.reply(wrong).message_type == MessageType.NAK


def test_init_reboot_of_who_is_in_no_record_is_silence() -> None:
    assert "no record" in Yard().silence(packet(MessageType.REQUEST, asked("10.0.0.100")))


# RENEWING, REBINDING, INFORM, RELEASE, DECLINE.


def test_a_renewal_extends_the_lease_and_is_answered_by_unicast() -> None:
    yard = Yard()
    address = yard.lease()
    yard.now += 1800
    ack = yard.say(packet(MessageType.REQUEST, own=str(address))).answer
    assert isinstance(ack, Reply)
    assert (ack.destination, ack.packet.yiaddr) == ((str(address), 68), address)
    lease = yard.leases.at(address)
    assert lease and lease.expires == yard.now + 3600


def test_a_renewal_through_a_router_keeps_its_subnet_and_its_port() -> None:
    yard = Yard()
    behind = (82, bytes.fromhex("0102aabb"))
    address = yard.lease(MAC, behind, giaddr=RELAYED)
    ack = yard.reply(packet(MessageType.REQUEST, own=str(address)))
    assert (ack.message_type, ack.yiaddr, ack.option(1)) == (MessageType.ACK, address, b"\xff\xff\xff\0")
    lease = yard.leases.at(address)
    assert lease and lease.port == "10.1.0.1//aabb"


def test_a_renewal_of_an_address_that_is_somebody_elses_is_a_nak() -> None:
    yard = Yard()
    address = yard.lease(OTHER)
    assert yard.reply(packet(MessageType.REQUEST, own=str(address))).message_type == MessageType.NAK


def test_a_renewal_after_the_store_was_lost_is_granted_while_the_address_is_free() -> None:
    assert Yard().reply(packet(MessageType.REQUEST, own="10.0.0.101")).message_type == MessageType.ACK


def test_an_inform_is_told_everything_but_a_lease() -> None:
    yard = Yard()
    ack = yard.say(packet(MessageType.INFORM, own="10.0.0.50")).answer
    assert isinstance(ack, Reply) and ack.destination == ("10.0.0.50", 68)
    assert (ack.packet.yiaddr, ack.packet.option(51)) == (NOBODY, None)
    assert ack.packet.option(3) == IPv4Address("10.0.0.1").packed
    assert "without an address" in yard.silence(packet(MessageType.INFORM, own="192.0.2.1"))


def test_a_declined_address_is_left_alone_for_a_while_and_no_more_than_three() -> None:
    yard = Yard(
        replace(
            SETTINGS,
            subnets=(replace(NET, ranges=((IPv4Address("10.0.0.100"), IPv4Address("10.0.0.109")),)),),
        )
    )
    declined = []
    for _ in range(4):
        address = yard.lease()
        declined.append(address)
        yard.silence(packet(MessageType.DECLINE, SERVER, (50, address.packed)))
    states = [lease.state for address in declined if (lease := yard.leases.at(address))]
    assert states == [LeaseState.DECLINED] * 3 + [LeaseState.RELEASED]
    assert len(set(declined)) == 4
    assert yard.lease(OTHER) not in declined[:3]
    yard.now += QUARANTINE_SECONDS
    assert yard.leases.holder(declined[0], yard.now) is None


@pytest.mark.parametrize("kind", [MessageType.DECLINE, MessageType.RELEASE])
def test_nobody_gives_back_what_is_somebody_elses(kind: MessageType) -> None:
    yard = Yard()
    address = yard.lease(OTHER)
    yard.silence(packet(kind, SERVER, (50, address.packed), own=str(address)))
    lease = yard.leases.at(address)
    assert lease and lease.live(yard.now) and lease.mac == OTHER


# Who gets an address at all.


def test_a_stranger_gets_nothing_and_the_reason_names_the_command() -> None:
    why = Yard().silence(packet(MessageType.DISCOVER), Guest(known=False))
    assert f"distserver machine add {MAC}" in why and "known_only" in why


def test_strangers_that_are_let_in_leave_a_quarter_of_the_range_to_known_machines() -> None:
    yard = Yard(replace(SETTINGS, known_only=False))
    for number in range(3):
        offer = yard.reply(
            packet(MessageType.DISCOVER, mac=f"52:54:00:00:01:{number:02x}"), Guest(known=False)
        )
        assert offer.yiaddr < IPv4Address("10.0.0.103")
    refused = yard.say(packet(MessageType.DISCOVER, mac=OTHER), Guest(known=False)).answer
    assert isinstance(refused, Exhausted) and "nobody made known" in refused.reason
    assert yard.lease() == IPv4Address("10.0.0.103")


def test_one_port_of_a_relay_has_so_many_strangers_and_no_more() -> None:
    yard = Yard(replace(SETTINGS, known_only=False, per_port=2))
    port = (82, bytes.fromhex("0102aabb"))
    for number in range(2):
        stranger = packet(MessageType.DISCOVER, port, mac=f"52:54:00:00:01:{number:02x}", giaddr=RELAYED)
        yard.reply(stranger, Guest(known=False))
    third = packet(MessageType.DISCOVER, port, giaddr=RELAYED)
    assert "per_port" in yard.silence(third, Guest(known=False))
    assert yard.reply(third, KNOWN).yiaddr
    elsewhere = (82, bytes.fromhex("0102aabc"))
    yard.reply(packet(MessageType.DISCOVER, elsewhere, mac=OTHER, giaddr=RELAYED), Guest(known=False))


def test_a_fixed_address_is_its_machines_alone_by_mac_or_by_name() -> None:
    fixed = {MAC: IPv4Address("10.0.0.101"), "web2": IPv4Address("10.0.0.50")}
    yard = Yard(replace(SETTINGS, fixed=fixed))
    offer = yard.reply(packet(MessageType.DISCOVER), Guest(known=False))
    assert offer.yiaddr == fixed[MAC]
    named = yard.reply(packet(MessageType.DISCOVER, mac=OTHER), Guest(known=True, name="web2"))
    assert named.yiaddr == fixed["web2"]
    for number in range(3):
        yard.lease(f"52:54:00:00:00:{number:02x}")
    assert isinstance(yard.say(packet(MessageType.DISCOVER, mac="52:54:00:00:00:99")).answer, Exhausted)


def test_a_machine_that_is_given_a_fixed_address_moves_to_it_at_its_next_renewal() -> None:
    yard = Yard()
    before = yard.lease()
    yard.settings = replace(SETTINGS, fixed={MAC: IPv4Address("10.0.0.50")})
    assert yard.reply(packet(MessageType.REQUEST, own=str(before))).message_type == MessageType.NAK
    assert yard.lease() == IPv4Address("10.0.0.50")
    old = yard.leases.at(before)
    assert old and not old.live(yard.now)


def test_the_servers_own_address_and_the_routers_are_never_given_out() -> None:
    tight = replace(NET, ranges=((IPv4Address("10.0.0.1"), IPv4Address("10.0.0.3")),))
    yard = Yard(replace(SETTINGS, subnets=(tight,)))
    assert yard.lease() == IPv4Address("10.0.0.3")
    assert isinstance(yard.say(packet(MessageType.DISCOVER, mac=OTHER)).answer, Exhausted)


def test_a_shorter_lease_is_given_to_who_asks_for_one_and_a_longer_one_never() -> None:
    def seconds(asked_for: int) -> int:
        wanted = (51, asked_for.to_bytes(4, "big"))
        offer = Yard().reply(packet(MessageType.DISCOVER, wanted))
        return int.from_bytes(offer.option(51) or b"", "big")

    assert [seconds(1), seconds(600), seconds(0xFFFFFFFF)] == [60, 600, 3600]


def test_an_answer_that_is_too_long_leaves_out_what_can_be_done_without() -> None:
    relay = (82, bytes(220))
    request = packet(MessageType.DISCOVER, relay, *UEFI, giaddr=RELAYED)
    yard = Yard(replace(SETTINGS, subnets=(NET, replace(FAR, domain="x." * 20 + "example", ntp=NET.ntp))))
    offer = yard.reply(request)
    assert offer.option(28) is None and offer.option(67) == b"snponly.efi" and offer.option(82) == relay[1]


def test_a_lease_ends_by_the_clock() -> None:
    lease = Lease(IPv4Address("10.0.0.100"), MAC, LeaseState.BOUND, 0, 10)
    assert lease.live(9.9) and not lease.live(10)
