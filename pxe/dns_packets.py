"""DNS messages: bytes -> Query, and Records -> bytes (RFC 1035, 6891); dnslib is the codec."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

import dnslib

from pxe.malformed import Malformed, printable

Name = tuple[bytes, ...]
"""Labels, the host's first; compared in lower case (`lower`)."""

HEADER_BYTES = 12
MOST_QUERY_BYTES = 512
"""No question is longer: a name has 255 bytes, and what clients add (EDNS, a cookie, padding) fits, too."""
PLAIN_UDP_BYTES = 512
MOST_UDP_BYTES = 1232
"""What passes every path unfragmented (DNS flag day 2020), whatever the client says it takes."""
MOST_TCP_BYTES = 65535
IN, ANY_CLASS = 1, 255


class Kind(IntEnum):
    """Types of records and questions that are known by name here."""

    A = 1
    NS = 2
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    IXFR = 251
    AXFR = 252
    ANY = 255


class Rcode(IntEnum):
    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True)
class Soa:
    server: Name
    mailbox: Name
    serial: int
    refresh_seconds: int
    retry_seconds: int
    expire_seconds: int
    negative_seconds: int


@dataclass(frozen=True)
class Srv:
    target: Name
    port: int


@dataclass(frozen=True)
class Target:
    """The name an NS or PTR record points at."""

    name: Name


@dataclass(frozen=True)
class Text:
    text: str


Data = IPv4Address | Soa | Srv | Target | Text


@dataclass(frozen=True)
class Record:
    kind: Kind
    name: Name
    ttl_seconds: int
    data: Data


@dataclass(frozen=True)
class Query:
    """A question with what its answer depends on."""

    id: int
    name: Name
    """As it was asked: some clients mix the case and compare (draft-vixie-dnsext-dns0x20)."""
    kind: int
    qclass: int
    recursion: bool
    """RD: the client wants what others know, too."""
    edns_bytes: int | None = None
    """What a client with EDNS takes by UDP; None: it has no EDNS."""
    edns_version: int = 0

    @property
    def udp_bytes(self) -> int:
        """The longest answer it may get by UDP."""
        if self.edns_bytes is None:
            return PLAIN_UDP_BYTES
        return min(max(self.edns_bytes, PLAIN_UDP_BYTES), MOST_UDP_BYTES)


class Unanswerable(Malformed):
    """A query that makes no sense or is none of ours; `reply` says so, without a question."""

    def __init__(self, reply: bytes, wrong: Malformed) -> None:
        super().__init__(wrong.field, expected=wrong.expected, came=wrong.came)
        self.reply = reply


def lower(name: Name) -> Name:
    return tuple(label.lower() for label in name)


def name_of(text: str) -> Name:
    """`web1.lab.example` as labels; ASCII."""
    return tuple(label.encode("ascii") for label in text.rstrip(".").split(".") if label)


def text_of(name: Name) -> str:
    """For logs and people; bytes of strangers are escaped by whoever prints it."""
    return ".".join(label.decode("latin-1") for label in name)


def parse(data: bytes) -> Query | None:
    """The question in a datagram; None for what must not be answered at all (an answer, or no header).

    Raises Unanswerable, which carries the reply.
    """
    if len(data) < HEADER_BYTES:
        return None
    number, flags, questions, answers, authorities, additional = struct.unpack_from("!6H", data)
    if flags & 0x8000:
        return None  # Two servers that answer each other's answers would never stop.
    opcode = flags >> 11 & 15
    if opcode:
        wrong = Malformed("opcode", expected="0 (QUERY)", came=str(opcode))
        raise Unanswerable(bare(data, Rcode.NOTIMP), wrong)
    try:
        if (questions, answers, authorities) != (1, 0, 0) or additional > 2:
            came = f"{questions}, {answers}, {authorities}, {additional}"
            raise Malformed("counts", expected="1 question and at most 2 additional records", came=came)
        if len(data) > MOST_QUERY_BYTES:
            raise Malformed("query", expected=f"at most {MOST_QUERY_BYTES} bytes", came=f"{len(data)}")
        return _query(number, bool(flags & 0x0100), data)
    except Malformed as wrong:
        raise Unanswerable(bare(data, Rcode.FORMERR), wrong) from wrong


def _query(number: int, recursion: bool, data: bytes) -> Query:
    try:
        record = dnslib.DNSRecord.parse(data)
    except Exception as error:  # some records' parsers raise what Python raises (dnslib 0.9.26: CAA)
        raise Malformed("query", expected="a DNS message", came=printable(str(error)[:100])) from error
    question = record.questions[0]
    name = tuple(bytes(label) for label in question.qname.label)
    if any(len(label) > 63 for label in name) or sum(len(label) + 1 for label in name) > 254:
        raise Malformed("name", expected="at most 63 bytes a label and 255 in all", came=text_of(name)[:100])
    options = [one for one in record.ar if one.rtype == dnslib.QTYPE.OPT]
    if len(options) > 1:
        raise Malformed("EDNS", expected="one OPT record", came=str(len(options)))
    return Query(
        id=number,
        name=name,
        kind=question.qtype,
        qclass=question.qclass,
        recursion=recursion,
        edns_bytes=options[0].rclass if options else None,
        edns_version=options[0].ttl >> 16 & 255 if options else 0,
    )


def bare(data: bytes, rcode: Rcode) -> bytes:
    """An answer of 12 bytes to a message whose question cannot be repeated."""
    number, flags = struct.unpack_from("!2H", data)
    return struct.pack("!6H", number, 0x8000 | flags & 0x7900 | rcode, 0, 0, 0, 0)


def encode(
    query: Query,
    rcode: Rcode,
    *,
    most_bytes: int,
    answers: tuple[Record, ...] = (),
    authority: tuple[Record, ...] = (),
    additional: tuple[Record, ...] = (),
    authoritative: bool = False,
    truncated: bool = False,
) -> bytes:
    """The answer's bytes; one that is longer than `most_bytes` has no records and the TC bit instead."""
    header = dnslib.DNSHeader(
        id=query.id, qr=1, aa=int(authoritative), tc=int(truncated), rd=int(query.recursion), ra=0,
        rcode=rcode & 15,
    )  # fmt: skip
    message = dnslib.DNSRecord(header)
    message.add_question(dnslib.DNSQuestion(dnslib.DNSLabel(query.name), query.kind, query.qclass))
    if not truncated:
        message.add_answer(*map(_resource, answers))
        message.add_auth(*map(_resource, authority))
        message.add_ar(*map(_resource, additional))
    if query.edns_bytes is not None:
        message.add_ar(dnslib.EDNS0(udp_len=MOST_UDP_BYTES, ext_rcode=rcode >> 4))
    packed = bytes(message.pack())
    if len(packed) <= most_bytes or truncated:
        return packed
    return encode(query, rcode, most_bytes=most_bytes, authoritative=authoritative, truncated=True)


def _resource(record: Record) -> dnslib.RR:
    label = dnslib.DNSLabel(record.name)
    return dnslib.RR(label, int(record.kind), ttl=record.ttl_seconds, rdata=_rdata(record.data))


def _rdata(data: Data) -> dnslib.RD:
    match data:
        case IPv4Address():
            return dnslib.A(tuple(data.packed))
        case Target(name):
            # PTR and NS differ in their number only, which the record says.
            return dnslib.PTR(dnslib.DNSLabel(name))
        case Srv(target, port):
            return dnslib.SRV(0, 0, port, dnslib.DNSLabel(target))
        case Text(text):
            return dnslib.TXT(text)
        case Soa() as soa:
            times = (soa.refresh_seconds, soa.retry_seconds, soa.expire_seconds, soa.negative_seconds)
            server, mailbox = dnslib.DNSLabel(soa.server), dnslib.DNSLabel(soa.mailbox)
            return dnslib.SOA(server, mailbox, (soa.serial, *times))


# Asking another server.


def ask(query: Query, number: int) -> bytes:
    """The same question for a server that is asked on behalf of a client, under a number of our own."""
    message = dnslib.DNSRecord(dnslib.DNSHeader(id=number, rd=1))
    message.add_question(dnslib.DNSQuestion(dnslib.DNSLabel(query.name), query.kind, query.qclass))
    if query.edns_bytes is not None:
        message.add_ar(dnslib.EDNS0(udp_len=MOST_UDP_BYTES))
    return bytes(message.pack())


def is_answer(asked: bytes, came: bytes) -> bool:
    """Whether a message answers what was asked: an answer, with its number and its very question."""
    end = _question_end(asked)
    if len(came) < end or came[:2] != asked[:2]:
        return False
    flags, questions = struct.unpack_from("!2H", came, 2)
    # QR set and opcode QUERY. Names may come back in another case; type and class may not.
    return (
        flags & 0xF800 == 0x8000
        and questions == 1
        and came[HEADER_BYTES : end - 4].lower() == asked[HEADER_BYTES : end - 4].lower()
        and came[end - 4 : end] == asked[end - 4 : end]
    )


def _question_end(message: bytes) -> int:
    """Where the question of a message that `ask` made ends: its name is not compressed."""
    place = HEADER_BYTES
    while message[place]:
        place += 1 + message[place]
    return place + 5


def is_truncated(message: bytes) -> bool:
    return bool(message[2] & 2)


def relay(query: Query, came: bytes, *, most_bytes: int) -> bytes:
    """Another server's answer as ours: the client's number and name, not authoritative, recursion available.

    One that is too long is cut to the question, with the TC bit.
    """
    cut = encode(query, Rcode.NOERROR, most_bytes=most_bytes, truncated=True)
    end = HEADER_BYTES + sum(len(label) + 1 for label in query.name) + 5
    # RD is the client's; RA says that we do ask others; AA, AD and Z are not ours to say.
    flags = struct.unpack_from("!H", came, 2)[0] & 0x820F | (0x0100 if query.recursion else 0) | 0x0080
    head = struct.pack("!2H", query.id, flags)
    if len(came) > most_bytes or is_truncated(came):
        return struct.pack("!2H", query.id, flags | 0x0200) + cut[4:]
    return head + came[4:HEADER_BYTES] + cut[HEADER_BYTES:end] + came[end:]
