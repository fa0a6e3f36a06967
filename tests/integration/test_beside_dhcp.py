"""A DHCP server on the same host keeps port 67 and all of its unicast, and machines still get our OFFER."""

import contextlib
import signal
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.dhcp_settings import DhcpSettings, Subnet
from appliance.errors import Problem
from appliance.run import running
from pxe import dhcp, packets
from pxe.dhcp import MessageType, Packet
from pxe.packets import Datagram
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.netyard import (
    DEADLINE_SECONDS,
    EVERYBODY,
    MAC,
    UEFI,
    Yard,
    inside,
    packet,
    port,
    serving,
    yard,
)
from tests.lonely_registry import LonelyRegistry

SERVER = "10.78.0.2"
# What udhcpc calls when something happens: it does what a real one does, and writes down what happened.
SCRIPT = """#!/bin/sh
echo "$1 $ip" >> "$UDHCPC_LOG"
case $1 in
deconfig) ip addr flush dev "$interface" ;;
bound) ip addr add "$ip/${mask:-24}" dev "$interface" ;;
esac
"""


@pytest.fixture
def net() -> Iterator[Yard]:
    with yard() as made:
        made.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", ""))
        made.ip("client", f"link set eth0 address {MAC}")
        yield made


@contextlib.contextmanager
def dnsmasq(net: Yard, place: Path, *words: str) -> Iterator[Path]:
    """The host's DHCP server, answering; its log."""
    log = place / "dnsmasq.log"
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
    argv += [f"--dhcp-leasefile={place}/leases", f"--pid-file={place}/pid", "--log-dhcp", "--log-facility=-"]
    argv += ["--no-ping", "--dhcp-range=10.78.0.100,10.78.0.150,10m", "--interface=eth0", *words]
    with running(argv, prefix=net.on("server"), output=log):
        said(log, "DHCP, IP range 10.78.0.100")
        yield log


def said(log: Path, words: str, times: int = 1) -> None:
    """Until a log says something so often."""
    wait_until(
        lambda: True if log.exists() and log.read_text(errors="replace").count(words) >= times else None,
        seconds=DEADLINE_SECONDS,
        what=f"{words!r} is in {log.name}",
        last_seen=lambda: log.read_text(errors="replace")[-2000:] if log.exists() else "no log",
    )


BINDING = [(), ("--bind-interfaces",)]


@pytest.mark.parametrize("binding", BINDING)
def test_a_lease_is_given_and_renewed_by_unicast_and_our_offer_comes_too(
    net: Yard, tmp_path: Path, binding: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    script, happened, wire = tmp_path / "script", tmp_path / "happened", tmp_path / "wire"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    tcpdump = ["tcpdump", "-i", "eth0", "-n", "-l", "-v", "udp", "and", f"src port 68 and dst host {SERVER}"]
    client = ["env", f"UDHCPC_LOG={happened}", "busybox", "udhcpc", "-f", "-i", "eth0", "-s", str(script)]
    with (
        dnsmasq(net, tmp_path, *binding) as log,
        serving(net.room("server"), tmp_path / "boot", "eth0"),
        running(tcpdump, prefix=net.on("client"), output=wire),
    ):
        said(wire, "listening on eth0")
        with running(client, prefix=net.on("client"), output=tmp_path / "udhcpc.log") as udhcpc:
            said(happened, "bound 10.78.0.1")
            before = log.read_text().count("DHCPACK(eth0)")
            # udhcpc renews its lease when it gets this, asking the server it has the lease of.
            udhcpc.send_signal(signal.SIGUSR1)
            said(happened, "renew 10.78.0.1")
            said(log, "DHCPACK(eth0)", before + 1)
            said(wire, f".68 > {SERVER}.67")
        with port(net.room("client"), 68, "eth0") as firmware:
            firmware.sendto(packet(MessageType.DISCOVER, *UEFI), EVERYBODY)
            offers = [dhcp.decode(firmware.recv(2048)) for _ in range(2)]
    assert "DHCP from the wire, beside this host's DHCP server" in caplog.text
    (theirs,) = (one for one in offers if int(one.yiaddr))
    (ours,) = (one for one in offers if not int(one.yiaddr))
    assert theirs.option(60) is None
    assert (ours.option(60), ours.file, str(ours.siaddr)) == (b"PXEClient", b"snponly.efi", SERVER)


def test_the_other_server_may_be_started_later_when_the_site_says_that_there_is_one(
    net: Yard, tmp_path: Path
) -> None:
    with (
        serving(net.room("server"), tmp_path / "boot", "eth0", beside_dhcp=True),
        dnsmasq(net, tmp_path),
        port(net.room("client"), 68, "eth0") as firmware,
    ):
        firmware.sendto(packet(MessageType.DISCOVER, *UEFI), EVERYBODY)
        offers = [dhcp.decode(firmware.recv(2048)) for _ in range(2)]
    assert sorted(bool(int(one.yiaddr)) for one in offers) == [False, True]


def test_a_pxe_service_on_the_same_host_is_refused_with_one_sentence(net: Yard, tmp_path: Path) -> None:
    servers = Servers(Network(("eth0",)), FakeDirector(), tmp_path)
    service = ["--pxe-service=X86PC,Boot,pxelinux", "--enable-tftp"]
    with (
        dnsmasq(net, tmp_path, *service),
        inside(net.room("server")),
        pytest.raises(Problem, match="UDP port 4011 is taken: another PXE service"),
    ):
        servers.open()


def frame(data: bytes, *, to: str = "ff:ff:ff:ff:ff:ff", tag: int | None = None) -> bytes:
    """An Ethernet frame with an IP packet, perhaps tagged for a VLAN."""
    addresses = bytes.fromhex(to.replace(":", "")) + bytes.fromhex(MAC.replace(":", ""))
    return addresses + (struct.pack("!HH", 0x8100, tag) if tag else b"") + b"\x08\0" + data


def asking(*, to: str = "255.255.255.255", cut: int = 0, option: bytes = b"", wrong: bool = False) -> bytes:
    """The IP packet of a DISCOVER, with what a wire or a foe may make of it."""
    source = IPv4Address("0.0.0.0")
    discover = packet(MessageType.DISCOVER, *UEFI)
    made = bytearray(packets.encode(Datagram(source, 68, IPv4Address(to), 67, discover)))
    made[6:8] = cut.to_bytes(2, "big")
    if option:
        made[20:20] = option
        made[0] += len(option) // 4
        made[2:4] = len(made).to_bytes(2, "big")
    if wrong:
        made[-1] ^= 1
    header = (made[0] & 15) * 4
    made[10:12] = b"\0\0"
    made[10:12] = packets.checksum(bytes(made[:header])).to_bytes(2, "big")
    return bytes(made)


def xid(data: bytes) -> int:
    return dhcp.decode(packets.decode(data).payload).xid


def heard(firmware: socket.socket) -> Packet:
    return dhcp.decode(firmware.recv(2048))


def test_of_raw_frames_only_whole_good_ones_for_this_host_are_answered(net: Yard, tmp_path: Path) -> None:
    net.ip("server", "addr add 10.78.3.2/24 dev eth0")
    bad = [
        frame(asking(cut=0x2000)),
        frame(asking(cut=0x0010)),
        frame(asking(wrong=True)),
        frame(asking(), to="52:54:00:99:99:99"),
        frame(asking(), tag=7),
        frame(asking(to="10.78.9.9")),
        frame(b"\x45" + bytes(9) + b"\x11"),
    ]
    good = [asking(), asking(to="10.78.0.255"), asking(option=b"\1\1\1\0"), asking(cut=0x4000)]
    with (
        serving(net.room("server"), tmp_path / "boot", "eth0", beside_dhcp=True),
        port(net.room("client"), 68, "eth0") as firmware,
        inside(net.room("client")),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
    ):
        wire.bind(("eth0", 0))
        for one in bad:
            wire.send(one)
        for one in good:
            wire.send(frame(one))
        # Frames keep their order: had a bad one been answered, that answer would come first.
        assert [heard(firmware).xid for _ in good] == [xid(one) for one in good]


@pytest.mark.parametrize("beside_dhcp", [False, True])
def test_a_relay_is_answered_from_the_address_it_sent_to_wherever_its_route_leads(
    net: Yard, tmp_path: Path, beside_dhcp: bool
) -> None:
    # Its packets for eth0's address come in by eth1, and eth0's network has no way to it.
    net.wire(("server", "eth1", "10.78.1.2/24"), ("router", "eth0", "10.78.1.1/24"))
    net.ip("router", "addr add 10.99.0.1/24 dev lo")
    net.ip("router", f"route add {SERVER}/32 via 10.78.1.2")
    net.ip("server", "route add 10.99.0.0/24 via 10.78.1.1")
    circuit = (82, b"\1\4port")
    with (
        serving(net.room("server"), tmp_path / "boot", "eth0", "eth1", beside_dhcp=beside_dhcp),
        port(net.room("router"), 67, address="10.99.0.1") as relay,
    ):
        relay.sendto(packet(MessageType.DISCOVER, *UEFI, circuit, giaddr="10.99.0.1"), (SERVER, 67))
        datagram, sender = relay.recvfrom(2048)
        offer = dhcp.decode(datagram)
        assert sender == (SERVER, 67)
        assert (str(offer.siaddr), str(offer.server), str(offer.giaddr)) == (SERVER, SERVER, "10.99.0.1")
        assert offer.option(82) == circuit[1]
        with port(net.room("router"), 4011, address="10.99.0.1") as machine:
            machine.sendto(packet(MessageType.REQUEST, *UEFI, ciaddr="10.99.0.1"), (SERVER, 4011))
            datagram, sender = machine.recvfrom(2048)
        assert sender == (SERVER, 4011)
        assert str(dhcp.decode(datagram).siaddr) == SERVER


def test_full_dhcp_is_refused_beside_another_server_of_this_host(net: Yard, tmp_path: Path) -> None:
    # Its own questions do not come back to this host, so no probe would find it.
    full = LonelyRegistry(DhcpSettings(subnets=(Subnet(IPv4Network("10.78.0.0/24"), ()),)))
    opening = Servers(Network(("eth0",)), FakeDirector(), tmp_path, None, full)
    with (
        dnsmasq(net, tmp_path),
        inside(net.room("server")),
        pytest.raises(Problem, match="UDP port 67 is taken: a DHCP server"),
    ):
        opening.open()
