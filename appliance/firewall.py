"""Walks a packet through nftables rules (`nft -j list ruleset`) and says whether it arrives; pure.

iptables-nft rules are in the same list. What a rule depends on besides the packet (rates, other hosts' state,
extensions of iptables) leaves the answer open instead of being guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from typing import Any

Rule = Mapping[str, Any]
DEPTH = 32
_HOOKS = ("prerouting", "input")
_PROTOCOLS = {"tcp": 6, "udp": 17}


class Fate(Enum):
    PASSES = "passes"
    DROPPED = "dropped"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Parcel:
    """A packet on its way in."""

    interface: str
    protocol: str
    """`udp` or `tcp`."""
    port: int
    """Where it goes to."""
    source: IPv4Address
    source_port: int
    target: IPv4Address
    state: str = "new"
    """What connection tracking says."""


@dataclass(frozen=True)
class Verdict:
    fate: Fate
    rule: str = ""
    """Which rule or policy decides; empty when nothing is in the way."""


@dataclass
class _Rules:
    """The ruleset by its names, and the doubts on the way."""

    parcel: Parcel
    chains: dict[tuple[str, str, str], list[Rule]] = field(default_factory=dict)
    sets: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    bases: list[Rule] = field(default_factory=list)
    may_drop: list[str] = field(default_factory=list)
    may_pass: list[str] = field(default_factory=list)


def verdict(listed: Mapping[str, Any], parcel: Parcel) -> Verdict:
    """What becomes of a packet, by what `nft -j list ruleset` printed."""
    rules = _read(listed, parcel)
    for base in sorted(rules.bases, key=lambda one: (_HOOKS.index(one["hook"]), one.get("prio", 0))):
        rules.may_pass.clear()
        ended = _walk(rules, _key(base, base["name"]), sure=True, depth=0)
        where = f"policy of {base['family']} {base['table']} {base['name']}"
        said, rule = ended or (("drop", where) if base.get("policy") == "drop" else ("accept", ""))
        if said == "drop":
            return Verdict(Fate.UNSURE if rules.may_pass else Fate.DROPPED, rule)
    if rules.may_drop:
        return Verdict(Fate.UNSURE, rules.may_drop[0])
    return Verdict(Fate.PASSES)


def _read(listed: Mapping[str, Any], parcel: Parcel) -> _Rules:
    rules = _Rules(parcel)
    for entry in listed.get("nftables", ()):
        for kind, what in entry.items():
            if kind in ("chain", "rule", "set") and what["family"] in ("ip", "inet"):
                if kind == "set":
                    rules.sets[_key(what, what["name"])] = what.get("elem", [])
                elif kind == "rule":
                    rules.chains.setdefault(_key(what, what["chain"]), []).append(what)
                elif what.get("type") == "filter" and what.get("hook") in _HOOKS:
                    rules.bases.append(what)
    return rules


def _key(what: Rule, name: str) -> tuple[str, str, str]:
    return what["family"], what["table"], name


def _walk(rules: _Rules, chain: tuple[str, str, str], *, sure: bool, depth: int) -> tuple[str, str] | None:
    """`accept` or `drop` with the rule that says it; None when the chain ends without a word."""
    for rule in rules.chains.get(chain, ()) if depth < DEPTH else ():
        name = f"{' '.join(chain)}, handle {rule.get('handle')}"
        if comment := rule.get("comment"):
            name += f" ({comment})"
        certain = sure
        for statement in rule.get("expr", ()):
            kind, what = _read_statement(rules, chain, statement)
            if kind == "unknown":
                rules.may_pass.append(name)
                rules.may_drop.append(name)
            holds = _holds(rules, chain, kind, what)
            if holds is False:
                break
            certain = certain and holds is True
            if kind in ("accept", "drop", "reject", "queue"):
                said = "accept" if kind == "accept" else "drop"
                if certain and kind != "queue":
                    return said, name
                (rules.may_pass if said == "accept" else rules.may_drop).append(name)
                break
            if kind in ("jump", "goto"):
                target = (chain[0], chain[1], str(what["target"]))
                ended = _walk(rules, target, sure=certain, depth=depth + 1)
                if ended or (kind == "goto" and certain):
                    return ended
            if kind == "return" and certain:
                return None
    return None


def _read_statement(rules: _Rules, chain: tuple[str, str, str], statement: Any) -> tuple[str, Any]:
    """A statement's word and what belongs to it; a map of verdicts is the verdict it gives."""
    ((kind, what),) = statement.items() if isinstance(statement, dict) else ((str(statement), None),)
    return _mapped(rules, chain, what) if kind == "vmap" and isinstance(what, dict) else (kind, what)


_HARMLESS = (
    *("accept", "drop", "reject", "queue", "jump", "goto", "return", "continue"),
    *("counter", "log", "comment", "mangle", "notrack", "flow", "set", "ct helper", "map"),
)


def _holds(rules: _Rules, chain: tuple[str, str, str], kind: str, what: Any) -> bool | None:
    """Does a statement let the rule go on? None: it depends on what is not known here."""
    if kind == "match":
        try:
            return _matches(rules, chain, what)
        except (KeyError, TypeError, ValueError):
            # A form of nft's that is not known here says nothing.
            return None
    if kind == "xt":
        return True if isinstance(what, dict) and what.get("name") in ("comment", "LOG", "NFLOG") else None
    return True if kind in _HARMLESS else None


def _matches(rules: _Rules, chain: tuple[str, str, str], what: Mapping[str, Any]) -> bool | None:
    actual = _actual(rules.parcel, what["left"])
    if actual is None:
        return None
    holds = _among(rules, chain, actual, what["right"])
    return holds if holds is None or what["op"] in ("==", "in") else _unequal(what["op"], holds, actual, what)


def _unequal(op: str, holds: bool, actual: Any, what: Mapping[str, Any]) -> bool | None:
    if op == "!=":
        return not holds
    right = what["right"]
    if isinstance(actual, int) and isinstance(right, int):
        return {"<": actual < right, ">": actual > right, "<=": actual <= right, ">=": actual >= right}.get(
            op
        )
    return None


class _Absent:
    """A field that the packet does not have: no value equals it."""


_ABSENT = _Absent()


def _actual(parcel: Parcel, left: Mapping[str, Any]) -> Any:
    """The packet's value for the left side of a match; None when it cannot be said."""
    ((kind, what),) = left.items()
    if kind == "meta":
        usual: dict[str, Any] = {
            "iifname": parcel.interface,
            "iif": parcel.interface,
            "l4proto": parcel.protocol,
            "nfproto": "ipv4",
            "protocol": "ip",
            "pkttype": "broadcast" if parcel.target.packed == b"\xff" * 4 else "host",
        }
        return usual.get(what["key"])
    if kind == "ct":
        return parcel.state if what.get("key") == "state" else None
    if kind == "payload" and "protocol" in what:
        protocol, name = what["protocol"], what.get("field")
        if protocol in ("udp", "tcp", "th"):
            if protocol not in (parcel.protocol, "th"):
                return _ABSENT
            return {"dport": parcel.port, "sport": parcel.source_port}.get(name)
        if protocol == "ip":
            known = {
                "saddr": parcel.source,
                "daddr": parcel.target,
                "protocol": parcel.protocol,
                "version": 4,
            }
            return known.get(name)
        if protocol in ("ip6", "icmp", "icmpv6", "sctp", "dccp", "esp", "ah", "igmp"):
            return _ABSENT
    return None


def _among(rules: _Rules, chain: tuple[str, str, str], actual: Any, right: Any) -> bool | None:
    """Is a value what the right side says? None when that cannot be said."""
    if isinstance(actual, _Absent):
        return False
    if isinstance(right, str) and right.startswith("@"):
        elements = rules.sets.get((chain[0], chain[1], right[1:]))
        return None if elements is None else _among(rules, chain, actual, {"set": elements})
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if isinstance(right, dict):
        return _in_extent(actual, right)
    if isinstance(right, Sequence) and not isinstance(right, str):
        answers = [_among(rules, chain, actual, one) for one in right]
        return True if True in answers else None if None in answers else False
    if isinstance(actual, IPv4Address):
        return bool(str(actual) == right)
    if isinstance(actual, str) and isinstance(right, str) and right.endswith("*"):
        return actual.startswith(right[:-1])
    if isinstance(right, int) and actual in _PROTOCOLS:
        return _PROTOCOLS[actual] == right
    return bool(actual == right)


def _in_extent(actual: Any, extent: Mapping[str, Any]) -> bool | None:
    if "elem" in extent and isinstance(extent["elem"], dict):
        return _in_extent(actual, {"range": [extent["elem"].get("val")] * 2})
    if "prefix" in extent and isinstance(actual, IPv4Address):
        prefix = extent["prefix"]
        return actual in IPv4Network(f"{prefix['addr']}/{prefix['len']}", strict=False)
    if "range" in extent:
        first, last = extent["range"]
        if isinstance(actual, IPv4Address):
            return IPv4Address(first) <= actual <= IPv4Address(last)
        if isinstance(actual, int) and isinstance(first, int) and isinstance(last, int):
            return first <= actual <= last
        return bool(actual == first) if first == last else None
    return None


def _mapped(rules: _Rules, chain: tuple[str, str, str], what: Mapping[str, Any]) -> tuple[str, Any]:
    """The verdict a map gives to the packet; `continue`: none, `unknown`: that cannot be said."""
    actual = _actual(rules.parcel, what["key"]) if isinstance(what["key"], dict) else None
    data = what.get("data")
    if actual is None or not isinstance(data, dict) or "set" not in data:
        return "unknown", None
    for value, statement in data["set"]:
        holds = _among(rules, chain, actual, value)
        if holds is None:
            return "unknown", None
        if holds:
            ((kind, target),) = statement.items()
            return kind, target
    return "continue", None
