"""Answers DNS questions: authoritative for the site's zone, a few other names by asking, else REFUSED."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from pxe.dns_packets import (
    ANY_CLASS,
    IN,
    MOST_TCP_BYTES,
    Kind,
    Query,
    Rcode,
    Record,
    Unanswerable,
    encode,
    lower,
    parse,
)
from pxe.dns_zone import Found, Zone

AMPLIFICATION = 6
"""No answer of our own by UDP is longer than the question times this: a longer one says TC, come by TCP."""


@dataclass(frozen=True)
class Forward:
    """A question for another server, and how long the answer to it may be."""

    query: Query
    most_bytes: int


def answer(data: bytes, zone: Zone, *, peer: IPv4Address, udp: bool) -> bytes | Forward | None:
    """The reply to one message of `peer`; None when it gets none.

    By UDP the sender may be a victim whose address somebody else wrote: what we know ourselves is at most
    AMPLIFICATION times as long as the question. What others answer may be up to 1232 bytes long; only
    addresses of the LANs this server is on get that, and each of them so many a second (`dns_limit`).
    """
    try:
        query = parse(data)
    except Unanswerable as wrong:
        return wrong.reply
    if query is None:
        return None
    most = min(query.udp_bytes, AMPLIFICATION * len(data)) if udp else MOST_TCP_BYTES
    if query.edns_version:
        return encode(query, Rcode.BADVERS, most_bytes=most)
    if query.qclass not in (IN, ANY_CLASS) or query.kind in (Kind.AXFR, Kind.IXFR):
        return encode(query, Rcode.REFUSED, most_bytes=most)
    name = lower(query.name)
    if found := zone.find(name):
        return _own(query, found, zone, most)
    may = query.recursion and any(peer in network for network in zone.networks) and zone.allows(name)
    if not may or query.qclass != IN or query.kind == Kind.ANY:
        return encode(query, Rcode.REFUSED, most_bytes=most)
    return Forward(query, query.udp_bytes if udp else MOST_TCP_BYTES)


def slip(data: bytes) -> bytes | None:
    """What a client gets that asks too much by UDP: its question back with the TC bit, so it comes by TCP.

    Whoever's address is abused gets no more bytes than were sent in its name.
    """
    try:
        query = parse(data)
    except Unanswerable:
        return None
    return encode(query, Rcode.NOERROR, most_bytes=len(data), truncated=True) if query else None


def _own(query: Query, found: Found, zone: Zone, most: int) -> bytes:
    answers = _chosen(query.kind, found.records)
    # Without a SOA, firmware asks again and again for what is not there (RFC 2308).
    authority = () if answers else (zone.soa(found.apex),)
    asked_elsewhere = any(one.kind in (Kind.SRV, Kind.NS) for one in answers)
    additional = (zone.server_address(),) if asked_elsewhere else ()
    rcode = Rcode.NOERROR if found.exists else Rcode.NXDOMAIN
    return encode(
        query,
        rcode,
        most_bytes=most,
        answers=answers,
        authority=authority,
        additional=additional,
        authoritative=True,
    )


def _chosen(kind: int, records: tuple[Record, ...]) -> tuple[Record, ...]:
    """The records of a type; for ANY those of one type, which is all that RFC 8482 asks for."""
    wanted = records[0].kind if kind == Kind.ANY and records else kind
    return tuple(one for one in records if one.kind == wanted)
