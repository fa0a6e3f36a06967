"""What is fuzzed: each target takes bytes as they come from a network and asserts what must hold for any."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from appliance import first_report, medium
from appliance.errors import Problem
from appliance.facts import chosen_in, parse_facts, render_facts
from appliance.farm_model import Release
from appliance.install import default_name, describe, plan_install, render
from appliance.match import choose
from appliance.model import NetBoot
from appliance.net_settings import NetSettings
from appliance.overlays import example_site
from appliance.site import find_profile, read_site
from pxe import dns, packets
from pxe.dhcp import PXE_PORT, SERVER_PORT
from pxe.dns_zone import Zone
from pxe.links import Link
from pxe.malformed import Malformed
from pxe.names import Names
from pxe.policy import Here
from pxe.rarp_server import RarpServer
from pxe.responder import Responder
from pxe.sightings import Sightings
from pxe.tftp_server import TftpServer
from tests.fake_director import FakeDirector

Target = Callable[[bytes], None]

SEEDS = Path("tests/data/fuzz")
"""A directory for each target: packets of real firmware from captures, the rest made by encoders."""

HERE = IPv4Address("127.0.0.1")
LINK = Link("eth0", 2, HERE, IPv4Network("127.0.0.0/8"), "52:54:00:00:00:02", 1500)
PEER = "10.77.9.50"
DHCP_FACTOR = 2.5
"""A DHCP answer is at most this times as long as the packet it answers."""
FIRST_TFTP_BYTES = 516
"""Nobody who did not prove to be there is sent more at a time."""
BETWEEN = b"\xff|\xff"
"""Separates the datagrams of one client in an input of the target tftp."""


def dhcp() -> Target:
    """Ports 67 and 4011: decoding, decision, adapting, encoding."""
    director = FakeDirector({"*": NetBoot("20260101-0123456789ab", "quiet", "a test")})
    sent: list[bytes] = []
    responder = Responder(director, 80, Sightings(), lambda _port, data, _to, _link: sent.append(data))

    def one(data: bytes) -> None:
        for port in (SERVER_PORT, PXE_PORT):
            sent.clear()
            responder.receive(data, (PEER, 68), port=port, link=LINK)
            assert sum(map(len, sent)) <= DHCP_FACTOR * len(data), f"{len(data)} bytes made {sent}"
        for told in (director.records, director.asked, director.won):
            told.clear()

    return one


def tftp() -> Target:
    """Port 69 and the transfer that it begins, on real sockets."""
    loop = asyncio.new_event_loop()
    content = bytes(range(256)) * 8

    def resolve(name: str, _peer: str) -> bytes:
        parts = name.split("/")
        assert name and "\0" not in name and not {"", ".", ".."} & set(parts), repr(name)
        return content

    async def talk(data: bytes) -> None:
        server = TftpServer(str(HERE), resolve, finished=lambda *_: None, roots=(Path("/nonexistent"),))
        first, *others = data.split(BETWEEN)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
            client.bind((str(HERE), 0))
            server.receive(first, client.getsockname())
            answer, transfer = _received(client)
            assert len(answer) <= FIRST_TFTP_BYTES, answer
            for datagram in others[:8]:
                if transfer is None:
                    break
                # A transfer that is over has closed its port.
                with contextlib.suppress(ConnectionRefusedError):
                    client.sendto(datagram, transfer)
                await asyncio.sleep(0)
        server.close()

    return lambda data: loop.run_until_complete(talk(data))


def _received(client: socket.socket) -> tuple[bytes, tuple[str, int] | None]:
    """All that waits at a socket, and who sent it."""
    whole, sender = b"", None
    with contextlib.suppress(BlockingIOError):
        while True:
            data, sender = client.recvfrom(65536)
            whole += data
    return whole, sender


def dns_question() -> Target:
    """Port 53, by UDP and TCP."""
    zone = Zone(
        name="lab.example",
        server=HERE,
        http_port=80,
        networks=(IPv4Network("10.77.9.0/24"),),
        hosts={f"web{number}": (IPv4Address(f"10.77.9.{number}"),) for number in range(1, 60)},
        serial=7,
        allow=(),
    )

    def one(data: bytes) -> None:
        for udp in (True, False):
            said = dns.answer(data, zone, peer=IPv4Address(PEER), udp=udp)
            if udp and isinstance(said, bytes):
                assert len(said) <= dns.AMPLIFICATION * len(data), f"{data!r} made {said!r}"

    return one


def rarp() -> Target:
    """RARP questions: the sender's address first, then the packet."""
    mac = "08:00:20:11:22:33"
    director = FakeDirector(reservations={mac: IPv4Address(PEER)})
    server = RarpServer(director, Sightings(), lambda: 0.0)

    def one(data: bytes) -> None:
        said = server.answer(data[6:], data[:6].hex(":"), LINK)
        assert said is None or len(said) <= len(data)
        director.records.clear()

    return one


def frame() -> Target:
    """IP packets that are taken from the wire beside a DHCP server of this host."""

    def one(data: bytes) -> None:
        for summed in (True, False):
            with contextlib.suppress(Malformed):
                packets.decode(data, summed=summed)

    return one


def names() -> Target:
    """Names of files, as TFTP and HTTP pass them on, for a known client and a stranger."""
    boot, releases, pi, grub_home = rooms = [SEEDS / room for room in ("dhcp", "tftp", "names", "dns")]
    director = FakeDirector(
        {"*": NetBoot("20260101-0123456789ab", "quiet", "a test")},
        releases=releases,
        settings=NetSettings(raspberry_pi=pi),
    )
    sightings = Sightings()
    sightings.saw_address("52:54:00:77:00:01", PEER)
    here = Here(HERE, 80)
    resolver = Names(director, boot, sightings, grub_home=grub_home)

    def one(data: bytes) -> None:
        name = data.decode(errors="surrogateescape")
        for peer in (PEER, "10.77.9.51"):
            found = resolver.resolve(name, peer, here)
            if isinstance(found, Path):
                assert any(found.is_relative_to(room.resolve()) for room in rooms), f"{name!r}: {found}"
            elif found:
                assert len(found) < 4096, f"{name!r}: {found!r}"
        director.records.clear()
        director.asked.clear()

    return one


def report() -> Target:
    """What a machine posts that was installed from a medium."""
    key = first_report.credential(b"secret", "0123456789abcdef")

    def one(data: bytes) -> None:
        # As HTTP hands it on; a seed begins with its proof.
        with contextlib.suppress(Problem):
            told, text = first_report.split(data.decode(errors="replace"))
            assert not first_report.proven(told, key, text)
            read = first_report.parse(text)
            placed = first_report.placed(read, now=1e9, since=0.0)
            assert len(placed) <= first_report.MOST_EVENTS
            assert all(one.at <= 1e9 for one in placed)

    return one


def facts() -> Target:
    """What an installer says of its machine, and the plan that is made of it, here or on a medium."""
    profile = find_profile(read_site(example_site()), "vm")
    release = Release("20260101-0123456789ab", "vm", 1.0, "distserver:0123", 3, 100)

    def one(data: bytes) -> None:
        text = data.decode(errors="replace")
        with contextlib.suppress(Problem):
            said = parse_facts(text)
            assert parse_facts(render_facts(said)) == said
            assert chosen_in(text).isprintable()
            choose(said, {"vm": profile})
            plan = plan_install(said, profile, release, hostname=default_name(said.mac))
            script = render(plan, report="r", base="b", pool="p")
            # A machine that writes its own facts adds no line to what is done.
            assert len(script.splitlines()) == script.count("\n") < 40
            assert [line for line in script.splitlines() if line.startswith("disk ")] == [
                f"disk {plan.disks[0].disk.path}"
            ]
            assert all(line.isprintable() for line in describe(plan))

    return one


def description() -> Target:
    """The description of a medium that somebody else wrote."""

    def one(data: bytes) -> None:
        with contextlib.suppress(Problem):
            text = data.decode(errors="replace")
            assert medium.write(medium.parse(text)) == text

    return one


def planted() -> Target:
    """A promise that is broken: to see that such a thing is found."""

    def one(data: bytes) -> None:
        with contextlib.suppress(Malformed):
            assert not packets.decode(data, summed=False).payload, "this one is too long"

    return one


TARGETS: Mapping[str, Callable[[], Target]] = {
    "dhcp": dhcp,
    "tftp": tftp,
    "dns": dns_question,
    "rarp": rarp,
    "frame": frame,
    "names": names,
    "report": report,
    "facts": facts,
    "medium": description,
}
"""By name, what is fuzzed."""
