"""The table [dhcp]: what is read, and what is refused with a reason."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from appliance.dhcp_settings import DhcpSettings, Subnet, read_dhcp

FILE = Path("appliance.toml")
NET: dict[str, Any] = {"network": "10.0.0.0/24", "ranges": ["10.0.0.100-10.0.0.110"]}


def test_what_is_said_for_all_subnets_holds_where_one_says_nothing_else() -> None:
    complaints: list[str] = []
    table = {
        "lease": "2 h",
        "dns": ["self", "10.0.0.9"],
        "domain": "lan.example",
        "subnet": [
            {**NET, "router": "10.0.0.1"},
            {"network": "10.1.0.0/24", "ranges": ["10.1.0.7"], "lease": "1 d", "dns": []},
        ],
        "fixed": [{"machine": "Web1", "address": "10.0.0.10"}],
    }
    settings = read_dhcp(table, FILE, complaints)
    assert complaints == []
    first, second = settings.subnets
    assert first == Subnet(
        network=IPv4Network("10.0.0.0/24"),
        ranges=((IPv4Address("10.0.0.100"), IPv4Address("10.0.0.110")),),
        lease_seconds=7200,
        router=IPv4Address("10.0.0.1"),
        dns=(None, IPv4Address("10.0.0.9")),
        domain="lan.example",
    )
    assert (second.lease_seconds, second.dns, second.domain) == (86400, (), "lan.example")
    assert (first.size, second.size) == (11, 1)
    assert settings.fixed == {"web1": IPv4Address("10.0.0.10")}
    assert settings.known_only


def test_without_the_table_there_is_no_full_dhcp() -> None:
    assert read_dhcp({}, FILE, []) == DhcpSettings()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"subnet": [{**NET, "network": "10.0.0.1/24"}]}, "has host bits set"),
        ({"subnet": [{**NET, "ranges": ["10.0.0.9-10.0.0.5"]}]}, "expected FIRST-LAST of machines"),
        ({"subnet": [{**NET, "ranges": ["10.0.0.0-10.0.0.5"]}]}, "expected FIRST-LAST of machines"),
        ({"subnet": [{**NET, "ranges": ["10.0.1.4"]}]}, "expected FIRST-LAST of machines in 10.0.0.0/24"),
        ({"subnet": [{**NET, "ranges": ["10.0.0.1-10.0.0.5", "10.0.0.5"]}]}, "overlaps another range"),
        ({"subnet": [{**NET, "ranges": ["ten"]}]}, "expected an IPv4 address, got 'ten'"),
        ({"subnet": [{**NET, "router": "10.9.0.1"}]}, "10.9.0.1 is not in 10.0.0.0/24"),
        ({"subnet": [{**NET, "lease": "1 s"}]}, "between a minute and a year"),
        ({"subnet": [{**NET, "domain": "a b"}]}, "expected a domain"),
        ({"subnet": [{**NET, "ntp": ["self"]}]}, "ntp: expected an IPv4 address"),
        ({"subnet": [NET, NET]}, "10.0.0.0/24 and 10.0.0.0/24 overlap"),
        ({"subnet": [NET], "per_port": 0}, "expected at least 1"),
        (
            {"subnet": [{"network": "10.0.0.0/8", "ranges": ["10.0.0.1-10.1.0.1"]}]},
            "expected at most 16384",
        ),
        ({"subnet": [NET], "fixed": [{"machine": "a", "address": "10.9.0.1"}]}, "in no subnet of [dhcp]"),
        ({"subnet": [NET], "fixed": [{"machine": "52:54:00:1", "address": "10.0.0.1"}]}, "expected a MAC"),
        ({"subnet": [NET], "fixed": [{"machine": "a", "address": "10.0.0.1"}] * 2}, "is there twice"),
    ],
)
def test_what_cannot_be_is_refused(table: dict[str, Any], said: str) -> None:
    complaints: list[str] = []
    read_dhcp(table, FILE, complaints)
    assert any(said in one for one in complaints), complaints
    assert all(one.startswith("appliance.toml: dhcp.") for one in complaints)
