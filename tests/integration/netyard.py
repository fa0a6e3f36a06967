"""Network namespaces with wires between them, and the boot servers in one of them."""

import asyncio
import contextlib
import ctypes
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from appliance.deadline import wait_until
from appliance.model import NetBoot
from appliance.overlays import HOME
from appliance.run import Argument, run, running
from pxe import dhcp
from pxe.dhcp import MessageType, Packet
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.vlan import mac_of, tagging

MAC = "52:54:00:77:00:01"
UEFI = ((93, b"\0\7"), (60, b"PXEClient:Arch:00007:UNDI:003000"))
EVERYBODY = ("255.255.255.255", 67)
DEADLINE_SECONDS = 20.0


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in another network namespace; sockets keep the one they were made in."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _setns(there)
        yield
    finally:
        _setns(home)
        os.close(home)
        os.close(there)


def _setns(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0x40000000):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def served_from(
    room: str, serve: Callable[[Callable[[], None], asyncio.Event], Awaitable[None]]
) -> Iterator[None]:
    """`serve(ready, stop)` on a loop in a thread of a namespace, while the block lasts.

    The whole thread is in the namespace: transfers and questions to other servers open sockets of their own.
    """
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def run_there() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        await serve(ready.set, stop)

    def everything() -> None:
        with inside(room):
            asyncio.run(run_there())

    thread = threading.Thread(target=everything)
    thread.start()
    assert ready.wait(DEADLINE_SECONDS)
    try:
        yield
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()


@contextlib.contextmanager
def running_servers(room: str, servers: Servers) -> Iterator[None]:
    """Boot servers, opened and serving in a namespace while the block lasts."""
    with inside(room):
        servers.open()

    async def serve(ready: Callable[[], None], stop: asyncio.Event) -> None:
        ready()
        await servers.serve(stop)

    with served_from(room, serve):
        yield


@dataclass
class Yard:
    """Namespaces made on demand; their names end with those given here."""

    prefix: str
    rooms: list[str] = field(default_factory=list)
    devices: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def room(self, name: str) -> str:
        """The namespace of that name, made at the first call."""
        namespace = f"{self.prefix}-{name}"
        if name not in self.rooms:
            run(["ip", "netns", "add", namespace])
            self.rooms.append(name)
            run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        return namespace

    def ip(self, room: str, words: str) -> None:
        run(["ip", "-n", self.room(room), *words.split()])

    def on(self, room: str) -> list[str]:
        return ["ip", "netns", "exec", self.room(room)]

    def wire(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
        """A veth pair; each end is (room, interface, address/length or nothing)."""
        # Made inside a namespace: the host's own network is never touched.
        peer = ["peer", "name", other[1], "netns", self.room(other[0])]
        run(["ip", "-n", self.room(one[0]), "link", "add", one[1], "type", "veth", *peer])
        for room, interface, address in (one, other):
            if address:
                self.ip(room, f"addr add {address} dev {interface}")
            self.ip(room, f"link set {interface} up")

    def vlan(self, room: str, parent: str, number: int, address: str) -> None:
        """The device PARENT.NUMBER, there until the yard is left."""
        name = f"{parent}.{number}"
        with inside(self.room(room)):
            self.devices.enter_context(tagging(parent, name, number))
            mac = mac_of(parent)
        self.ip(room, f"link set {name} address {mac}")
        self.ip(room, f"addr add {address} dev {name}")
        self.ip(room, f"link set {name} up")


@contextlib.contextmanager
def yard() -> Iterator[Yard]:
    made = Yard(f"links{os.getpid()}-{secrets.token_hex(2)}")
    try:
        yield made
    finally:
        made.devices.close()
        for name in made.rooms:
            run(["ip", "netns", "del", f"{made.prefix}-{name}"], ok=(0, 1))


@contextlib.contextmanager
def serving(
    room: str,
    boot: Path,
    *interfaces: str,
    address: str = "",
    director: FakeDirector | None = None,
    beside_dhcp: bool = False,
    clock: Callable[[], float] = time.monotonic,
    http_port: int = 80,
    front: int = 0,
) -> Iterator[FakeDirector]:
    """The boot servers in a namespace, in a thread of their own."""
    boot.mkdir(parents=True, exist_ok=True)
    (boot / "snponly.efi").write_bytes(b"a boot program" * 1000)
    asked = director or FakeDirector({"*": NetBoot("r1", "quiet", "armed")})
    servers = Servers(
        Network(interfaces, http_port, address, beside_dhcp, front=front), asked, boot, clock=clock
    )
    with running_servers(room, servers):
        yield asked


@contextlib.contextmanager
def answering(net: Yard, words: Sequence[Argument], log: Path) -> Iterator[int]:
    """A boot server in the room `server` that is a process of its own, once it answers; its process ID."""
    with running(words, prefix=net.on("server"), output=log, env={"PYTHONPATH": str(HOME)}) as child:
        wait_until(
            lambda: "answering on eth0" in log.read_text() or None,
            seconds=DEADLINE_SECONDS,
            what="the boot server answers",
            last_seen=log.read_text,
        )
        yield child.pid


@contextlib.contextmanager
def port(room: str, number: int, interface: str = "", address: str = "") -> Iterator[socket.socket]:
    """A UDP socket of a client."""
    with inside(room), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        if interface:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind((address, number))
        made.settimeout(5)
        yield made


def packet(
    kind: MessageType,
    *options: tuple[int, bytes],
    mac: str = MAC,
    ciaddr: str = "0.0.0.0",
    giaddr: str = "0.0.0.0",
) -> bytes:
    """A DHCP message of a machine."""
    return dhcp.encode(
        Packet(
            op=1,
            xid=int.from_bytes(os.urandom(4), "big"),
            chaddr=bytes.fromhex(mac.replace(":", "")) + bytes(10),
            flags=0x8000,
            ciaddr=IPv4Address(ciaddr),
            giaddr=IPv4Address(giaddr),
            options=((53, bytes((kind,))), *options),
        )
    )


def discover(asking: socket.socket, *options: tuple[int, bytes], mac: str = MAC) -> Packet:
    """The OFFER a machine gets; asked again until it comes or the deadline passes."""
    asking.settimeout(0.2)

    def offered() -> Packet | None:
        asking.sendto(packet(MessageType.DISCOVER, *UEFI, *options, mac=mac), EVERYBODY)
        try:
            return dhcp.decode(asking.recv(2048))
        except TimeoutError:
            return None

    return wait_until(offered, seconds=DEADLINE_SECONDS, what="an OFFER comes")
