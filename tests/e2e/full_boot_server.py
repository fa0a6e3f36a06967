"""A boot server that is its LAN's only DHCP server: `python -m tests.e2e.full_boot_server PLACE`."""

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from appliance.dhcp_settings import DhcpSettings, Subnet
from appliance.lab import ROUTER_ADDRESS, Lan, wait_for_port
from appliance.leases import Lease
from appliance.model import NetBoot
from appliance.run import run, running
from appliance.store import Store
from pxe.full import Guest
from pxe.servers import Network, Servers
from tests.e2e.boot_server import ARGUMENTS, HTTP_PORT, RELEASE, UP_SECONDS, Journal

OFFICE = Subnet(
    network=IPv4Network("10.77.0.0/24"),
    ranges=((IPv4Address("10.77.0.100"), IPv4Address("10.77.0.199")),),
    lease_seconds=3600,
    domain="lan.example",
)


@dataclass
class Everybody:
    """A registry that knows every machine and keeps leases in a real store."""

    store: Store

    def settings(self) -> DhcpSettings:
        return DhcpSettings((OFFICE,))

    def guest(self, mac: str) -> Guest:
        return Guest(known=True)

    def kept(self) -> Sequence[Lease]:
        return self.store.leases.all()

    def keep(self, leases: Sequence[Lease]) -> None:
        self.store.leases.keep(leases)


@contextmanager
def full_boot_server(place: Path, net: Lan) -> Iterator[None]:
    """Until the block ends; `place` is furnished. IPv6 advertisements spare iPXE 16 s of waiting."""
    router = net.exec_prefix("dhcp")
    run(["ip", "address", "replace", f"{ROUTER_ADDRESS}/64", "dev", "eth0", "nodad"], prefix=router)
    radv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0",
            "--user=root", "--pid-file=", "--leasefile-ro", "--enable-ra",
            "--dhcp-range=fd77::,ra-only,64,1h", "--ra-param=eth0,high,4,0"]  # fmt: skip
    argv = [sys.executable, "-m", "tests.e2e.full_boot_server", str(place)]
    with (
        running(radv, prefix=router, output=place / "router.log"),
        running(argv, prefix=net.exec_prefix("appliance"), output=place / "log", cwd=Path.cwd()),
    ):
        wait_for_port(net, "appliance", HTTP_PORT, seconds=UP_SECONDS)
        yield


async def _serve(place: Path) -> None:
    target = NetBoot(RELEASE, ARGUMENTS, "a test")
    director = Journal({"*": target}, releases=place / "releases", file=place / "journal")
    registry = Everybody(Store(place / "store.sqlite"))
    serving = Servers(Network(("eth0",), HTTP_PORT), director, place / "boot", registry=registry)
    serving.open()
    await serving.serve(asyncio.Event())


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    asyncio.run(_serve(Path(sys.argv[1])))
