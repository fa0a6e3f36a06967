"""DNS answers, from bytes to bytes; dnslib reads what is sent back."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import dnslib
import pytest
from dnslib import QTYPE, RCODE, DNSRecord
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pxe.dns import AMPLIFICATION, Forward, answer, slip
from pxe.dns_limit import Limiter, Verdict
from pxe.dns_packets import ask, is_answer, is_truncated, name_of, parse, relay
from pxe.dns_zone import Zone, reverse_depth

SERVER = IPv4Address("10.77.9.2")
PEER = IPv4Address("10.77.9.50")
STRANGER = IPv4Address("203.0.113.7")
ZONE = Zone(
    name="lab.example",
    server=SERVER,
    http_port=80,
    networks=(IPv4Network("10.77.9.0/24"), IPv4Network("172.16.4.0/22"), IPv4Network("192.0.2.64/26")),
    hosts={
        "web1": (IPv4Address("10.77.9.50"),),
        "web2": (IPv4Address("10.77.9.51"), IPv4Address("172.16.6.9")),
        "boot": (IPv4Address("10.77.9.99"),),
    },
    serial=7,
    allow=(name_of("gentoo.org"),),
)


def question(
    name: str | Sequence[bytes], kind: str = "A", *, edns: int | None = None, version: int = 0, rd: int = 1
) -> bytes:
    label = dnslib.DNSLabel(name if isinstance(name, str) else tuple(name))
    record = DNSRecord(dnslib.DNSHeader(id=4711, rd=rd), q=dnslib.DNSQuestion(label, getattr(QTYPE, kind)))
    if edns is not None:
        record.add_ar(dnslib.EDNS0(udp_len=edns, version=version))
    return bytes(record.pack())


def reply(data: bytes, zone: Zone = ZONE, *, peer: IPv4Address = PEER, udp: bool = True) -> DNSRecord:
    said = answer(data, zone, peer=peer, udp=udp)
    assert isinstance(said, bytes)
    return DNSRecord.parse(said)


def shown(record: DNSRecord) -> list[str]:
    return [f"{QTYPE[rr.rtype]} {rr.rdata}" for rr in record.rr]


@pytest.mark.parametrize(
    ("name", "kind", "records"),
    [
        ("web1.lab.example", "A", ["A 10.77.9.50"]),
        ("WEB1.Lab.Example", "A", ["A 10.77.9.50"]),
        ("web2.lab.example", "A", ["A 10.77.9.51", "A 172.16.6.9"]),
        ("lab.example", "A", ["A 10.77.9.2"]),
        ("boot.lab.example", "A", ["A 10.77.9.2"]),
        ("distserver.lab.example", "A", ["A 10.77.9.2"]),
        ("lab.example", "NS", ["NS boot.lab.example."]),
        ("lab.example", "TXT", ['TXT "DistServer http://10.77.9.2:80/"']),
        ("_distserver._tcp.lab.example", "SRV", ["SRV 0 0 80 boot.lab.example."]),
        ("_http._tcp.lab.example", "SRV", ["SRV 0 0 80 boot.lab.example."]),
        ("_tftp._udp.lab.example", "SRV", ["SRV 0 0 69 boot.lab.example."]),
        ("50.9.77.10.in-addr.arpa", "PTR", ["PTR web1.lab.example."]),
        ("9.6.16.172.in-addr.arpa", "PTR", ["PTR web2.lab.example."]),
        ("2.9.77.10.in-addr.arpa", "PTR", ["PTR boot.lab.example."]),
        ("6.16.172.in-addr.arpa", "NS", ["NS boot.lab.example."]),
        ("web1.lab.example", "ANY", ["A 10.77.9.50"]),
        ("lab.example", "ANY", ["A 10.77.9.2"]),
    ],
)
def test_what_the_zone_has_is_answered_with_authority_and_soon_forgotten(
    name: str, kind: str, records: list[str]
) -> None:
    said = reply(question(name, kind))
    assert shown(said) == records
    assert (said.header.id, said.header.aa, said.header.ra, said.header.rd) == (4711, 1, 0, 1)
    assert all(rr.ttl <= 30 for rr in said.rr)


def test_the_name_comes_back_as_it_was_written() -> None:
    said = reply(question("wEb1.LAB.example"))
    assert said.q.qname.label == (b"wEb1", b"LAB", b"example")


def test_a_server_address_is_added_where_its_name_is_the_answer() -> None:
    (added,) = reply(question("_http._tcp.lab.example", "SRV")).ar
    assert (str(added.rname), str(added.rdata)) == ("boot.lab.example.", "10.77.9.2")


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "apex"),
    [
        ("web1.lab.example", "AAAA", "NOERROR", "lab.example."),
        ("web1.lab.example", "MX", "NOERROR", "lab.example."),
        ("_tcp.lab.example", "SRV", "NOERROR", "lab.example."),
        ("web9.lab.example", "A", "NXDOMAIN", "lab.example."),
        ("a.web1.lab.example", "A", "NXDOMAIN", "lab.example."),
        ("_ldap._tcp.lab.example", "SRV", "NXDOMAIN", "lab.example."),
        ("77.9.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "9.77.10.in-addr.arpa."),
        ("9.77.10.in-addr.arpa", "PTR", "NOERROR", "9.77.10.in-addr.arpa."),
        ("1.50.9.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "9.77.10.in-addr.arpa."),
        ("web.9.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "9.77.10.in-addr.arpa."),
        ("050.9.77.10.in-addr.arpa", "PTR", "NXDOMAIN", "9.77.10.in-addr.arpa."),
        ("1.7.16.172.in-addr.arpa", "PTR", "NXDOMAIN", "7.16.172.in-addr.arpa."),
        ("70.2.0.192.in-addr.arpa", "PTR", "NXDOMAIN", "2.0.192.in-addr.arpa."),
    ],
)
def test_what_is_not_there_is_said_with_the_soa(name: str, kind: str, rcode: str, apex: str) -> None:
    said = reply(question(name, kind))
    assert (RCODE[said.header.rcode], said.rr) == (rcode, [])
    (soa,) = said.auth
    assert (str(soa.rname), QTYPE[soa.rtype]) == (apex, "SOA")
    # serial, refresh, retry, expire, and how long the absence may be remembered
    assert soa.rdata.times == (7, 300, 60, 86400, 5)


@pytest.mark.parametrize(
    "name",
    [
        "example", "www.example.org", "xlab.example", "gentoo.org.evil.example", "notgentoo.org",
        "10.in-addr.arpa", "77.10.in-addr.arpa", "in-addr.arpa", "5.8.77.10.in-addr.arpa",
        "1.8.16.172.in-addr.arpa", "1.2.0.192.in-addr.arpa", "129.2.0.192.in-addr.arpa", ".",
    ],
)  # fmt: skip
def test_names_of_others_are_refused(name: str) -> None:
    said = reply(question(name))
    assert (RCODE[said.header.rcode], said.header.aa, said.rr, said.auth) == ("REFUSED", 0, [], [])


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_the_zone_is_not_handed_out_whole(kind: str) -> None:
    assert RCODE[reply(question("lab.example", kind), udp=False).header.rcode] == "REFUSED"


def test_allowed_names_are_forwarded_for_our_lans_and_for_nobody_else() -> None:
    for name in ("gentoo.org", "distfiles.Gentoo.ORG"):
        forward = answer(question(name), ZONE, peer=PEER, udp=True)
        assert isinstance(forward, Forward)
        assert forward.most_bytes == 512
    assert RCODE[reply(question("gentoo.org"), peer=STRANGER).header.rcode] == "REFUSED"
    assert RCODE[reply(question("gentoo.org", rd=0)).header.rcode] == "REFUSED"
    assert RCODE[reply(question("gentoo.org", "ANY")).header.rcode] == "REFUSED"


def test_a_dot_allows_every_name_but_never_ours() -> None:
    everything = replace(ZONE, allow=(name_of("."),))
    assert isinstance(answer(question("example.net"), everything, peer=PEER, udp=True), Forward)
    assert RCODE[reply(question("web9.lab.example"), everything).header.rcode] == "NXDOMAIN"


def test_an_idn_zone_is_known_by_its_encoded_name() -> None:
    zone = replace(ZONE, name="xn--prfstand-75a.example", hosts={"xn--mller-kva": (PEER,)})
    said = reply(question("xn--mller-kva.xn--prfstand-75a.example"), zone)
    assert shown(said) == ["A 10.77.9.50"]


@pytest.mark.parametrize(
    ("flags", "counts", "rcode"),
    [
        (0x2900, (1, 0, 0, 0), "NOTIMP"),  # UPDATE
        (0x2000, (1, 0, 0, 0), "NOTIMP"),  # NOTIFY
        (0x0100, (0, 0, 0, 0), "FORMERR"),
        (0x0100, (2, 0, 0, 0), "FORMERR"),
        (0x0100, (1, 1, 0, 0), "FORMERR"),
        (0x0100, (1, 0, 0, 9), "FORMERR"),
        (0x0100, (1, 0, 0, 1), "FORMERR"),
    ],
)
def test_what_is_no_plain_question_gets_a_bare_refusal(
    flags: int, counts: tuple[int, ...], rcode: str
) -> None:
    data = question("web1.lab.example")
    head = b"".join(number.to_bytes(2, "big") for number in (4711, flags, *counts))
    said = answer(head + data[12:], ZONE, peer=PEER, udp=True)
    assert isinstance(said, bytes) and len(said) == 12
    record = DNSRecord.parse(said)
    assert (record.header.id, RCODE[record.header.rcode], record.header.qr) == (4711, rcode, 1)
    assert record.header.opcode == flags >> 11 & 15


def test_a_record_that_breaks_its_own_parser_is_a_malformed_query() -> None:
    """Found by fuzzing: dnslib decodes the tag of a CAA record without a look at what it is."""
    caa = b"\0" + struct.pack("!HHIH", 257, 1, 0, 4) + b"\0\2\xff\xff"
    head = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 1)
    said = answer(head + question("web1.lab.example")[12:] + caa, ZONE, peer=PEER, udp=True)
    assert isinstance(said, bytes)
    assert RCODE[DNSRecord.parse(said).header.rcode] == "FORMERR"


def test_answers_and_scraps_get_no_reply() -> None:
    data = bytearray(question("web1.lab.example"))
    data[2] |= 0x80
    assert answer(bytes(data), ZONE, peer=PEER, udp=True) is None
    assert slip(bytes(data)) is None
    assert answer(bytes(data[:11]), ZONE, peer=PEER, udp=True) is None


def test_a_newer_edns_is_told_which_one_is_known() -> None:
    said = reply(question("web1.lab.example", edns=1232, version=1))
    (opt,) = said.ar
    assert (said.rr, opt.ttl >> 24, opt.ttl >> 16 & 255) == ([], 1, 0)


@pytest.mark.parametrize(
    ("edns", "most"), [(None, 512), (100, 512), (512, 512), (800, 800), (1232, 1232), (65535, 1232)]
)
def test_udp_is_as_long_as_the_client_takes_and_never_longer_than_1232(edns: int | None, most: int) -> None:
    query = parse(question("gentoo.org", edns=edns))
    assert query is not None and query.udp_bytes == most


def crowd(size: int) -> Zone:
    addresses = tuple(IPv4Address("10.77.9.0") + number for number in range(size))
    return replace(ZONE, hosts={"crowd": addresses})


def test_too_long_an_answer_has_no_records_but_tc_and_is_whole_by_tcp() -> None:
    said = reply(question("crowd.lab.example"), crowd(40))
    assert (said.header.tc, said.rr) == (1, [])
    whole = reply(question("crowd.lab.example"), crowd(40), udp=False)
    assert (whole.header.tc, len(whole.rr)) == (0, 40)


KINDS = st.sampled_from(["A", "AAAA", "ANY", "NS", "PTR", "SOA", "SRV", "TXT", "MX", "CNAME"])
LABELS = st.sampled_from(
    [b"lab", b"example", b"web1", b"crowd", b"_tcp", b"_http", b"in-addr", b"arpa", b"9", b"77", b"10"]
) | st.binary(min_size=1, max_size=63).filter(lambda label: label.isascii())


@given(
    st.lists(LABELS, max_size=6).filter(lambda name: sum(map(len, name)) + len(name) < 250),
    KINDS,
    st.none() | st.integers(0, 65535),
    st.integers(0, 60),
)
def test_no_answer_of_ours_is_longer_than_the_stated_factor(
    name: list[bytes], kind: str, edns: int | None, size: int
) -> None:
    zone = replace(crowd(size), name="a-long-name-" + "x" * 40 + ".of-a-zone.lab.example")
    for asked in (name, [b"crowd", *zone.apex], [*name[:1], *zone.apex]):
        data = question(asked, kind, edns=edns)
        said = answer(data, zone, peer=PEER, udp=True)
        assert isinstance(said, bytes)
        assert len(said) <= AMPLIFICATION * len(data)
        assert DNSRecord.parse(said).header.id == 4711
        slipped = slip(data)
        assert slipped is not None and len(slipped) <= len(data)


@settings(max_examples=400)
@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_answered_or_not_but_never_fail(data: bytes, udp: bool) -> None:
    said = answer(data, ZONE, peer=PEER, udp=udp)
    assert said is None or isinstance(said, (bytes, Forward))
    slip(data)


SEEDS = [
    question("web1.lab.example"),
    question("_distserver._tcp.lab.example", "SRV", edns=4096),
    question("50.9.77.10.in-addr.arpa", "PTR", edns=1232),
    question("distfiles.gentoo.org", "AAAA", edns=512),
]


@settings(max_examples=400)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(-3, 40),
)
def test_mutated_questions_never_fail_and_never_amplify(
    seed: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    mutated = bytes(data[:cut] if cut < 0 else data + bytes(cut))
    match answer(mutated, ZONE, peer=PEER, udp=True):
        case bytes() as said:
            assert len(said) <= AMPLIFICATION * len(mutated)
            assert said[:2] == mutated[:2] and said[2] & 0x80
        case Forward(query):
            assert is_answer(ask(query, 1), ask(query, 1)) is False


def test_a_chain_of_pointers_as_deep_as_a_question_may_be_long_is_refused_quickly() -> None:
    # Each pointer leads to the one before it; the first to the question's name.
    chain = b"".join((0xC000 | place).to_bytes(2, "big") for place in (12, *range(40, 500, 2)))
    head = bytes.fromhex("1267010000010000 00000002".replace(" ", ""))
    first = b"\0" + (41).to_bytes(2, "big") + b"\x04\xd0" + bytes(4) + len(chain).to_bytes(2, "big") + chain
    data = head + b"\3lab\7example\0" + b"\0\1\0\1" + first
    data = data[:500] + (0xC000 | (len(data[:500]) - 2)).to_bytes(2, "big") + b"\0\1\0\1" + bytes(6)
    said = answer(data, ZONE, peer=PEER, udp=True)
    assert isinstance(said, bytes)


# Relaying what others say.


def upstream(asked: bytes, *, rcode: int = 0, size: int = 1) -> bytes:
    record = DNSRecord.parse(asked)
    said = record.reply(ra=1, aa=1)
    said.header.rcode = rcode
    for number in range(size):
        said.add_answer(dnslib.RR(record.q.qname, rdata=dnslib.A((192, 0, 2, number)), ttl=60))
    return bytes(said.pack())


def test_an_answer_of_another_server_becomes_ours() -> None:
    data = question("WWW.gentoo.org")
    query = parse(data)
    assert query is not None
    asked = ask(query, 99)
    came = upstream(asked.replace(b"WWW", b"www"))
    assert is_answer(asked, came)
    said = DNSRecord.parse(relay(query, came, most_bytes=512))
    assert (said.header.id, said.header.aa, said.header.ra, said.header.rd) == (4711, 0, 1, 1)
    assert said.q.qname.label == (b"WWW", b"gentoo", b"org")
    assert [str(rr.rdata) for rr in said.rr] == ["192.0.2.0"]
    assert said.rr[0].rname == said.q.qname


def test_what_is_too_long_for_the_client_becomes_tc() -> None:
    query = parse(question("www.gentoo.org", edns=600))
    assert query is not None
    said = relay(query, upstream(ask(query, 99), size=60), most_bytes=query.udp_bytes)
    record = DNSRecord.parse(said)
    assert (record.header.tc, record.rr, record.header.id) == (1, [], 4711)
    assert is_truncated(said) and len(said) < 100


@pytest.mark.parametrize(
    "change",
    [
        lambda came: b"\0\1" + came[2:],  # another number
        lambda came: came[:2] + b"\x01\x00" + came[4:],  # a question
        lambda came: came[:2] + b"\xa8\x00" + came[4:],  # an answer to an update
        lambda came: came.replace(b"\3www", b"\3wwx", 1),
        lambda came: came.replace(b"org\0\0\1\0\1", b"org\0\0\x1c\0\1", 1),  # of another type
        lambda came: came.replace(b"org\0\0\1\0\1", b"org\0\0\1\0\3", 1),  # of another class
        lambda came: came[:4] + b"\0\0" + came[6:],
        lambda came: came[:11],
        lambda came: b"",
    ],
)
def test_what_does_not_answer_what_was_asked_is_not_taken(change: object) -> None:
    assert callable(change)
    query = parse(question("www.gentoo.org"))
    assert query is not None
    asked = ask(query, 99)
    came = upstream(asked)
    assert is_answer(asked, came)
    assert not is_answer(asked, change(came))


@given(st.binary(max_size=300))
def test_no_bytes_of_another_server_make_relaying_fail(junk: bytes) -> None:
    query = parse(question("www.gentoo.org", edns=1232))
    assert query is not None
    asked = ask(query, 99)
    assert not is_answer(asked, junk) or junk[:2] == asked[:2]
    came = upstream(asked)[: len(asked) - 11] + junk
    if is_answer(asked, came):
        assert relay(query, came, most_bytes=1232)[:2] == (4711).to_bytes(2, "big")


# How much one address gets.


def test_a_burst_is_answered_then_every_other_question_is_told_to_come_by_tcp() -> None:
    limiter = Limiter(rate=10, burst=5)
    said = [limiter.judge("10.0.0.1", 0.0) for _ in range(9)]
    assert said == [Verdict.ANSWER] * 5 + [Verdict.DROP, Verdict.SLIP, Verdict.DROP, Verdict.SLIP]
    assert limiter.judge("10.0.0.2", 0.0) is Verdict.ANSWER
    assert limiter.judge("10.0.0.1", 0.1) is Verdict.ANSWER
    assert limiter.judge("10.0.0.1", 0.1) is Verdict.DROP


@given(st.lists(st.sampled_from([0.0, 0.001, 0.04, 0.06, 2.0]), min_size=1, max_size=100))
@example([0.0, 2.0, *[0.0] * 20])
def test_at_no_time_an_address_gets_more_than_its_rate_and_one_burst(gaps: list[float]) -> None:
    limiter, now, answered = Limiter(rate=20, burst=8), 0.0, []
    for gap in gaps:
        now += gap
        if limiter.judge("10.0.0.1", now) is Verdict.ANSWER:
            answered.append(now)
    for count, first in enumerate(answered):
        for more, last in enumerate(answered[count:], 1):
            assert more <= 8 + 20 * (last - first) + 1e-6


def test_strangers_cannot_make_the_table_grow() -> None:
    limiter = Limiter(most_sources=100)
    for number in range(1000):
        limiter.judge(f"10.0.{number >> 8}.{number & 255}", 0.0)
    assert len(limiter) == 100


@pytest.mark.parametrize(("prefix", "depth"), [(8, 1), (9, 2), (16, 2), (22, 3), (24, 3), (26, 3), (30, 3)])
def test_reverse_zones_are_cut_at_octets(prefix: int, depth: int) -> None:
    assert reverse_depth(IPv4Network(("10.0.0.0", prefix))) == depth
