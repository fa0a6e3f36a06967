"""A SPARC machine's first steps on a wire, packet by packet: RARP, then TFTP under its address's name."""

import socket
from ipaddress import IPv4Address
from pathlib import Path

from appliance.run import Argument, run
from pxe import rarp
from tests.integration.netyard import inside

EVERYBODY = "ff:ff:ff:ff:ff:ff"
SECONDS = 60.0


def frame(sender: str, *, to: str = EVERYBODY, tag: str = "") -> bytes:
    """A RARP request from the Ethernet header on, padded to the shortest frame of a wire."""
    there, here = (bytes.fromhex(mac.replace(":", "")) for mac in (to, sender))
    asked = bytes.fromhex("0001 0800 06 04 0003") + here + bytes(4) + here + bytes(4)
    return (there + here + bytes.fromhex(tag) + rarp.ETHERTYPE.to_bytes(2, "big") + asked).ljust(60, b"\0")


def load(namespace: str, mac: str, *, kind: str, output: Path) -> IPv4Address:
    """What OpenBoot would load: it takes the address that a RARP server tells it, and asks who answered.

    The namespace's eth0 takes the machine's MAC for that long. `kind` is what newer ones put behind a dot,
    such as SUN4U. Returns the address.
    """
    on: list[Argument] = ["ip", "netns", "exec", namespace]
    run([*on, "ip", "link", "set", "eth0", "address", mac])
    with inside(namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind(("eth0", rarp.ETHERTYPE))
        wire.settimeout(SECONDS)
        wire.send(frame(mac))
        reply = wire.recv(2048)
    server, own = (IPv4Address(reply[at : at + 4]) for at in (28, 38))
    name = f"{int(own):08X}" + (f".{kind}" if kind else "")
    run([*on, "ip", "address", "add", f"{own}/24", "dev", "eth0"])
    try:
        run([*on, "busybox", "tftp", "-g", "-r", name, "-l", output, str(server)], timeout_seconds=600)
    finally:
        run([*on, "ip", "address", "del", f"{own}/24", "dev", "eth0"])
    return own
