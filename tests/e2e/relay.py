"""A wire with a mind of its own: passes Ethernet frames between two interfaces, changed, lost or late.

`python -m tests.e2e.relay INNER OUTER [--poor] [--lose PERCENT] [--seed NUMBER]`, run inside the namespace.
"""

import argparse
import ctypes
import fcntl
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.deadline import wait_until
from appliance.lab import BRIDGE, Lan
from appliance.run import run, running
from pxe import dhcp
from pxe.dhcp import PXE_PORT, SERVER_PORT, Option
from pxe.malformed import Malformed

READY = "passing frames"
START_SECONDS = 20.0
HELD_SECONDS = 0.02
IPV4, UDP = b"\x08\0", 17
# <linux/sockios.h>, <linux/ethtool.h>, <linux/if_packet.h>
_SIOCETHTOOL, _ETHTOOL_STXCSUM = 0x8946, 0x17
_PACKET_OUTGOING = 4

Change = Callable[[bytes], bytes]


@dataclass
class PlainRom:
    """Makes iPXE's ROM look like any other PXE ROM: options 77 and 175 are gone until its first TFTP request.

    After that the boot program it fetched speaks for itself.
    """

    started: bool = False

    def __call__(self, frame: bytes) -> bytes:
        start = 14 + 4 * (frame[14] & 15) if len(frame) > 14 else 0
        if self.started or frame[12:14] != IPV4 or frame[23] != UDP or len(frame) < start + 8:
            return frame
        port = int.from_bytes(frame[start + 2 : start + 4], "big")
        if port == 69:
            self.started = True
        if port not in (SERVER_PORT, PXE_PORT):
            return frame
        try:
            packet = dhcp.decode(frame[start + 8 :])
        except Malformed:
            return frame
        kept = tuple(one for one in packet.options if one[0] not in (Option.USER_CLASS, Option.IPXE))
        return frame[:14] + _datagram(
            frame[14:start], frame[start : start + 4], replace(packet, options=kept)
        )


def _datagram(header: bytes, ports: bytes, packet: dhcp.Packet) -> bytes:
    """An IP header and a UDP datagram with lengths and checksum made again; UDP may go without one."""
    payload = dhcp.encode(packet)
    fresh = bytearray(header)
    fresh[2:4] = (len(header) + 8 + len(payload)).to_bytes(2, "big")
    fresh[10:12] = b"\0\0"
    total = sum(struct.unpack(f"!{len(fresh) // 2}H", fresh))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    fresh[10:12] = (total ^ 0xFFFF).to_bytes(2, "big")
    return bytes(fresh) + ports + struct.pack("!HH", 8 + len(payload), 0) + payload


@dataclass
class Weather:
    """Which frames are lost, doubled or overtaken: each of the three happens to `percent` of them."""

    percent: float
    chance: random.Random
    held: list[tuple[float, bytes]] = field(default_factory=list)

    def pass_on(self, frame: bytes, now: float) -> list[bytes]:
        """The frames that leave because this one came."""
        drawn = self.chance.uniform(0, 100) / self.percent if self.percent else 9.0
        if drawn < 1:
            return self.overdue(now)
        if drawn < 2:
            self.held.append((now + HELD_SECONDS, frame))
            return []
        sent = [frame, frame] if drawn < 3 else [frame]
        waiting, self.held = [one for _, one in self.held], []
        return [*sent, *waiting]

    def overdue(self, now: float) -> list[bytes]:
        """The held frames nothing overtook in time."""
        due = [one for until, one in self.held if until <= now]
        self.held = [one for one in self.held if one[0] > now]
        return due


def _open(interface: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    made.bind((interface, 0))
    made.setblocking(False)
    return made


def make_whole(interface: str) -> None:
    """Have the kernel finish checksums and cut segments before frames reach this interface."""
    value = ctypes.create_string_buffer(struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, _SIOCETHTOOL, request)


def _pump(inner: str, outer: str, change: Change, weather: Callable[[], Weather]) -> None:
    sockets = {name: _open(name) for name in (inner, outer)}
    ways = {
        sockets[inner]: (sockets[outer], change, weather()),
        sockets[outer]: (sockets[inner], lambda frame: frame, weather()),
    }
    print(READY, flush=True)
    with selectors.DefaultSelector() as selector:
        for one in ways:
            selector.register(one, selectors.EVENT_READ)
        while True:
            ready = selector.select(HELD_SECONDS)
            now = time.monotonic()
            for target, _, sky in ways.values():
                _send(target, sky.overdue(now))
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                target, changed, sky = ways[key.fileobj]
                for frame in _frames(key.fileobj):
                    _send(target, sky.pass_on(changed(frame), now))


def _frames(one: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            frame, address = one.recvfrom(65536)
        except BlockingIOError:
            return
        if address[2] != _PACKET_OUTGOING:
            yield frame


def _send(target: socket.socket, frames: list[bytes]) -> None:
    for frame in frames:
        try:
            target.send(frame)
        except BlockingIOError:
            # The machine does not read now: lost, as on a wire.
            continue


@contextmanager
def relayed(
    on: Lan, tap: str, output: Path, *, poor: bool = False, lose_percent: float = 0, seed: int = 0
) -> Iterator[None]:
    """Put the relay between a tap and the bridge for as long as the block lasts."""
    prefix = on.exec_prefix("lan")
    # Names of interfaces have at most 15 characters.
    near, far = f"n-{tap}", f"f-{tap}"
    for words in (
        ["link", "add", near, "type", "veth", "peer", "name", far],
        ["link", "set", tap, "nomaster"],
        ["link", "set", far, "master", BRIDGE, "up"],
        ["link", "set", near, "up"],
    ):
        run(["ip", *words], prefix=prefix)
    options = [*(["--poor"] if poor else []), "--lose", str(lose_percent), "--seed", str(seed)]
    argv = [sys.executable, "-m", "tests.e2e.relay", tap, near, far, *options]
    output.write_bytes(b"")
    with running(argv, prefix=prefix, output=output, cwd=Path.cwd()):
        wait_until(
            lambda: True if READY in output.read_text() else None,
            seconds=START_SECONDS,
            what="the relay passes frames",
            last_seen=output.read_text,
        )
        yield
    run(["ip", "link", "delete", near], prefix=prefix)
    run(["ip", "link", "set", tap, "master", BRIDGE], prefix=prefix)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("inner", help="the machine's tap")
    asked.add_argument("outer", help="our end of the wire to the bridge")
    asked.add_argument("port", help="the bridge's end of it")
    asked.add_argument("--poor", action="store_true")
    asked.add_argument("--lose", type=float, default=0.0, metavar="PERCENT")
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    make_whole(given.port)
    chance = random.Random(given.seed)
    change: Change = PlainRom() if given.poor else lambda frame: frame
    _pump(given.inner, given.outer, change, lambda: Weather(given.lose, chance))


if __name__ == "__main__":
    main()
