"""Several links, real sockets: every machine is answered by the interface it is heard on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from pxe import dhcp
from pxe.dhcp import MessageType
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.netyard import MAC, UEFI, Yard, discover, inside, packet, port, serving, yard


@pytest.fixture
def net() -> Iterator[Yard]:
    with yard() as made:
        yield made


def three_lans(net: Yard) -> None:
    """The server on a wire, on a VLAN of that wire, and on a second wire; a client on each."""
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    for room, address in (("server", "10.78.5.2/24"), ("client", "10.78.5.3/24")):
        net.vlan(room, "eth0", 5, address)
    net.wire(("server", "eth1", "10.78.1.2/24"), ("other", "eth0", "10.78.1.3/24"))


LANS = [("client", "eth0", "10.78.0"), ("client", "eth0.5", "10.78.5"), ("other", "eth0", "10.78.1")]


def test_each_machine_is_told_the_address_of_the_interface_it_is_heard_on(net: Yard, tmp_path: Path) -> None:
    three_lans(net)
    with serving(net.room("server"), tmp_path / "boot", "eth0", "eth0.5", "eth1"):
        for room, interface, lan in LANS:
            server = f"{lan}.2"
            with port(net.room(room), 68, interface) as asking:
                offer = discover(asking)
            assert (str(offer.siaddr), offer.sname.decode(), str(offer.server)) == (server,) * 3
            with port(net.room(room), 4011, address=f"{lan}.3") as asking:
                asking.sendto(packet(MessageType.REQUEST, *UEFI, ciaddr=f"{lan}.3"), (server, 4011))
                datagram, sender = asking.recvfrom(2048)
            assert sender == (server, 4011)
            assert str(dhcp.decode(datagram).siaddr) == server
            got = tmp_path / lan
            run(["curl", "-sS", "-o", got, f"tftp://{server}//snponly.efi"], prefix=net.on(room))
            assert got.read_bytes() == (tmp_path / "boot" / "snponly.efi").read_bytes()
            script = run(["curl", "-sS", f"http://{server}/boot/{MAC}.ipxe"], prefix=net.on(room)).stdout
            assert f"kernel http://{server}:80/r/r1/kernel" in script


def test_an_interface_that_was_not_named_is_left_alone(net: Yard, tmp_path: Path) -> None:
    three_lans(net)
    with serving(net.room("server"), tmp_path / "boot", "eth1"):
        with port(net.room("client"), 68, "eth0") as silent, port(net.room("other"), 68, "eth0") as asking:
            silent.sendto(packet(MessageType.DISCOVER, *UEFI), ("255.255.255.255", 67))
            assert str(discover(asking).siaddr) == "10.78.1.2"
            silent.settimeout(0.0)
            with pytest.raises(BlockingIOError):
                silent.recv(2048)
        with port(net.room("server"), 69, address="10.78.0.2"):
            pass


def test_of_several_addresses_the_first_is_used_or_the_one_the_site_names(net: Yard, tmp_path: Path) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    net.ip("server", "addr add 10.78.0.7/24 dev eth0")
    for asked, used in (("", "10.78.0.2"), ("10.78.0.7", "10.78.0.7")):
        with (
            serving(net.room("server"), tmp_path / "boot", "eth0", address=asked),
            port(net.room("client"), 68, "eth0") as asking,
        ):
            assert str(discover(asking).server) == used


def test_a_port_taken_on_one_link_leaves_none_open(net: Yard, tmp_path: Path) -> None:
    three_lans(net)
    servers = Servers(Network(("eth0", "eth1")), FakeDirector(), tmp_path)
    taken = pytest.raises(Problem, match="UDP port 69 is taken: another TFTP server")
    with port(net.room("server"), 69, address="10.78.1.2"), inside(net.room("server")), taken:
        servers.open()
    with port(net.room("server"), 67):
        pass
