"""Templated OFFERs are those that the policy words, byte for byte; what to boot is looked up for each."""

import logging
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.farm_model import Release
from appliance.model import BootTarget, Machine, MachineState, Silence, Tree
from appliance.services import Services, init_site
from appliance.store import Store
from appliance.strategies import Strategy
from pxe import dhcp, templates
from pxe.client import identify
from pxe.dhcp import MessageType, Packet
from pxe.policy import USUAL_HOUSE, Ignore, answer, refuse
from pxe.responder import Responder
from pxe.sightings import Sightings
from pxe.templates import Answered, Templates, encoded
from tests.boot_packets import BIOS, HERE, HTTP, IPXE, LINK, LOCAL, NETBOOT, UEFI, UUID, packet
from tests.pxe_lan import PxeLan

POOR_IPXE = ((77, b"iPXE"), (175, bytes.fromhex("150101")))
OUR_IPXE = ((77, b"DistServer"), (175, bytes.fromhex("130101")))
PI = ((93, b"\0\0"), (60, b"PXEClient:Arch:00000:UNDI:002001"))
U_BOOT = ((93, b"\0\x16"), (60, b"U-Boot.armv8"))
CLIENTS = (
    BIOS,
    UEFI,
    HTTP,
    (*BIOS, *IPXE),
    (*UEFI, *IPXE),
    (*UEFI, *POOR_IPXE),
    (*UEFI, *OUR_IPXE),
    PI,
    U_BOOT,
    ((93, b"\0\7"), (60, b"HW-Client")),
    ((93, b"\0\x0b"), (60, b"PXEClient")),
)
MACS = ("52:54:00:77:00:01", "52:54:00:77:00:02", "b8:27:eb:00:00:01", "02:00:00:00:00:01")
TARGETS: tuple[BootTarget, ...] = (NETBOOT, LOCAL, Silence("nothing to boot"))


@st.composite
def discovers(draw: st.DrawFn) -> Packet:
    options = draw(st.sampled_from(CLIENTS))
    identity = draw(st.sampled_from([None, UUID, bytes(17), b"\0RPi4" + bytes(12), b"\1short"]))
    relay = draw(st.sampled_from([(), ((82, b"\1\4eth0"),), ((82, b"\2" * 300),), ((82, b""),)]))
    most = draw(st.sampled_from([b"\x05\xc0", b"\x02\x24"]))
    made = packet(
        MessageType.DISCOVER,
        *options,
        *relay,
        machine_id=identity,
        mac=draw(st.sampled_from(MACS)),
        giaddr=draw(st.sampled_from(["0.0.0.0", "10.9.0.1", "10.8.0.1"])),
        flags=draw(st.sampled_from([0, 0x8000])),
        xid=draw(st.integers(0, 2**32 - 1)),
        secs=draw(st.integers(0, 2**16 - 1)),
    )
    sized = tuple((code, most if code == 57 else value) for code, value in made.options)
    return replace(made, options=sized, htype=draw(st.sampled_from([1, 6])))


asked = st.tuples(discovers(), st.permutations(TARGETS), st.sampled_from([None, *Strategy]), st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(asked, min_size=1, max_size=12))
def test_a_templated_offer_is_the_one_that_the_policy_words(
    questions: list[tuple[Packet, list[BootTarget], Strategy | None, bool]],
) -> None:
    made = Templates(HERE)
    for request, targets, strategy, has_pi in questions:
        # As it comes from the wire.
        request = dhcp.decode(dhcp.encode(request))
        client, house = identify(request, ("HW-Client",)), replace(USUAL_HOUSE, raspberry_pi=has_pi)
        if refuse(request, client, HERE, port=67, house=house):
            continue
        for target in targets:
            plain = answer(request, client, target, HERE, strategy=strategy, house=house)
            expected = plain if isinstance(plain, Ignore) else encoded(plain)
            assert made.offer(request, client, target, strategy=strategy, house=house) == expected


def test_kinds_that_strangers_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "_MOST", 5)
    made = Templates(HERE)
    for number in range(20):
        # More architectures after the one that counts.
        request = packet(MessageType.DISCOVER, (93, bytes((0, 7, 0, number))), (60, b"PXEClient"))
        client = identify(request)
        assert isinstance(made.offer(request, client, NETBOOT, strategy=None, house=USUAL_HOUSE), Answered)
        assert len(made._known) <= 5


def test_a_decoded_packet_is_one_that_was_made() -> None:
    made = packet(MessageType.DISCOVER, *UEFI, giaddr="10.9.0.1")
    read = dhcp.decode(dhcp.encode(made))
    assert read == made and repr(read) == repr(made) and hash(read) == hash(made)
    later = replace(read, options=((53, b"\5"),))
    assert later.option(53) == b"\5" and later.option(93) is None


def test_clients_that_say_the_same_are_themselves() -> None:
    one = identify(packet(MessageType.DISCOVER, *UEFI, mac=MACS[0], machine_id=bytes(17)))
    assert one.uuid == ""
    other = identify(packet(MessageType.DISCOVER, *UEFI, mac=MACS[2]))
    assert (one.mac, other.mac) == (MACS[0], MACS[2]) and other.uuid and one != other
    assert one.kind != other.kind and one.like == other.like
    assert identify(packet(MessageType.DISCOVER, (93, b"\0\7"), (60, b"HW-Client"))).vendor_class == ""
    named = identify(packet(MessageType.DISCOVER, (93, b"\0\7"), (60, b"HW-Client")), ["HW-Client"])
    assert named.vendor_class == "HW-Client"


def test_the_very_next_discover_is_answered_as_another_process_has_it(tmp_path: Path) -> None:
    init_site(tmp_path / "site")
    tree = Tree(tmp_path / "state")
    desk, other = Services(tmp_path / "site", tree).desk, Store(tree.store)
    sent: list[bytes] = []
    # One moment: whoever asks again in it is offered the same strategy.
    responder = Responder(
        desk, 80, Sightings(), lambda _port, data, _to, _link: sent.append(data), clock=lambda: 1000.0
    )
    question = dhcp.encode(packet(MessageType.DISCOVER, *UEFI))

    def offered() -> bytes | None:
        sent.clear()
        with desk.moment():
            responder.receive(question, ("0.0.0.0", 68), port=67, link=LINK)
        return dhcp.decode(sent[0]).file if sent else None

    assert offered() is None
    other.releases.add(Release("20260101-0123456789ab", "vm", 1.0, "none", 0, 0))
    netboot = offered()
    assert netboot
    other.machines.add(Machine(MACS[0], MachineState.ASSIGNED, profile="vm"))
    local = offered()
    assert local and local != netboot
    other.machines.set_lends(MACS[0], lends=True)
    assert offered() == netboot
    other.releases.forget("20260101-0123456789ab")
    assert offered() is None


def test_machines_that_are_alike_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    lan = PxeLan()
    caplog.set_level(logging.INFO)
    for mac in MACS[:2]:
        for _ in range(2):
            lan.ask(packet(MessageType.DISCOVER, *UEFI, mac=mac))
    assert lan.responder.has_to_tell and "told to boot" not in caplog.text
    lan.responder.tell()
    said = [one.message for one in caplog.records if "told to boot" in one.message]
    title = "UEFI x64, PXEClient"
    assert said == [f"{MACS[0]}, {MACS[1]} ({title}) told to boot snponly.efi on port 67"]
    assert not lan.responder.has_to_tell


@pytest.mark.parametrize("further", [(), IPXE], ids=["alike", "each its own script"])
def test_what_waits_to_be_told_is_bounded(
    caplog: pytest.LogCaptureFixture, further: tuple[tuple[int, bytes], ...]
) -> None:
    lan = PxeLan()
    caplog.set_level(logging.INFO)
    for number in range(100):
        lan.ask(packet(MessageType.DISCOVER, *UEFI, *further, mac=f"02:00:00:00:00:{number:02x}"))
        waiting = lan.responder._told.values()
        assert len(waiting) < 32 and all(len(macs) < 32 for macs in waiting)
    lan.responder.tell()
    assert all(caplog.text.count(f"02:00:00:00:00:{number:02x}") for number in range(100))


def test_a_relay_has_its_own_address_in_a_templated_offer() -> None:
    lan = PxeLan()
    for relay in ("10.9.0.1", "0.0.0.0", "10.8.0.1"):
        lan.ask(packet(MessageType.DISCOVER, *UEFI, giaddr=relay))
        _, offer, destination = lan.sent[-1]
        assert offer.giaddr == IPv4Address(relay)
        assert destination == ((relay, 67) if relay != "0.0.0.0" else ("255.255.255.255", 68))
