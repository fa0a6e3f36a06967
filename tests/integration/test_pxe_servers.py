"""Ports 67 and 4011 on real sockets, in a namespace of their own, asked by real clients in another."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import Problem
from pxe import dhcp, images
from pxe.dhcp import MessageType
from pxe.images import make_boot_directory
from pxe.programs import GRUB_IMAGES
from pxe.servers import Network, Servers, house_of
from tests.integration.netyard import EVERYBODY, MAC, UEFI, inside, packet, port
from tests.integration.pxe_served import BROKEN, CLIENT, FILES, SERVER, SILENT, Served


@pytest.fixture
def firmware(served: Served) -> Iterator[socket.socket]:
    """A client's port 68."""
    with port(served.client, 68, "eth0") as made:
        yield made


@pytest.fixture
def firmware_4011(served: Served) -> Iterator[socket.socket]:
    """edk2 asks port 4011 from port 4011."""
    with port(served.client, 4011, "eth0") as made:
        yield made


def test_a_broadcast_discover_gets_a_broadcast_offer_from_port_67_of_our_address(
    served: Served, firmware: socket.socket
) -> None:
    before = len(served.director.records)
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI), EVERYBODY)
    datagram, sender = firmware.recvfrom(2048)
    offer = dhcp.decode(datagram)
    assert sender == (SERVER, 67)
    assert (offer.message_type, offer.file, offer.option(43)) == (MessageType.OFFER, b"snponly.efi", None)
    served.wait_for("offer", since=before)


def test_port_4011_answers_edk2_from_4011_to_4011(served: Served, firmware_4011: socket.socket) -> None:
    firmware_4011.sendto(packet(MessageType.REQUEST, *UEFI, ciaddr=CLIENT), (SERVER, 4011))
    datagram, sender = firmware_4011.recvfrom(2048)
    assert sender == (SERVER, 4011)
    assert dhcp.decode(datagram).message_type == MessageType.ACK


def test_junk_a_machine_to_leave_alone_and_a_telephone_get_no_answer(
    served: Served, firmware: socket.socket
) -> None:
    firmware.sendto(b"\x01\x1b[2J", EVERYBODY)
    firmware.sendto(packet(MessageType.DISCOVER, (60, b"android")), EVERYBODY)
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI, mac=SILENT), EVERYBODY)
    last = packet(MessageType.DISCOVER, *UEFI)
    firmware.sendto(last, EVERYBODY)
    # Datagrams keep their order here: the first answer is that to the last question.
    assert dhcp.decode(firmware.recv(2048)).xid == dhcp.decode(last).xid


def test_a_bug_is_logged_with_its_traceback_and_the_next_machine_is_answered(
    served: Served, firmware: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI, mac=BROKEN), EVERYBODY)
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI), EVERYBODY)
    assert dhcp.decode(firmware.recv(2048)).chaddr[:6].hex(":") == MAC
    assert "RuntimeError: a bug" in caplog.text


def test_three_hundred_machines_switched_on_at_once_are_all_offered(
    served: Served, firmware: socket.socket
) -> None:
    firmware.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    macs = {f"52:54:00:78:{number >> 8:02x}:{number & 255:02x}" for number in range(300)}
    for mac in sorted(macs):
        firmware.sendto(packet(MessageType.DISCOVER, *UEFI, mac=mac), EVERYBODY)
    offered = {dhcp.decode(firmware.recv(2048)).chaddr[:6].hex(":") for _ in macs}
    assert offered == macs


# Binding.


def test_a_taken_port_is_a_problem_that_says_who_to_look_for(served: Served) -> None:
    with inside(served.server), pytest.raises(Problem) as caught:
        Servers(Network(("eth0",)), served.director, served.boot).open()
    assert "UDP port 4011 is taken: another PXE service" in str(caught.value)
    assert "ss -ulpn 'sport = :4011'" in str(caught.value)


# The boot directory.


def test_a_missing_boot_program_is_said_with_its_package_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "snponly.efi").write_bytes(b"an earlier one, perhaps without a signature")
    monkeypatch.setattr(images, "IPXE", tmp_path / "nowhere")
    make_boot_directory(boot)
    assert "undionly.kpxe is missing (apt install ipxe)" in caplog.text
    assert sorted(path.name for path in boot.iterdir()) == ["grub-ia32.efi", "local-x64.efi"]
    assert not {platform for platform in house_of(boot).programs if platform[1] != "ia32"}


def test_making_the_boot_directory_again_replaces_its_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        make_boot_directory(tmp_path)
        there = {path.name for path in tmp_path.iterdir()}
        assert there >= {*FILES[:3], "grub-ia32.efi"}
        assert there <= {*FILES[:3], *GRUB_IMAGES}
