"""What each kind of OFFER means for machines, and which setting is named."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance.findings import Finding, Level, worst
from pxe.dhcp import NOBODY, Packet
from pxe.diagnosis import Seen, Us, judge
from pxe.probe import answer_in, discover

US = Us(IPv4Address("10.77.0.2"), IPv4Network("10.77.0.0/24"))
FOREIGN = IPv4Address("10.77.0.1")
DNS = (6, FOREIGN.packed)


def offer(
    *options: tuple[int, bytes],
    arch: int = 7,
    server: IPv4Address = FOREIGN,
    yiaddr: str = "10.77.0.100",
    siaddr: IPv4Address = NOBODY,
    file: bytes = b"",
    giaddr: IPv4Address = NOBODY,
) -> Seen:
    packet = Packet(
        op=2,
        xid=1,
        chaddr=bytes(16),
        yiaddr=IPv4Address(yiaddr),
        siaddr=siaddr,
        giaddr=giaddr,
        file=file,
        options=((53, b"\2"), (54, server.packed), *options),
    )
    return Seen(packet, server, "52:54:00:00:00:01", arch, 0.1)


def about(*offers: Seen, us: Us = US) -> list[Finding]:
    """The findings that are not green."""
    return [finding for finding in judge(offers, us) if finding.level]


def only(*offers: Seen, us: Us = US) -> Finding:
    (finding,) = about(*offers, us=us)
    return finding


def test_a_server_that_only_gives_addresses_is_as_it_should_be() -> None:
    findings = judge([offer(DNS)], US)
    assert worst(findings) is Level.GREEN
    assert any("as it should" in finding.said for finding in findings)


@pytest.mark.parametrize("kind", [b"PXEClient", b"PXEClient:Arch:00007", b"HTTPClient"])
def test_class_60_of_the_dhcp_server_is_red_and_the_setting_of_each_server_is_named(kind: bytes) -> None:
    finding = only(offer(DNS, (60, kind)))
    assert finding.level is Level.RED and "UEFI x64" in finding.said and "option 60" in finding.said
    for setting in ("dhcp-option=60", "vendor-class-identifier", "option 060"):
        assert setting in finding.fix


@pytest.mark.parametrize("seen", [offer(DNS, file=b"pxelinux.0"), offer(DNS, (67, b"pxelinux.0\0"))])
def test_a_boot_file_is_yellow_wherever_it_is_named(seen: Seen) -> None:
    finding = only(seen)
    assert finding.level is Level.YELLOW and "(pxelinux.0)" in finding.said and "`filename`" in finding.fix


def test_another_next_server_is_yellow_and_the_fix_names_our_address() -> None:
    for seen in (offer(DNS, siaddr=FOREIGN), offer(DNS, (66, b"10.77.0.1"))):
        finding = only(seen)
        assert finding.level is Level.YELLOW and "dhcp-boot=,,10.77.0.2" in finding.fix
    assert about(offer(DNS, (66, b"10.77.0.2"), siaddr=US.address, file=b"snponly.efi")) == []


def test_no_dns_server_and_overload_are_yellow() -> None:
    assert "option 6" in only(offer()).said
    assert "option 52" in only(offer(DNS, (52, b"\1"))).said


def test_an_offer_without_a_server_identifier_is_red() -> None:
    seen = offer(DNS)
    nameless = replace(seen, packet=replace(seen.packet, options=((53, b"\2"), DNS)))
    finding = only(nameless)
    assert finding.level is Level.RED and str(FOREIGN) in finding.subject


def test_another_proxy_is_red_beside_a_good_server() -> None:
    proxy = offer((60, b"PXEClient"), server=IPv4Address("10.77.0.9"), yiaddr="0.0.0.0", file=b"other.efi")
    finding = only(offer(DNS), proxy)
    assert finding.level is Level.RED and "10.77.0.9" in finding.subject and "other.efi" in finding.said


def test_two_servers_are_yellow_and_none_is_an_offer_of_full_dhcp() -> None:
    two = only(offer(DNS), offer(DNS, server=IPv4Address("10.77.0.5")))
    assert two.level is Level.YELLOW and "10.77.0.1, 10.77.0.5" in two.said
    none = only()
    assert none.level is Level.YELLOW and "[dhcp]" in none.fix


def test_any_other_server_is_red_when_this_one_gives_out_the_addresses() -> None:
    full = replace(US, full=True, running=True)
    own = offer(DNS, server=US.address)
    assert only(own, offer(DNS), us=full).level is Level.RED
    assert about(own, us=full) == []


def test_this_server_is_expected_to_answer_when_it_runs() -> None:
    running = replace(US, running=True)
    assert only(offer(DNS), us=running).level is Level.RED
    silent = only(offer(DNS), us=replace(running, silent="there is no release"))
    assert silent.level is Level.YELLOW and "there is no release" in silent.said
    own = offer((60, b"PXEClient"), server=US.address, yiaddr="0.0.0.0")
    assert about(offer(DNS), own, us=running) == []
    # What comes from the wire only cannot be heard from here.
    assert about(offer(DNS), us=replace(running, deaf=True)) == []


def test_a_dhcp_server_on_the_same_host_is_judged_like_any_other() -> None:
    own = offer((60, b"PXEClient"), server=US.address, yiaddr="0.0.0.0")
    beside = offer(DNS, (60, b"PXEClient"), server=US.address, siaddr=US.address)
    finding = only(own, beside, us=replace(US, running=True))
    assert finding.level is Level.RED and finding.subject.startswith("DHCP server 10.77.0.2")


def test_relays_and_other_networks_are_named() -> None:
    relayed = only(offer(DNS, giaddr=IPv4Address("10.77.0.254")))
    assert "10.77.0.254" in relayed.said and "ip helper-address 10.77.0.2" in relayed.fix
    assert "no address of 10.77.0.0/24" in only(offer(DNS, yiaddr="192.168.1.4")).said


def test_control_characters_of_a_stranger_do_not_reach_the_terminal() -> None:
    findings = judge([offer(DNS, (60, b"PXEClient\x1b[31m"), (66, b"\x1b[2J"), file=b"\x1b]0;x")], US)
    assert not any("\x1b" in finding.said + finding.fix for finding in findings)


@pytest.mark.parametrize("arch", [0, 7, 11, 16])
def test_the_probe_says_what_firmware_says(arch: int) -> None:
    packet = discover(b"\x52\x54\0\0\0\1", arch, xid=5)
    assert packet.option(93) == arch.to_bytes(2, "big")
    kind, undi = "HTTPClient" if arch == 16 else "PXEClient", "003000" if arch else "002001"
    assert packet.option(60) == f"{kind}:Arch:{arch:05d}:UNDI:{undi}".encode()
    assert len(packet.option(97) or b"") == 17 and packet.flags == 0x8000


@pytest.mark.parametrize(
    "junk", [b"", bytes(60), b"\xff" * 400, bytes(12) + b"\x08\x00" + b"\x4f" + bytes(90)]
)
def test_junk_frames_are_no_answers(junk: bytes) -> None:
    assert answer_in(junk) is None
