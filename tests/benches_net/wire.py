"""Two network namespaces and one wire between them: a server's side and a side of many clients."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.run import run

SERVER = "10.77.9.2"
CLIENT = "10.77.9.3"
MANY = "10.78.0.0"
"""A /16 of addresses that all belong to the clients' side, for a machine each."""
INTERFACE = "eth0"


@dataclass(frozen=True)
class Wire:
    """The two ends that are up, as argv prefixes of what runs there; each has one interface, eth0."""

    server: tuple[str, ...]
    clients: tuple[str, ...]


@contextmanager
def wire() -> Iterator[Wire]:
    """A wire of its own until the block is left, with all that still runs on it."""
    own = secrets.token_hex(3)
    one, other = (f"net-{os.getpid()}-{own}-{side}" for side in ("server", "clients"))
    try:
        for name in (one, other):
            run(["ip", "netns", "add", name])
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        # Made inside a namespace: the host's own network never sees an interface.
        far = ["peer", "name", INTERFACE, "netns", other]
        run(["ip", "-n", one, "link", "add", INTERFACE, "type", "veth", *far])
        for name, address in ((one, SERVER), (other, CLIENT)):
            run(["ip", "-n", name, "addr", "add", f"{address}/24", "dev", INTERFACE])
            run(["ip", "-n", name, "link", "set", INTERFACE, "up"])
        # One route, not a thousand addresses: the kernel's neighbour table holds 1024.
        run(["ip", "-n", other, "route", "add", "local", f"{MANY}/16", "dev", "lo"])
        run(["ip", "-n", one, "route", "add", f"{MANY}/16", "via", CLIENT])
        yield Wire(("ip", "netns", "exec", one), ("ip", "netns", "exec", other))
    finally:
        for name in (one, other):
            run(["ip", "netns", "del", name], ok=(0, 1))
