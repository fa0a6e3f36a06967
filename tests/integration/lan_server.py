"""The boot servers on a virtual LAN, told by a table what its machines boot."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.lab import Lan
from pxe.servers import Network, Servers
from tests.fake_director import FakeDirector
from tests.integration.netyard import running_servers


@contextmanager
def serving(net: Lan, boot_dir: Path, director: FakeDirector) -> Iterator[None]:
    """The boot servers on the LAN, in a thread of their own."""
    servers = Servers(Network(("eth0",), 80, ""), director, boot_dir)
    with running_servers(net.namespace("appliance"), servers):
        yield
