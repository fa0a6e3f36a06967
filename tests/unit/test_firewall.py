"""Packets through nftables rules, as `nft -j list ruleset` prints them."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.firewall import Fate, Parcel, verdict

TFTP = Parcel("eth0", "udp", 69, IPv4Address("10.0.0.9"), 2070, IPv4Address("10.0.0.2"))
DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def dport(right: Any, protocol: str = "udp", op: str = "==") -> dict[str, Any]:
    return match({"payload": {"protocol": protocol, "field": "dport"}}, right, op)


def meta(key: str, right: Any) -> dict[str, Any]:
    return match({"meta": {"key": key}}, right)


def rules(
    *input_rules: list[Any], policy: str = "accept", more: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    where = {"family": "inet", "table": "filter"}
    base = {**where, "name": "input", "type": "filter", "hook": "input", "prio": 0, "policy": policy}
    listed = [
        {"rule": {**where, "chain": "input", "handle": number, "expr": expr}}
        for number, expr in enumerate(input_rules, 1)
    ]
    return {"nftables": [{"metainfo": {}}, {"chain": base}, *(more or []), *listed]}


def chain(name: str, *exprs: list[Any]) -> list[dict[str, Any]]:
    where = {"family": "inet", "table": "filter"}
    listed = [
        {"rule": {**where, "chain": name, "handle": 90 + n, "expr": expr}} for n, expr in enumerate(exprs)
    ]
    return [{"chain": {**where, "name": name}}, *listed]


UDP_PORT = {"payload": {"protocol": "udp", "field": "dport"}}
MAP = {"set": [[67, ACCEPT], [69, DROP]]}
OLD = match({"ct": {"key": "state"}}, ["established", "related"], "in")
NEW = match({"ct": {"key": "state"}}, "new", "in")
LAN = {"jump": {"target": "lan"}}
LIMIT = {"limit": {"rate": 3, "per": "second"}}


@pytest.mark.parametrize(
    ("listed", "fate"),
    [
        ({}, Fate.PASSES),
        (rules(), Fate.PASSES),
        (rules(policy="drop"), Fate.DROPPED),
        (rules([dport(69), DROP]), Fate.DROPPED),
        (rules([dport(70), DROP]), Fate.PASSES),
        (rules([dport(69, "tcp"), DROP]), Fate.PASSES),
        (rules([dport(69, "th"), {"counter": {}}, DROP]), Fate.DROPPED),
        (rules([dport({"set": [67, 69]}), ACCEPT], policy="drop"), Fate.PASSES),
        (rules([dport({"range": [60, 70]}), ACCEPT], policy="drop"), Fate.PASSES),
        (rules([dport(70, op="!="), DROP]), Fate.DROPPED),
        (rules([dport(69, op="!="), DROP]), Fate.PASSES),
        (rules([dport(68, op=">"), DROP]), Fate.DROPPED),
        (rules([meta("iifname", "eth1"), ACCEPT], policy="drop"), Fate.DROPPED),
        (rules([meta("iifname", "eth*"), ACCEPT], policy="drop"), Fate.PASSES),
        (rules([meta("l4proto", {"set": ["tcp", "udp"]}), ACCEPT], policy="drop"), Fate.PASSES),
        (rules([meta("l4proto", 17), {"reject": {}}]), Fate.DROPPED),
        (rules([meta("skuid", 0), DROP]), Fate.UNSURE),
        (rules([LIMIT, ACCEPT], policy="drop"), Fate.UNSURE),
        (rules([LIMIT, ACCEPT], [ACCEPT], policy="drop"), Fate.PASSES),
        (rules([LIMIT, DROP]), Fate.UNSURE),
        (rules([{"xt": {"type": "match", "name": "multiport"}}, DROP]), Fate.UNSURE),
        (rules([{"xt": {"type": "match", "name": "comment"}}, DROP]), Fate.DROPPED),
        (rules([{"what": "nobody knows"}, ACCEPT], policy="drop"), Fate.UNSURE),
        (rules([OLD, ACCEPT], policy="drop"), Fate.DROPPED),
        (rules([NEW, ACCEPT], policy="drop"), Fate.PASSES),
        (rules([LAN], policy="drop", more=chain("lan", [ACCEPT])), Fate.PASSES),
        (rules([LAN], [DROP], more=chain("lan", [{"return": None}], [ACCEPT])), Fate.DROPPED),
        (rules([{"goto": {"target": "lan"}}], [ACCEPT], policy="drop", more=chain("lan")), Fate.DROPPED),
        (rules([LIMIT, LAN], policy="drop", more=chain("lan", [ACCEPT])), Fate.UNSURE),
        (rules([{"vmap": {"key": UDP_PORT, "data": MAP}}]), Fate.DROPPED),
        (rules([{"vmap": {"key": UDP_PORT, "data": "@named"}}]), Fate.UNSURE),
        (rules([{"queue": {"num": 0}}]), Fate.UNSURE),
    ],
)
def test_rules_decide(listed: dict[str, Any], fate: Fate) -> None:
    assert verdict(listed, TFTP).fate is fate


def test_addresses_are_compared_as_networks_and_named_sets_are_looked_up() -> None:
    source = {"payload": {"protocol": "ip", "field": "saddr"}}
    lan = {"prefix": {"addr": "10.0.0.0", "len": 24}}
    listed = rules([match(source, {"set": [lan, "192.0.2.1"]}), dport("@boot"), ACCEPT], policy="drop")
    named = {"family": "inet", "table": "filter", "name": "boot", "elem": [67, {"range": [69, 70]}]}
    listed["nftables"].append({"set": named})
    assert verdict(listed, TFTP).fate is Fate.PASSES
    assert verdict(listed, replace(TFTP, source=IPv4Address("10.0.1.9"))).fate is Fate.DROPPED
    assert verdict(listed, replace(TFTP, source=IPv4Address("192.0.2.1"), port=68)).fate is Fate.DROPPED


def test_the_rule_that_drops_is_named() -> None:
    assert verdict(rules([dport(69), DROP]), TFTP).rule == "inet filter input, handle 1"
    assert verdict(rules(policy="drop"), TFTP).rule == "policy of inet filter input"


def test_a_loop_of_chains_ends() -> None:
    listed = rules([{"jump": {"target": "lan"}}], more=chain("lan", [{"jump": {"target": "lan"}}]))
    assert verdict(listed, TFTP).fate is Fate.PASSES


json = st.recursive(
    st.none() | st.booleans() | st.integers(0, 100) | st.sampled_from(["udp", "eth0", "@x", "10.0.0.0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["set", "range", "prefix", "elem", "val", "meta", "x"]), inner, max_size=2
        )
    ),
    max_leaves=8,
)


@given(json)
def test_no_right_side_of_a_match_raises(right: Any) -> None:
    assert verdict(rules([dport(right), DROP]), TFTP).fate in Fate
