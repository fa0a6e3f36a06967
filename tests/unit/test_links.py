"""Which link an interface makes, and what the kernel's words about interfaces mean."""

import json
import struct
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.run import run
from pxe import netlink
from pxe.interfaces import read_interfaces
from pxe.links import Interface, Link, answering, find_link, find_links, is_for_us


def interface(*addresses: str, name: str = "eth0") -> Interface:
    return Interface(3, name, "52:54:00:00:00:03", 1500, True, tuple(map(IPv4Interface, addresses)))


def link(address: str, name: str = "eth0") -> Link:
    found = find_link(interface(f"{address}/24", name=name))
    assert found is not None
    return found


def test_the_first_address_is_used_unless_another_is_preferred() -> None:
    eth0 = interface("10.0.0.2/24", "10.0.0.7/24", "192.168.1.1/16")
    for preferred, used in ((None, "10.0.0.2"), ("10.9.9.9", "10.0.0.2"), ("192.168.1.1", "192.168.1.1")):
        found = find_link(eth0, IPv4Address(preferred) if preferred else None)
        assert found is not None
        assert str(found.address) == used
        assert found.address in found.network


def test_an_interface_that_is_missing_or_has_no_address_is_said_to_be() -> None:
    found = find_links(["eth0", "eth1", "eth7"], [interface("10.0.0.2/24"), interface(name="eth1")])
    assert isinstance(found["eth0"], Link)
    assert found["eth1"] == "eth1 has no IPv4 address"
    assert found["eth7"] == "there is no network interface 'eth7'"


def test_an_only_interface_is_not_served_without_the_address_of_the_site() -> None:
    eth0, eth1 = interface("10.0.0.2/24"), interface("10.1.0.2/24", name="eth1")
    elsewhere = IPv4Address("10.9.9.9")
    assert find_links(["eth0"], [eth0], elsewhere) == {"eth0": "10.9.9.9 is no address of eth0"}
    found = find_links(["eth0", "eth1"], [eth0, eth1], IPv4Address("10.1.0.2"))
    assert [str(one.address) for one in found.values() if isinstance(one, Link)] == ["10.0.0.2", "10.1.0.2"]


def test_what_is_only_passed_on_is_not_for_us() -> None:
    eth0, eth1 = link("10.0.0.2"), link("10.1.0.2", "eth1")
    for asked, ours in (
        ("255.255.255.255", True),
        ("10.0.0.255", True),
        ("10.0.0.2", True),
        ("10.1.0.2", True),
        ("10.1.0.255", False),
        ("10.0.0.1", False),
    ):
        assert is_for_us(eth0, IPv4Address(asked), (eth0, eth1)) is ours


def test_what_a_relay_sent_to_another_address_of_ours_is_answered_from_that_one() -> None:
    eth0, eth1 = link("10.0.0.2"), link("10.1.0.2", "eth1")
    assert answering(eth0, IPv4Address("10.1.0.2"), (eth0, eth1)) == eth1
    for asked in ("10.0.0.2", "255.255.255.255", "10.0.0.255", "10.2.0.2"):
        assert answering(eth0, IPv4Address(asked), (eth0, eth1)) == eth0


def test_the_interfaces_of_this_host_are_those_ip_shows() -> None:
    shown = json.loads(run(["ip", "-json", "address"]).stdout)
    assert [
        (one.index, one.name, one.mac, one.mtu, one.up, [str(address) for address in one.addresses])
        for one in read_interfaces()
    ] == [
        (
            entry["ifindex"],
            entry["ifname"],
            entry["address"],
            entry["mtu"],
            "UP" in entry["flags"],
            [f"{a['local']}/{a['prefixlen']}" for a in entry["addr_info"] if a["family"] == "inet"],
        )
        for entry in shown
    ]


def address(prefix_length: int, local: bytes) -> bytes:
    """The body of a message that tells an IPv4 address of interface 1."""
    attribute = struct.pack("=HH", 4 + len(local), 2) + local + bytes(-len(local) % 4)
    return struct.pack("=BBBBi", 2, prefix_length, 0, 0, 1) + attribute


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


@pytest.mark.parametrize(
    ("prefix_length", "local", "found"),
    [(24, b"\n\0\0\2", ["10.0.0.2/24"]), (33, b"\n\0\0\2", []), (24, b"\n\0\0", []), (24, bytes(16), [])],
)
def test_an_address_that_cannot_be_is_left_out(prefix_length: int, local: bytes, found: list[str]) -> None:
    link = struct.pack("=BxHiII", 0, 1, 1, 0, 0)
    told = message(netlink.NEW_ADDRESS, address(prefix_length, local)) + message(netlink.NEW_LINK, link)
    (one,) = netlink.interfaces(list(netlink.messages(told)))
    assert [str(each) for each in one.addresses] == found


@pytest.mark.timeout(30)
def test_a_message_without_a_length_ends_the_datagram() -> None:
    assert list(netlink.messages(bytes(64))) == []


kinds = st.sampled_from([netlink.NEW_LINK, netlink.NEW_ADDRESS, 2, 3]) | st.integers(0, 65535)


@given(st.lists(st.tuples(kinds, st.binary(max_size=80))), st.binary(max_size=40))
def test_no_bytes_of_the_kernel_raise(told: list[tuple[int, bytes]], rest: bytes) -> None:
    data = b"".join(message(kind, body) for kind, body in told)
    found = list(netlink.messages(data + rest))
    assert [(one.kind, one.body) for one in found[: len(told)]] == told
    netlink.interfaces(found)
