"""Asks the kernel for the network interfaces of this host."""

import socket
import struct

from appliance.errors import Problem
from pxe import netlink
from pxe.links import Interface

ANSWER_BYTES = 1 << 18
ANSWER_SECONDS = 5.0


def read_interfaces() -> tuple[Interface, ...]:
    """Every interface of this network namespace with its IPv4 addresses; needs no privileges."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
        asking.bind((0, 0))
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


def find_interface(name: str) -> Interface:
    """The interface of that name. Raises Problem when there is none."""
    there = read_interfaces()
    for one in there:
        if one.name == name:
            return one
    known = ", ".join(sorted(one.name for one in there))
    raise Problem(f"there is no network interface {name!r}", hint=f"there are: {known}")
