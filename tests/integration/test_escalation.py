"""On the wire: who does not follow is offered something else; the advice for the other server works."""

import re
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.run import run, running
from appliance.strategies import Strategy
from pxe import dhcp
from pxe.client import identify
from pxe.dhcp import MessageType, Packet
from tests import boot_packets
from tests.boot_packets import BIOS, IPXE, UEFI
from tests.integration.netyard import DEADLINE_SECONDS, EVERYBODY, MAC, Yard, packet, port, serving, yard

SERVER, CLIENT = "10.78.0.2", "10.78.0.3"


@pytest.fixture
def net() -> Iterator[Yard]:
    with yard() as made:
        made.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", f"{CLIENT}/24"))
        yield made


def ask(asking: socket.socket, request: Packet) -> Packet:
    """The answer to this very request; it is sent until one comes."""
    asking.settimeout(0.3)

    def answered() -> Packet | None:
        asking.sendto(dhcp.encode(request), EVERYBODY)
        try:
            return dhcp.decode(asking.recv(2048))
        except TimeoutError:
            return None

    return wait_until(answered, seconds=DEADLINE_SECONDS, what="an OFFER comes")


def test_what_a_machine_follows_at_last_is_remembered(net: Yard, tmp_path: Path) -> None:
    with (
        serving(net.room("server"), tmp_path / "boot", "eth0") as director,
        port(net.room("client"), 68, "eth0") as asking,
    ):
        offered = []
        for secs in (0, 4, 12):
            offer = ask(asking, boot_packets.packet(MessageType.DISCOVER, *UEFI, mac=MAC, secs=secs))
            vendor = offer.option(43) or b""
            offered.append("direct" if vendor == b"\6\1\x08\xff" else "menu" if vendor else "binl")
        assert offered == ["binl", "direct", "menu"]
        # The lease it takes says where it is; that it asks for the menu's item and the file: it follows.
        lease = ((54, IPv4Address("10.78.0.1").packed), (50, IPv4Address(CLIENT).packed))
        asking.sendto(packet(MessageType.REQUEST, *UEFI, *lease, mac=MAC), EVERYBODY)
        item = (43, bytes.fromhex("47 04 80 00 00 00 ff"))
        with port(net.room("client"), 4011, address=CLIENT) as boot_server:
            boot_server.sendto(
                packet(MessageType.REQUEST, *UEFI, item, mac=MAC, ciaddr=CLIENT), (SERVER, 4011)
            )
            answer = dhcp.decode(boot_server.recv(2048))
        assert answer.file == b"snponly.efi" and answer.option(43) == item[1]
        url = f"tftp://{SERVER}//{answer.file.decode()}"
        run(["curl", "-sS", "-o", tmp_path / "got", url], prefix=net.on("client"))
        kind = identify(boot_packets.packet(MessageType.DISCOVER, *UEFI, mac=MAC)).kind
        wait_until(lambda: director.won or None, seconds=DEADLINE_SECONDS, what="it is remembered")
        assert director.won == [(MAC, kind, Strategy.MENU)]
        again = boot_packets.packet(MessageType.DISCOVER, *UEFI, mac=MAC, xid=7)
        assert ask(asking, again).option(43) == offer.option(43)


def advised(text: str, title: str) -> str:
    """The indented lines below a title of the advice."""
    found = re.search(rf"^{re.escape(title)}.*\n((?:  .*\n?)+)", text, re.MULTILINE)
    assert found, text
    return found[1]


def test_dnsmasq_with_the_advised_lines_names_our_programs(net: Yard, tmp_path: Path) -> None:
    with (
        serving(net.room("server"), tmp_path / "boot", "eth0") as director,
        port(net.room("client"), 68, "eth0") as asking,
    ):
        for secs in range(0, 20, 4):
            ask(asking, boot_packets.packet(MessageType.DISCOVER, *UEFI, mac=MAC, secs=secs))
        (said,) = [one.message for one in director.records if one.status == "failed"]
    config = tmp_path / "dnsmasq.conf"
    config.write_text(advised(said, "dnsmasq.conf:"))
    run(["dnsmasq", "--test", f"--conf-file={config}"])
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--port=0",
        "--interface=eth0",
        "--bind-interfaces",
        "--no-ping",
    ]
    words += ["--user=root", "--pid-file=", "--leasefile-ro", "--dhcp-range=10.78.0.100,10.78.0.199,1h"]
    with (
        running([*words, f"--conf-file={config}"], prefix=net.on("server"), output=tmp_path / "log"),
        port(net.room("client"), 68, "eth0") as asking,
    ):
        firmware = ask(asking, boot_packets.packet(MessageType.DISCOVER, *UEFI, mac=MAC))
        assert (firmware.file, str(firmware.siaddr)) == (b"snponly.efi", SERVER)
        assert firmware.option(60) is None and firmware.option(43) is None
        chained = ask(asking, boot_packets.packet(MessageType.DISCOVER, *UEFI, *IPXE, mac=MAC, xid=2))
        assert chained.file == f"http://{SERVER}:80/boot/${{net0/mac}}.ipxe".encode()
        other = ask(asking, boot_packets.packet(MessageType.DISCOVER, *BIOS, mac="52:54:00:77:00:02", xid=3))
        assert other.file == b""
