"""The DNS server on port 53, asked by dig; dnsmasq is the server it asks for others' names."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import dnslib
import pytest

from appliance.deadline import wait_until
from appliance.dns_settings import DnsSettings, NameBook
from appliance.errors import Problem
from appliance.run import run, running
from pxe.dns_server import MOST_CONNECTIONS_PER_CLIENT, DnsServer, open_dns
from tests.integration.netyard import DEADLINE_SECONDS, Yard, inside, served_from, yard

SERVER, CLIENT = "10.77.9.2", "10.77.9.3"
FAR, UPSTREAM = "10.77.8.2", "10.77.8.1"
DEAD = "10.77.8.99"
SETTINGS = DnsSettings("xn--prfstand-75a.example", (DEAD, UPSTREAM), ("upstream.example", "silent.example"))
ZONE = SETTINGS.zone
HOSTS = {"web1": (IPv4Address("10.77.9.50"),), "xn--mller-kva": (IPv4Address("10.77.9.51"),)}


@dataclass
class Book:
    """A Directory whose page can be turned."""

    page: NameBook = field(default_factory=lambda: NameBook(SETTINGS, HOSTS, serial=9))

    def book(self) -> NameBook:
        return self.page


@dataclass(frozen=True)
class Served:
    yard: Yard
    book: Book

    def dig(self, *words: str) -> str:
        argv = ["dig", f"@{SERVER}", "+time=10", "+tries=1", *words]
        return run(argv, prefix=self.yard.on("client"), env={"LC_ALL": "C.UTF-8"}, timeout_seconds=60).stdout

    def short(self, *words: str) -> list[str]:
        return self.dig("+short", *words).splitlines()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with yard() as made, contextlib.ExitStack() as stack:
        made.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", f"{CLIENT}/24"))
        made.wire(("server", "eth1", f"{FAR}/24"), ("upstream", "eth0", f"{UPSTREAM}/24"))
        # Nobody is there, and nobody says so: like a server that is down.
        made.ip("server", f"neigh add {DEAD} lladdr 02:00:00:00:00:63 dev eth1")
        stack.enter_context(other_server(made, tmp_path_factory.mktemp("dnsmasq") / "log"))
        book = Book()
        stack.enter_context(serving(made.room("server"), book))
        yield Served(made, book)


@contextlib.contextmanager
def other_server(made: Yard, log: Path) -> Iterator[None]:
    records = ["--txt-record=long.upstream.example," + ",".join(["x" * 200] * 12)]
    records += [
        "--host-record=www.upstream.example,192.0.2.80",
        "--cname=alias.upstream.example,www.upstream.example",
    ]
    argv = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--pid-file=",
    ]
    argv += [
        f"--listen-address={UPSTREAM}",
        "--bind-interfaces",
        "--user=root",
        "--log-queries",
        "--log-facility=-",
        "--local=/upstream.example/",
        *records,
    ]
    with running(argv, prefix=made.on("upstream"), output=log):
        wait_until(
            lambda: "started" in log.read_text() or None, seconds=DEADLINE_SECONDS, what="dnsmasq is up"
        )
        yield


@contextlib.contextmanager
def serving(room: str, book: Book) -> Iterator[None]:
    server = DnsServer(book, 80)
    with inside(room):
        server.open(IPv4Address(SERVER), IPv4Network("10.77.9.0/24"))

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        await server.attend(IPv4Address(SERVER))
        ready()
        await stop.wait()
        server.leave(IPv4Address(SERVER))
        await server.finish()

    with served_from(room, serve):
        yield


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig_finds_machines_both_ways_and_the_services(served: Served, transport: str) -> None:
    assert served.short(transport, f"web1.{ZONE}") == ["10.77.9.50"]
    assert served.short(transport, f"boot.{ZONE}") == [SERVER]
    assert served.short(transport, "-x", "10.77.9.50") == [f"web1.{ZONE}."]
    assert served.short(transport, f"_http._tcp.{ZONE}", "SRV") == [f"0 0 80 boot.{ZONE}."]
    (soa,) = served.short(transport, ZONE, "SOA")
    assert soa == f"boot.{ZONE}. hostmaster.{ZONE}. 9 300 60 86400 5"


def test_dig_finds_a_name_with_letters_of_its_own(served: Served) -> None:
    assert served.short("+idnin", "müller.prüfstand.example") == ["10.77.9.51"]


def test_dig_sees_whose_answer_it_is(served: Served) -> None:
    own = served.dig(f"web1.{ZONE}")
    assert "status: NOERROR" in own
    assert "flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1" in own
    missing = served.dig(f"web9.{ZONE}")
    assert "status: NXDOMAIN" in missing
    assert "SOA" in missing
    assert "status: NOERROR" in served.dig(f"web1.{ZONE}", "AAAA")
    assert "status: REFUSED" in served.dig("www.gentoo.org")
    assert "status: REFUSED" in served.dig(ZONE, "CH", "TXT")
    assert "status: NOTIMP" in served.dig("+opcode=NOTIFY", ZONE)
    assert "status: BADVERS" in served.dig("+edns=3", "+noednsnegotiation", ZONE)
    assert "Transfer failed" in served.dig(ZONE, "AXFR")


def test_allowed_names_are_asked_of_the_next_server_when_the_first_is_silent(served: Served) -> None:
    said = served.dig("alias.upstream.example")
    assert "flags: qr rd ra;" in said
    assert "192.0.2.80" in said
    assert "status: NXDOMAIN" in served.dig("nothing.upstream.example")
    assert served.short("+tcp", "www.upstream.example") == ["192.0.2.80"]


def test_a_long_answer_of_another_server_comes_by_tcp(served: Served) -> None:
    said = served.dig("+ignore", "long.upstream.example", "TXT")
    assert "flags: qr tc rd ra;" in said
    (line,) = served.short("long.upstream.example", "TXT")
    assert line.count("x") == 2400


def test_nobody_answering_is_a_failure_that_is_said(served: Served) -> None:
    # dnsmasq refuses what it has no server for; the other one is silent.
    assert "status: REFUSED" in served.dig("+time=20", "silent.example")
    before = served.book.page
    served.book.page = NameBook(DnsSettings(ZONE, (DEAD,), ("silent.example",)), HOSTS, serial=10)
    try:
        assert "status: SERVFAIL" in served.dig("+time=20", "silent.example")
    finally:
        served.book.page = before


def test_a_new_name_is_known_at_once(served: Served) -> None:
    before = served.book.page
    served.book.page = NameBook(SETTINGS, {**HOSTS, "web2": (IPv4Address("10.77.9.60"),)}, serial=11)
    try:
        assert served.short(f"web2.{ZONE}") == ["10.77.9.60"]
        assert served.short(f"_tftp._udp.{ZONE}", "SRV") == [f"0 0 69 boot.{ZONE}."]
    finally:
        served.book.page = before
    assert served.short(f"web2.{ZONE}") == []


def question(name: str) -> bytes:
    return bytes(dnslib.DNSRecord.question(name).pack())


def test_one_address_that_asks_without_end_is_told_to_come_by_tcp_and_comes(served: Served) -> None:
    data = question(f"web1.{ZONE}")
    served.yard.ip("client", "addr add 10.77.9.200/24 dev eth0")
    with inside(served.yard.room("client")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind(("10.77.9.200", 0))
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        asking.settimeout(0.2)

        def flood() -> bool | None:
            for _ in range(200):
                asking.sendto(data, (SERVER, 53))
            with contextlib.suppress(TimeoutError):
                while True:
                    said = asking.recv(2048)
                    if said[2] & 2:
                        assert len(said) == len(data)
                        return True
            return None

        wait_until(flood, seconds=DEADLINE_SECONDS, what="an answer with TC comes")
    assert served.short("-b", "10.77.9.200", "+tcp", f"web1.{ZONE}") == ["10.77.9.50"]
    # The others are not touched by it.
    assert served.short("+notcp", f"web1.{ZONE}") == ["10.77.9.50"]


@contextlib.contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with inside(served.yard.room("client")), socket.create_connection((SERVER, 53), timeout=10) as made:
        yield made


def framed(data: bytes) -> bytes:
    return struct.pack("!H", len(data)) + data


def take(line: socket.socket) -> bytes:
    with line.makefile("rb") as reading:
        (size,) = struct.unpack("!H", reading.read(2))
        return reading.read(size)


def test_several_questions_on_one_connection_are_answered_in_turn(served: Served) -> None:
    first, second = question(f"web1.{ZONE}"), question(f"web9.{ZONE}")
    with connected(served) as line:
        # In pieces, as TCP may bring them.
        line.sendall(framed(first)[:5])
        line.sendall(framed(first)[5:] + framed(second))
        with line.makefile("rb") as reading:
            for asked, rcode in ((first, 0), (second, 3)):
                (size,) = struct.unpack("!H", reading.read(2))
                said = reading.read(size)
                assert (said[:2], said[3] & 15) == (asked[:2], rcode)


@pytest.mark.parametrize("sent", [b"\xff\xff", framed(b"\0" * 11), framed(b"\0" * 600)])
def test_a_connection_that_makes_no_sense_is_closed(served: Served, sent: bytes) -> None:
    with connected(served) as line:
        line.sendall(sent)
        assert line.recv(100) == b""


def test_one_client_cannot_take_all_connections(served: Served) -> None:
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(connected(served)) for _ in range(MOST_CONNECTIONS_PER_CLIENT)]
        for line in lines:
            line.sendall(framed(question(f"web1.{ZONE}")))
            assert take(line)
        # Closed with or without what it had sent being read.
        with connected(served) as line, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            line.sendall(framed(question(f"web1.{ZONE}")))
            assert line.recv(10) == b""


def test_a_port_that_is_taken_is_said_in_a_sentence(served: Served) -> None:
    with inside(served.yard.room("server")), pytest.raises(Problem, match=r"port 53 of 10.77.9.2 is taken"):
        open_dns(IPv4Address(SERVER), IPv4Network("10.77.9.0/24"))


def test_forged_answers_are_not_taken(served: Served) -> None:
    """A server that answers with junk, another number and another name before it tells the truth."""
    before = served.book.page
    liar = "10.77.8.50"
    served.yard.ip("upstream", f"addr add {liar}/24 dev eth0")
    with inside(served.yard.room("upstream")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lying:
        lying.bind((liar, 53))
        lying.settimeout(DEADLINE_SECONDS)

        def lie() -> None:
            asked, peer = lying.recvfrom(2048)
            record = dnslib.DNSRecord.parse(asked)
            forged = record.reply()
            forged.add_answer(dnslib.RR(record.q.qname, rdata=dnslib.A("192.0.2.66")))
            bad = bytes(forged.pack())
            number = (record.header.id ^ 1).to_bytes(2, "big")
            for one in (b"", b"junk", number + bad[2:], bad.replace(b"\6silent", b"\6violet")):
                lying.sendto(one, peer)
            true = record.reply()
            true.add_answer(dnslib.RR(record.q.qname, rdata=dnslib.A("192.0.2.1")))
            lying.sendto(bytes(true.pack()), peer)

        thread = threading.Thread(target=lie)
        thread.start()
        served.book.page = NameBook(DnsSettings(ZONE, (liar,), ("silent.example",)), HOSTS, serial=12)
        try:
            assert served.short("silent.example") == ["192.0.2.1"]
        finally:
            served.book.page = before
            thread.join(DEADLINE_SECONDS)
