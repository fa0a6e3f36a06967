"""Datagrams in and out: who does not follow is offered another strategy, and what wins is kept."""

from ipaddress import IPv4Address

import pytest

from appliance.net_settings import NetSettings
from appliance.stages import Stage
from appliance.strategies import Preference, Source, Strategy
from pxe.client import identify
from pxe.dhcp import MessageType
from tests.boot_packets import BIOS, HTTP, IPXE, MAC, UEFI, packet
from tests.pxe_lan import ADDRESS, FOREIGN, PxeLan

KIND = identify(packet(MessageType.DISCOVER, *UEFI)).kind


def test_a_machine_that_asks_again_is_offered_the_next_strategy() -> None:
    assert PxeLan().boot(xid=1) == ["binl", "direct", "menu", "binl"]


def test_what_it_followed_is_remembered_for_it_and_for_its_kind() -> None:
    lan = PxeLan()
    lan.discover(secs=0)
    lan.now += 4
    assert lan.discover(secs=4) == "direct"
    lan.fetch()
    assert lan.director.won == [(MAC, KIND, Strategy.DIRECT)]
    assert lan.boot(xid=2) == ["direct"] * 4


@pytest.mark.parametrize("subject", [MAC, KIND])
def test_what_the_store_knows_is_offered_first(subject: str) -> None:
    lan = PxeLan()
    source = Source.MACHINE if subject == MAC else Source.KIND
    lan.director.preferences[subject] = Preference(Strategy.MENU, source)
    assert lan.discover() == "menu"


def test_a_retry_after_4011_was_asked_keeps_the_strategy() -> None:
    lan = PxeLan()
    assert lan.discover(xid=1) == "binl"
    question = packet(MessageType.REQUEST, *UEFI, ciaddr=ADDRESS, flags=0, xid=1)
    assert lan.ask(question, port=4011, sender=(ADDRESS, 4011)) is not None
    lan.now += 40
    assert lan.discover(xid=2) == "binl"


def test_bios_begins_with_direct_and_ipxe_and_http_boot_are_left_alone() -> None:
    lan = PxeLan()
    assert lan.discover(*BIOS) == "direct"
    for secs in (0, 4, 12):
        assert lan.discover(*BIOS, *IPXE, secs=secs, xid=2) == "binl"
        assert lan.discover(*HTTP, secs=secs, xid=3) == "binl"
        lan.now += 4


def test_a_machine_that_tries_uefi_and_bios_in_turn_is_offered_every_strategy_as_both() -> None:
    lan = PxeLan()
    offered: dict[tuple[tuple[int, bytes], ...], list[str]] = {UEFI: [], BIOS: []}
    for xid in range(6):
        firmware = BIOS if xid % 2 else UEFI
        offered[firmware].append(lan.discover(*firmware, xid=xid))
        lan.now += 40
    assert offered == {UEFI: ["binl", "direct", "menu"], BIOS: ["direct", "binl", "menu"]}
    lan.fetch()
    assert [kind for _, kind, _ in lan.director.won] == ["PXEClient 52:54:00 0"]


def test_after_a_full_cycle_one_event_names_the_options_for_the_other_server() -> None:
    lan = PxeLan()
    lan.ask(packet(MessageType.REQUEST, *UEFI, (54, FOREIGN.packed), (50, IPv4Address(ADDRESS).packed)))
    for xid in range(1, 4):
        lan.boot(xid)
    (said,) = lan.alarms()
    assert "option 66 (next-server) 10.77.0.2, option 67 (filename) snponly.efi" in said
    assert "set on 10.77.0.1 for architecture 7" in said
    for line in (
        "dhcp-match=set:arch7,option:client-arch,7",
        "dhcp-boot=tag:arch7,tag:!ipxe,snponly.efi,10.77.0.2,10.77.0.2",
        'elsif option client-arch = 7 { filename "snponly.efi"; }',
        "option[93].hex == 0x0007",
        "http://10.77.0.2:80/boot/${net0/mac}.ipxe",
    ):
        assert line in said
    assert next(one for one in lan.director.records if one.status == "failed").stage == Stage.OFFER


def test_a_machine_that_took_no_lease_is_said_to_have_taken_none() -> None:
    lan = PxeLan()
    lan.boot(1)
    assert "not seen to take an address" in lan.alarms()[0]


def test_an_ipxe_without_http_is_given_ours_once_in_a_boot() -> None:
    lan = PxeLan()
    poor = packet(MessageType.DISCOVER, *BIOS, (77, b"iPXE"), (175, bytes.fromhex("21 01 01")))
    for _ in range(2):
        offer = lan.ask(poor)
        assert offer is not None and offer.file == b"tftp://10.77.0.2/undionly.kpxe"
    lan.fetch()
    lan.now += 5
    assert lan.ask(poor) is None
    # What was chained and is fit gets its script; and so it is at the next boot.
    assert lan.ask(packet(MessageType.DISCOVER, *BIOS, *IPXE)) is not None
    lan.now += 300
    assert lan.ask(poor) is not None


def test_a_vendor_class_of_the_site_is_answered() -> None:
    lan = PxeLan(settings=NetSettings(vendor_classes=("ACME",)))
    acme = packet(MessageType.DISCOVER, (93, b"\0\7"), (60, b"ACME boot 1.0"))
    offer = lan.ask(acme)
    assert offer is not None and offer.option(60) == b"ACME"


@pytest.mark.parametrize("strategy", Strategy)
def test_a_relayed_offer_goes_to_the_relay_with_option_82_last_whatever_the_strategy(
    strategy: Strategy,
) -> None:
    lan = PxeLan()
    lan.director.preferences[MAC] = Preference(strategy, Source.SITE)
    agent = (82, bytes.fromhex("01 04 00 01 00 02 02 06 52 54 00 aa bb cc"))
    lan.ask(packet(MessageType.DISCOVER, agent, *UEFI, giaddr="10.9.0.1", flags=0), sender=("10.9.0.1", 67))
    port, offer, destination = lan.sent[-1]
    assert (port, destination) == (67, ("10.9.0.1", 67))
    assert offer.options[-1] == agent
    assert offer.giaddr == IPv4Address("10.9.0.1") and offer.flags == 0x8000
