"""A VLAN device in user space, for kernels without 8021q: a tap, its frames tagged on another interface."""

import contextlib
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator

# <linux/if_tun.h>, <linux/if_packet.h>, <linux/if_ether.h>
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_SOL_PACKET, _PACKET_AUXDATA = 263, 8
_VLAN_VALID = 0x10
_ETH_P_ALL, _ETH_P_8021Q = 3, 0x8100
_AUXILIARY = struct.Struct("=IIIHHHH")


@contextlib.contextmanager
def tagging(parent: str, name: str, number: int) -> Iterator[None]:
    """The device `name` in this thread's namespace, its frames on `parent` with the tag `number` (802.1Q)."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    wire.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
    wire.bind((parent, _ETH_P_ALL))
    wire.setblocking(False)
    ended, ending = os.pipe()
    thread = threading.Thread(target=_pump, args=(tap, wire, number, ended))
    thread.start()
    try:
        yield
    finally:
        os.close(ending)
        thread.join()
        wire.close()
        os.close(tap)
        os.close(ended)


def _pump(tap: int, wire: socket.socket, number: int, ended: int) -> None:
    tag = struct.pack("!HH", _ETH_P_8021Q, number)
    while True:
        readable, _, _ = select.select([tap, wire.fileno(), ended], [], [])
        if ended in readable:
            return
        # A device that is down takes nothing: what comes meanwhile is lost, as on a real one.
        with contextlib.suppress(OSError):
            if tap in readable:
                frame = os.read(tap, 65536)
                wire.send(frame[:12] + tag + frame[12:])
        with contextlib.suppress(OSError):
            if wire.fileno() in readable:
                frame, ancillary, _, sender = wire.recvmsg(65536, 256)
                if sender[2] != socket.PACKET_OUTGOING and _tag(ancillary) == number:
                    os.write(tap, frame)


def _tag(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """The VLAN a frame was tagged with; the kernel takes tags out of frames."""
    for level, kind, data in ancillary:
        if (level, kind) == (_SOL_PACKET, _PACKET_AUXDATA):
            status, *_, tci, _ = _AUXILIARY.unpack(data[: _AUXILIARY.size])
            return tci & 0xFFF if status & _VLAN_VALID else None
    return None


def mac_of(interface: str) -> str:
    """The address a VLAN device has of its parent; in the namespace of the calling thread."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as asking:
        asking.bind((interface, 0))
        address: bytes = asking.getsockname()[4]
    return address.hex(":")
