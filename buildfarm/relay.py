"""A network namespace with nothing but lo, whose ports lead to compile hosts; dies with its process.

Run as `python3 -I relay.py PLAN`, standard library only. PLAN is JSON: `directory`, `routes` (port, address,
target) and how many connections are recorded (`first`, `every`). In the directory appear `ready` (the path of
the namespace), `counts` (JSON, what each port carried) and `samples/PORT-NUMBER.request` and `.response`; who
writes port numbers to the file `stopped` there closes those routes.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
CONNECT_SECONDS = 3.0
DEAD_SECONDS = 10.0
"""A host that failed is not tried again for so long: the build must not wait for it."""
TICK_SECONDS = 0.3
LARGEST_SAMPLE = 16 * 2**20
CHUNK = 256 * 1024
libc = ctypes.CDLL(None, use_errno=True)


class Route:
    """One port inside, one host outside, and what went through."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.port = int(plan["port"])
        self.address = str(plan["address"])
        self.target = int(plan["target"])
        self.connections = self.answered = self.failures = self.bytes_out = self.bytes_in = 0
        self.dead_until = 0.0
        self.stopped = False
        self.open: set[asyncio.StreamWriter] = set()

    def counts(self) -> dict[str, int]:
        names = ("connections", "answered", "failures", "bytes_out", "bytes_in")
        return {name: getattr(self, name) for name in names}

    def close(self) -> None:
        for writer in self.open:
            writer.transport.abort()

    def fail(self, now: float) -> None:
        self.failures += 1
        self.dead_until = now + DEAD_SECONDS
        self.close()


class Relay:
    def __init__(self, plan: dict[str, Any]) -> None:
        self.directory = Path(plan["directory"])
        self.routes = {int(one["port"]): Route(one) for one in plan["routes"]}
        self.first, self.every = int(plan["first"]), int(plan["every"])

    async def serve(self, sockets: dict[int, socket.socket], ready: str) -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        for port, listening in sockets.items():
            await asyncio.start_server(self._accept(self.routes[port]), sock=listening)
        put(self.directory / "ready", ready)
        while not stop.is_set():
            self._tick()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_SECONDS)
        self._tick()

    def _tick(self) -> None:
        put(self.directory / "counts", json.dumps({port: one.counts() for port, one in self.routes.items()}))
        stopped = self.directory / "stopped"
        for word in stopped.read_text().split() if stopped.exists() else ():
            route = self.routes.get(int(word))
            if route and not route.stopped:
                route.stopped = True
                route.close()

    def _accept(self, route: Route) -> Any:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._forward(route, reader, writer)
            finally:
                writer.close()

        return accept

    async def _forward(
        self, route: Route, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop().time
        if route.stopped or clock() < route.dead_until:
            writer.transport.abort()
            return
        route.connections += 1
        number = route.connections
        sampled = number <= self.first or (self.every and number % self.every == 0)
        try:
            connecting = asyncio.open_connection(route.address, route.target)
            there_reader, there = await asyncio.wait_for(connecting, CONNECT_SECONDS)
        except (OSError, TimeoutError):
            route.fail(clock())
            writer.transport.abort()
            return
        keep_alive(there.get_extra_info("socket"))
        route.open |= {there, writer}
        request, response = bytearray(), bytearray()
        out = asyncio.create_task(self._pump(route, reader, there, request if sampled else None, "bytes_out"))
        back = asyncio.create_task(
            self._pump(route, there_reader, writer, response if sampled else None, "bytes_in")
        )
        try:
            # The client says nothing after its request and hangs up when it has the answer, or is killed.
            await asyncio.wait({out, back}, return_when=asyncio.FIRST_COMPLETED)
            if back.done() and back.exception() is None and back.result() > 0:
                route.answered += 1
                self._keep(route, number, request, response)
            elif back.done() or out.exception() is not None:
                # It hung up without a word, or cannot be reached any more: its daemon or its power died.
                route.fail(clock())
        finally:
            for task in (out, back):
                task.cancel()
            await asyncio.gather(out, back, return_exceptions=True)
            route.open -= {there, writer}
            there.transport.abort()

    async def _pump(
        self,
        route: Route,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        record: bytearray | None,
        counter: str,
    ) -> int:
        """Pass on until the end; how many octets. Only a failure of the compile host is raised."""
        total = 0
        outward = counter == "bytes_out"
        while True:
            try:
                data = await source.read(CHUNK)
            except OSError:
                if outward:
                    return total
                raise
            if not data:
                return total
            total += len(data)
            setattr(route, counter, getattr(route, counter) + len(data))
            if record is not None and len(record) <= LARGEST_SAMPLE:
                record += data
            try:
                sink.write(data)
                await sink.drain()
            except OSError:
                if outward:
                    raise
                return total

    def _keep(self, route: Route, number: int, request: bytearray, response: bytearray) -> None:
        whole = request and response and max(len(request), len(response)) <= LARGEST_SAMPLE
        if whole and response.startswith(b"DONE"):
            place = self.directory / "samples" / f"{route.port}-{number}"
            put(place.with_suffix(".request"), bytes(request))
            put(place.with_suffix(".response"), bytes(response))


def keep_alive(one: socket.socket) -> None:
    """A host without power says nothing: notice within a quarter of a minute, also while it compiles."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 3), ("TCP_KEEPCNT", 3)):
        one.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 15000)


def put(file: Path, content: str | bytes) -> None:
    part = file.with_name(f".{file.name}")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    part.replace(file)


def check(status: int, what: str) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def loopback_up() -> None:
    """ioctl(SIOCSIFFLAGS) as netdevice(7) has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, SIOCGIFFLAGS, asked), 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def main() -> None:
    plan = json.loads(sys.argv[1])
    relay = Relay(plan)
    outside = os.open("/proc/self/ns/net", os.O_RDONLY)
    check(libc.unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)")
    loopback_up()
    # A socket stays in the namespace it was made in.
    sockets = {}
    for port in relay.routes:
        sockets[port] = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sockets[port].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sockets[port].bind(("127.0.0.1", port))
        sockets[port].listen(256)
    inside = os.open("/proc/self/ns/net", os.O_RDONLY)
    check(libc.setns(outside, CLONE_NEWNET), "setns")
    asyncio.run(relay.serve(sockets, f"/proc/{os.getpid()}/fd/{inside}"))


if __name__ == "__main__":
    main()
