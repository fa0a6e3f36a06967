"""Several links, real sockets: every machine is answered by the interface it is heard on."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.run import run
from pxe import dhcp, servers
from pxe.dhcp import MessageType
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.netyard import (
    DEADLINE_SECONDS,
    MAC,
    UEFI,
    Yard,
    discover,
    inside,
    packet,
    port,
    serving,
    yard,
)


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
    opening = Servers(Network(("eth0", "eth1")), FakeDirector(), tmp_path)
    taken = pytest.raises(Problem, match="UDP port 69 is taken: another TFTP server")
    with port(net.room("server"), 69, address="10.78.1.2"), inside(net.room("server")), taken:
        opening.open()
    with port(net.room("server"), 67):
        pass


def test_servers_that_are_cancelled_leave_nothing_running(net: Yard, tmp_path: Path) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    (tmp_path / "boot").mkdir()
    opening = Servers(Network(("eth0",)), FakeDirector(), tmp_path / "boot")

    async def cancelled() -> set[str]:
        opening.open()
        serving = asyncio.create_task(opening.serve(asyncio.Event()))
        async with asyncio.timeout(DEADLINE_SECONDS):
            reader, writer = await asyncio.open_connection("10.78.0.2", 80)
            writer.write(b"GET /boot/none HTTP/1.0\r\n\r\n")
            assert b"404" in await reader.readline()
            writer.close()
            serving.cancel()
            await asyncio.wait({serving})
        return {str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    with inside(net.room("server")):
        assert asyncio.run(cancelled()) == set()


# Links that come, change and go while it runs.

BESIDE = pytest.mark.parametrize("beside_dhcp", [False, True])


def offered_by(net: Yard, server: str, room: str = "client") -> None:
    """Until a machine is told an address, in the OFFER and by port 4011 and TFTP there."""
    with port(net.room(room), 68, "eth0") as asking:
        wait_until(
            lambda: True if str(discover(asking).siaddr) == server else None,
            seconds=DEADLINE_SECONDS,
            what=f"{server} is offered",
        )
    with port(net.room(room), 4011) as asking:
        asking.sendto(packet(MessageType.REQUEST, *UEFI), (server, 4011))
        assert asking.recvfrom(2048)[1] == (server, 4011)
    words = ["curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{size_download}"]
    for url in (f"tftp://{server}//snponly.efi", f"http://{server}/boot/snponly.efi"):
        assert run([*words, url], prefix=net.on(room)).stdout == "14000"


@BESIDE
def test_an_interface_that_comes_later_is_served_as_soon_as_it_has_an_address(
    net: Yard, tmp_path: Path, caplog: pytest.LogCaptureFixture, beside_dhcp: bool
) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    with serving(net.room("server"), tmp_path / "boot", "eth0", "eth1", beside_dhcp=beside_dhcp):
        offered_by(net, "10.78.0.2")
        assert "waiting: there is no network interface 'eth1'" in caplog.text
        net.wire(("server", "eth1", ""), ("other", "eth0", "10.78.1.3/24"))
        wait_until(
            lambda: True if "waiting: eth1 has no IPv4 address" in caplog.text else None,
            seconds=DEADLINE_SECONDS,
            what="it says what it waits for",
        )
        net.ip("server", "addr add 10.78.1.2/24 dev eth1")
        offered_by(net, "10.78.1.2", "other")
        offered_by(net, "10.78.0.2")


@BESIDE
def test_a_changed_address_is_told_from_then_on(net: Yard, tmp_path: Path, beside_dhcp: bool) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    with serving(net.room("server"), tmp_path / "boot", "eth0", beside_dhcp=beside_dhcp):
        offered_by(net, "10.78.0.2")
        net.ip("server", "addr del 10.78.0.2/24 dev eth0")
        net.ip("server", "addr add 10.78.0.9/24 dev eth0")
        offered_by(net, "10.78.0.9")
        net.ip("server", "addr del 10.78.0.9/24 dev eth0")
        net.ip("server", "addr add 10.78.0.2/24 dev eth0")
        offered_by(net, "10.78.0.2")


@BESIDE
def test_an_interface_that_goes_down_or_is_made_anew_is_served_again(
    net: Yard, tmp_path: Path, beside_dhcp: bool
) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    with serving(net.room("server"), tmp_path / "boot", "eth0", beside_dhcp=beside_dhcp):
        offered_by(net, "10.78.0.2")
        net.ip("server", "link set eth0 down")
        net.ip("server", "link set eth0 up")
        offered_by(net, "10.78.0.2")
        net.ip("server", "link del eth0")
        net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
        offered_by(net, "10.78.0.2")


@BESIDE
def test_an_address_that_moves_to_a_bridge_is_served_there(
    net: Yard, tmp_path: Path, beside_dhcp: bool
) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    with serving(net.room("server"), tmp_path / "boot", "eth0", "br0", beside_dhcp=beside_dhcp):
        offered_by(net, "10.78.0.2")
        net.ip("server", "link add br0 type bridge stp_state 0 forward_delay 0")
        net.ip("server", "addr del 10.78.0.2/24 dev eth0")
        net.ip("server", "link set eth0 master br0")
        net.ip("server", "addr add 10.78.0.2/24 dev br0")
        net.ip("server", "link set br0 up")
        offered_by(net, "10.78.0.2")


def test_a_port_that_is_taken_when_a_link_comes_is_tried_again(
    net: Yard, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "AGAIN_SECONDS", 0.1)
    net.wire(("server", "eth0", ""), ("client", "eth0", "10.78.0.3/24"))
    with serving(net.room("server"), tmp_path / "boot", "eth0"):
        with port(net.room("server"), 69):
            net.ip("server", "addr add 10.78.0.2/24 dev eth0")
            wait_until(
                lambda: True if "eth0 is not served yet: UDP port 69 is taken" in caplog.text else None,
                seconds=DEADLINE_SECONDS,
                what="it says who has the port",
            )
        offered_by(net, "10.78.0.2")
    assert caplog.text.count("is not served yet") == 1


# The largest packet of a link.


@pytest.mark.parametrize(("mtu", "blksize"), [(9000, 8192), (1500, 1468), (1400, 1368), (600, 568)])
def test_tftp_blocks_fit_into_one_packet_of_the_link(
    net: Yard, tmp_path: Path, mtu: int, blksize: int
) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    net.ip("server", f"link set eth0 mtu {mtu}")
    net.ip("client", f"link set eth0 mtu {mtu}")
    with (
        serving(net.room("server"), tmp_path / "boot", "eth0"),
        port(net.room("client"), 0, address="10.78.0.3") as asking,
    ):
        asking.sendto(b"\0\1snponly.efi\0octet\0blksize\0" + b"8192\0", ("10.78.0.2", 69))
        answer, sender = asking.recvfrom(65536)
        assert answer == b"\0\6blksize\0%d\0" % blksize
        asking.sendto(b"\0\4\0\0", sender)
        assert len(asking.recv(65536)) == 4 + blksize


def test_a_changed_mtu_counts_from_then_on_and_nothing_is_closed_for_it(
    net: Yard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))

    def told() -> bytes:
        """The answer to a request."""
        with port(net.room("client"), 0, address="10.78.0.3") as asking:
            asking.sendto(b"\0\1snponly.efi\0octet\0blksize\0" + b"8192\0", ("10.78.0.2", 69))
            return asking.recv(65536)

    with serving(net.room("server"), tmp_path / "boot", "eth0"):
        assert told() == b"\0\6blksize\x001468\0"
        net.ip("server", "link set eth0 mtu 1000")
        wait_until(
            lambda: True if told() == b"\0\6blksize\x00968\0" else None,
            seconds=DEADLINE_SECONDS,
            what="smaller blocks are agreed on",
        )
    assert "no longer answering" not in caplog.text


def test_a_machine_behind_a_smaller_mtu_gets_small_blocks_when_it_asks_again(
    net: Yard, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
    # What is larger is lost without a word, as in a switch between two cards that do not agree.
    net.ip("client", "link set eth0 mtu 1000")

    def first_block() -> int | None:
        """How long it is; None when it does not come however often the OACK is acknowledged."""
        with port(net.room("client"), 0, address="10.78.0.3") as asking:
            asking.sendto(b"\0\1snponly.efi\0octet\0blksize\0" + b"1468\0", ("10.78.0.2", 69))
            answer, sender = asking.recvfrom(65536)
            assert answer.startswith(b"\0\6")
            asking.settimeout(0.1)
            for _ in range(40):  # firmware is as patient: only then it is plain that nothing gets through
                asking.sendto(b"\0\4\0\0", sender)
                with contextlib.suppress(TimeoutError):
                    return len(asking.recv(65536)) - 4
        return None

    with serving(net.room("server"), tmp_path / "boot", "eth0"):
        assert first_block() is None
        length = wait_until(first_block, seconds=DEADLINE_SECONDS, what="a block that fits comes")
    assert length == 512
    assert "is the MTU the same everywhere?" in caplog.text
