"""Asks the kernel for the network interfaces of this host, and hears when they change."""

import errno
import socket
import struct

from pxe import netlink
from pxe.links import Interface

ANSWER_BYTES = 1 << 18
ANSWER_SECONDS = 5.0


def read_interfaces() -> tuple[Interface, ...]:
    """Every interface of this network namespace with its IPv4 addresses; needs no privileges."""
    with _route_socket(groups=0) as asking:
        asking.settimeout(ANSWER_SECONDS)
        sequence = 0
        while True:
            told: list[netlink.Message] = []
            for kind in (netlink.GET_LINK, netlink.GET_ADDRESS):
                sequence += 1
                told += _ask(asking, netlink.question(kind, sequence))
            if not any(message.stale for message in told):
                return netlink.interfaces(told)


def _ask(asking: socket.socket, question: bytes) -> list[netlink.Message]:
    told: list[netlink.Message] = []
    asking.send(question)
    while not told or not told[-1].last:
        told += netlink.messages(asking.recv(ANSWER_BYTES))
    status = struct.unpack_from("=i", told[-1].body)[0] if len(told[-1].body) >= 4 else 0
    if status < 0:
        raise OSError(-status, "the kernel does not tell its network interfaces")
    return told


class Changes:
    """Becomes readable when an interface or an IPv4 address of this namespace comes, goes or changes."""

    def __init__(self) -> None:
        self._heard = _route_socket(groups=netlink.LINK_GROUP | netlink.ADDRESS_GROUP)
        self._heard.setblocking(False)

    def fileno(self) -> int:
        return self._heard.fileno()

    def drain(self) -> None:
        """Forget what was told: who wants to know asks, because the kernel drops what it cannot deliver."""
        while True:
            try:
                self._heard.recv(ANSWER_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        self._heard.close()


def _route_socket(*, groups: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        made.bind((0, groups))
    except OSError:
        made.close()
        raise
    return made
