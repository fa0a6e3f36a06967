"""What a host says of itself, judged: ports, frame sizes, the way to others, capabilities."""

from ipaddress import IPv4Address, IPv4Network

from appliance.findings import Level
from appliance.host_checks import (
    judge_capabilities,
    judge_firewall,
    judge_front,
    judge_mtu,
    judge_path,
    judge_ports,
    ports,
)
from appliance.listeners import Listener, parse

PLACE = ("eth0", IPv4Address("10.0.0.2"))
PRINTED = """\
udp   UNCONN 0      0            127.0.0.53%lo:53        0.0.0.0:*    users:(("systemd-resolve",pid=7,fd=13))
udp   UNCONN 0      0             0.0.0.0%eth0:67        0.0.0.0:*    users:(("dnsmasq",pid=42,fd=4))
udp   UNCONN 0      0                10.0.0.2:69        0.0.0.0:*    users:(("python3",pid=99,fd=4))
udp   UNCONN 0      0                     [::]:4011          [::]:*
tcp   LISTEN 0      511                  *:80          *:*    users:(("nginx",pid=5,fd=6),("a",pid=4,fd=6))
tcp   LISTEN 0      128               10.9.0.2:53         0.0.0.0:*
nonsense
"""


def test_listeners_are_read_with_interface_and_program() -> None:
    found = parse(PRINTED)
    assert found[1] == Listener("udp", "0.0.0.0", "eth0", 67, "dnsmasq", 42)
    assert found[4] == Listener("tcp", "*", "", 80, "nginx", 5)
    assert [one.port for one in found] == [53, 67, 69, 4011, 80, 53]


def test_ports_of_others_are_named_and_those_on_other_addresses_do_not_matter() -> None:
    findings = judge_ports(ports(80, dns=True), parse(PRINTED), PLACE, {99})
    levels = {finding.subject.rpartition(" ")[2]: finding.level for finding in findings}
    assert levels == {
        "67": Level.YELLOW,
        "4011": Level.RED,
        "69": Level.GREEN,
        "80": Level.RED,
        "53": Level.GREEN,
    }
    assert any("dnsmasq (process 42)" in finding.said for finding in findings)


def test_the_door_of_installed_machines_is_looked_at_and_nothing_else_waits_for_it() -> None:
    (found,) = judge_ports(ports(8000, dns=False, clients=80)[-1:], parse(PRINTED), PLACE, {99})
    assert found.level is Level.RED and "machines that are installed cannot come" in found.said
    assert ports(80, dns=False, clients=8443)[-1].number == 8443


def test_the_web_server_in_front_has_to_be_there() -> None:
    assert judge_front(80, parse(PRINTED), PLACE)[0].level is Level.GREEN
    assert judge_front(81, parse(PRINTED), PLACE)[0].level is Level.RED


def test_frame_sizes() -> None:
    assert [finding.level for finding in judge_mtu("eth0", 1500, {})] == [Level.GREEN]
    assert "less than the 1500" in judge_mtu("eth0", 1450, {})[0].said
    assert "more than the 1500" in judge_mtu("eth0", 9000, {})[0].said
    (port,) = judge_mtu("br0", 1500, {"tap0": 1500, "eth1": 1400})
    assert port.level is Level.YELLOW and "ip link set eth1 mtu 1500" in port.fix


def test_a_way_that_only_small_packets_take_is_yellow() -> None:
    assert judge_path("10.0.0.1", 1500, lambda size: size < 1400)[0].level is Level.YELLOW
    assert judge_path("10.0.0.1", 1500, lambda size: True)[0].level is Level.GREEN
    assert judge_path("10.0.0.1", 1500, lambda size: False) == []


def test_capabilities() -> None:
    both = 1 << 10 | 1 << 13
    assert [one.level for one in judge_capabilities(both, {})] == [Level.GREEN]
    (bare,) = judge_capabilities(1 << 10, {})
    assert (bare.level, bare.subject) == (Level.RED, "CAP_NET_RAW")
    lacking, fine = judge_capabilities(both, {"boot process 1": 1 << 13, "boot process 2": both})
    assert lacking.level is Level.RED and "CAP_NET_BIND_SERVICE" in lacking.said
    assert fine.level is Level.GREEN and "no capability more" in fine.said


def test_a_closed_firewall_is_red_for_every_port_and_for_transfers() -> None:
    base = {"family": "inet", "table": "f", "name": "in", "type": "filter", "hook": "input", "policy": "drop"}
    listed = {"nftables": [{"chain": base}]}
    network = IPv4Network("10.0.0.0/24")
    findings = judge_firewall(listed, ports(80, dns=False), "eth0", network, PLACE[1])
    assert [finding.level for finding in findings] == [Level.RED] * 5
    assert any("established" in finding.fix for finding in findings)
    assert 'iifname "eth0" udp dport 67 accept' in findings[0].fix
    assert [one.level for one in judge_firewall({}, ports(80, dns=False), "eth0", network, PLACE[1])] == [
        Level.GREEN
    ]
