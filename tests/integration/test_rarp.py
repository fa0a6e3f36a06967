"""A SPARC machine's first steps on a real wire: RARP, then plain TFTP of the file named by its address."""

import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.model import NetBoot
from appliance.run import Argument, run
from pxe import rarp
from tests.fake_director import FakeDirector
from tests.integration.netyard import MAC, Yard, inside, serving, yard
from tests.integration.rarp_client import frame, load

OTHER = "08:00:20:11:22:33"
STRANGER = "08:00:20:99:99:99"


@pytest.fixture
def net() -> Iterator[Yard]:
    with yard() as made:
        made.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", ""))
        made.ip("client", f"link set eth0 address {MAC}")
        yield made


def test_a_known_machine_gets_its_address_and_then_its_boot_program(net: Yard, tmp_path: Path) -> None:
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "sparc64.img").write_bytes(b"a program for SPARC" * 5000)
    reserved = {MAC: IPv4Address("10.78.0.33"), OTHER: IPv4Address("10.78.0.34")}
    director = FakeDirector({"*": NetBoot("r1", "", "armed")}, reservations=reserved)
    with serving(net.room("server"), boot, "eth0", director=director):
        with inside(net.room("client")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("eth0", rarp.ETHERTYPE))
            wire.settimeout(5)
            bad = frame(STRANGER), frame(MAC, to=STRANGER), frame(MAC, tag="8100 0007"), frame(MAC)[:40]
            for one in (*bad, frame(OTHER)):
                wire.send(one)
            # Frames keep their order: had a bad one been answered, that answer would come first.
            assert wire.recv(2048)[:6].hex(":") == OTHER
            wire.send(frame(MAC))
            reply = wire.recv(2048)
        server = reply[6:12]
        assert reply[:6].hex(":") == MAC
        assert reply[12:22] == bytes.fromhex("8035 0001 0800 0604 0004")
        assert reply[22:28] == server
        assert (IPv4Address(reply[28:32]), reply[32:38].hex(":")) == (IPv4Address("10.78.0.2"), MAC)
        assert IPv4Address(reply[38:42]) == IPv4Address("10.78.0.33")
        # OpenBoot takes the address and asks who answered, with no options at all.
        net.ip("client", "addr add 10.78.0.33/24 dev eth0")
        got = tmp_path / "got"
        words: list[Argument] = ["busybox", "tftp", "-g", "-r", "0A4E0021", "-l", got, "10.78.0.2"]
        run(words, prefix=net.on("client"))
        assert got.read_bytes() == (boot / "sparc64.img").read_bytes()


def test_a_machine_that_is_to_be_installed_gets_the_image_of_its_release(net: Yard, tmp_path: Path) -> None:
    boot, releases = tmp_path / "boot", tmp_path / "releases"
    boot.mkdir()
    (boot / "sparc64.img").write_bytes(b"for all others")
    (releases / "r1").mkdir(parents=True)
    (releases / "r1/sparc64.img").write_bytes(b"kernel and installer of r1" * 4000)
    director = FakeDirector(
        {MAC: NetBoot("r1", "", "armed"), OTHER: NetBoot("r2", "", "armed")},
        reservations={MAC: IPv4Address("10.78.0.33"), OTHER: IPv4Address("10.78.0.34")},
        releases=releases,
    )
    with serving(net.room("server"), boot, "eth0", director=director):
        for mac, address, kind, expected in (
            (MAC, "10.78.0.33", "SUN4U", releases / "r1/sparc64.img"),
            (OTHER, "10.78.0.34", "", boot / "sparc64.img"),
        ):
            got = tmp_path / f"got{kind}"
            assert load(net.room("client"), mac, kind=kind, output=got) == IPv4Address(address)
            assert got.read_bytes() == expected.read_bytes()
