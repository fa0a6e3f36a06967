"""Answers the machines of every link: opens sockets as links come and go, and serves until told to stop."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web

from appliance.errors import Problem
from appliance.tftp_settings import TftpSettings
from pxe.client_door import ClientDoor
from pxe.company import Watch
from pxe.dhcp import PXE_PORT, SERVER_PORT
from pxe.director import Director
from pxe.dns_server import DnsServer
from pxe.full import find_subnet
from pxe.full_server import FullServer, Registry
from pxe.hot_loop import HotLoop
from pxe.http import application, protocol_log
from pxe.interfaces import Changes, read_interfaces
from pxe.links import EVERYBODY, Link, answering, find_links, is_for_us
from pxe.maker import Maker, make
from pxe.names import Names, stage_of
from pxe.outermost import LIMITS
from pxe.policy import Address, Here, House
from pxe.programs import programs_in
from pxe.rarp_server import RarpServer
from pxe.responder import Responder
from pxe.sightings import Sightings
from pxe.sockets import BROADCAST, TFTP_PORT, Inlet, Outlet, Port, Port67, Sockets, open_sockets, take
from pxe.tap import Arrived, Tap
from pxe.tftp import Limits
from pxe.tftp_server import TftpServer
from pxe.watching import Watching

log = logging.getLogger(__name__)

# What could not be opened is tried again so often; who had its port says nothing when it leaves.
AGAIN_SECONDS = 5.0
# The log has one line for the machines that were told the same within this time.
TELL_SECONDS = 0.1


@dataclass(frozen=True)
class Network:
    """What is to be served, as it was asked for."""

    interfaces: tuple[str, ...]
    http_port: int = 80
    address: str = ""
    """The one to serve from on the interface that has it; others use their own."""
    beside_dhcp: bool = False
    """A DHCP server on this host has port 67 or will have it: requests are taken from the wire."""
    tftp: TftpSettings = field(default_factory=TftpSettings)
    front: int = 0
    """The port on which another web server of this host takes HTTP and passes it on; 0: there is none."""

    @property
    def told_port(self) -> int:
        """The HTTP port that machines are told."""
        return self.front or self.http_port

    def look(self) -> dict[str, Link | str]:
        """For each interface its link, or why there is none now."""
        preferred = IPv4Address(self.address) if self.address else None
        return dict(find_links(self.interfaces, read_interfaces(), preferred))

    def links(self) -> tuple[Link, ...]:
        """Those that are there now, in the order they were asked for."""
        return tuple(found for found in self.look().values() if isinstance(found, Link))


class _Station:
    """A link that is served."""

    def __init__(self, link: Link, sockets: Sockets) -> None:
        self.link = link
        self.sockets = sockets
        self.tftp: TftpServer | None = None
        self.http: web.SockSite | None = None

    def resize(self, link: Link) -> None:
        """Follow a change of the MTU, and of nothing else: what is under way goes on."""
        if self.tftp and link.mtu != self.link.mtu:
            self.tftp.limits = Limits.on(link.mtu)
        self.link = link

    @property
    def tapped(self) -> bool:
        """Whether requests to port 67 are taken from the wire."""
        return isinstance(self.sockets.dhcp, Tap)

    def __str__(self) -> str:
        return f"{self.link.name} ({self.link.address}/{self.link.network.prefixlen})"


def house_of(boot_dir: Path) -> House:
    """What this server has for whom: the programs that are in its boot directory."""
    return House(programs_in([path.name for path in boot_dir.glob("*") if path.is_file()]))


class Servers:
    """DHCP, TFTP and HTTP on every link of a network."""

    def __init__(
        self,
        network: Network,
        director: Director,
        boot_dir: Path,
        dns: DnsServer | None = None,
        registry: Registry | None = None,
        *,
        maker: Maker = make,
        clients: ClientDoor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without `dns` port 53 stays closed, without `registry` nobody is given an address.

        `clients` is the door of installed machines, None for none.

        `clock` tells how long boots stand still.
        """
        self._dns = dns
        self._clients = clients
        self._network = network
        self._director = director
        self._boot_dir = boot_dir
        self._maker = maker
        self._sightings = Sightings(director.saw_address)
        self._names = Names(director, boot_dir, self._sightings)
        self._full = FullServer(registry, director, self._sightings, links=self._served) if registry else None
        self._watch = Watch(self._full, self._served) if self._full else None
        self._responder = Responder(
            director,
            network.told_port,
            self._sightings,
            self._send,
            full=self._full,
            house=house_of(boot_dir),
        )
        self._watching = Watching(director, self._sightings, clock, self._responder.next_strategy)
        self._rarp = RarpServer(director, self._sightings)
        self._stations: dict[str, _Station] = {}
        self._open = contextlib.ExitStack()
        self._changes: Changes | None = None
        self._outlet: Outlet | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._said: dict[str, str] = {}

    def open(self) -> None:
        """Open the sockets of all links that are there. Raises Problem when that is not possible."""
        try:
            self._changes = Changes()
            self._open.callback(self._changes.close)
            self._outlet = Outlet()
            self._open.callback(self._outlet.close)
            for name, found in self._network.look().items():
                if isinstance(found, Link):
                    self._stations[name] = self._opened(found)
                else:
                    self._say(name, f"waiting: {found}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for station in self._stations.values():
            station.sockets.close()
        self._stations.clear()
        if self._dns:
            self._dns.close()
        self._open.close()

    def _opened(self, link: Link) -> _Station:
        whose = Port67.THEIRS if self._network.beside_dhcp else Port67.EITHER
        if self._full and find_subnet(self._full.settings(), link.address):
            # Who gives out addresses is alone on the LAN.
            whose = Port67.OURS
        sockets = open_sockets(link, self._network.http_port, self._maker, whose=whose)
        try:
            if self._dns:
                self._dns.open(link.address, link.network)
        except BaseException:
            sockets.close()
            raise
        return _Station(link, sockets)

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer machines on what `open` opened, and what changes, until `stop` is set; then close it."""
        assert self._changes
        changes = self._changes
        app = application(
            self._director,
            self._boot_dir,
            self._sightings,
            lambda: tuple(self._stations),
            front=self._network.front,
        )
        runner = web.AppRunner(app, access_log=None, logger=protocol_log)
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        # Whatever happened since `open` looked is looked at once more.
        changed.set()

        def told() -> None:
            changes.drain()
            changed.set()

        loop.add_reader(changes, told)
        beside = [asyncio.create_task(self._watching.run())]
        if self._clients:
            beside.append(asyncio.create_task(self._clients.run()))
        try:
            await runner.setup()
            assert runner.server
            beside.append(asyncio.create_task(app[LIMITS].run(runner.server)))
            for station in self._stations.values():
                await self._attend(station, runner)
            beside.append(asyncio.create_task(self._tend(changed, runner)))
            if self._watch:
                beside.append(asyncio.create_task(self._watch.run()))
            await stop.wait()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            loop.remove_reader(changes)
            if self._full:
                self._full.close()
            if self._telling:
                self._telling.cancel()
                self._tell()
            for station in list(self._stations.values()):
                await self._leave(station)
            await runner.cleanup()
            if self._dns:
                await self._dns.finish()
            self.close()

    async def _tend(self, changed: asyncio.Event, runner: web.AppRunner) -> None:
        """Follow the links of this host as they come and go."""
        complete = True
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), None if complete else AGAIN_SECONDS)
            changed.clear()
            try:
                complete = await self._follow(self._network.look(), runner)
            except Exception:
                log.exception("following the network interfaces")
                complete = False

    async def _follow(self, found: dict[str, Link | str], runner: web.AppRunner) -> bool:
        """Leave links that are gone or changed, then open new ones; False when one could not be opened."""
        for station in list(self._stations.values()):
            link = found[station.link.name]
            if isinstance(link, Link) and replace(link, mtu=station.link.mtu) == station.link:
                station.resize(link)
                continue
            await self._leave(station)
            log.warning("no longer answering on %s", station)
        complete = True
        for name, link in found.items():
            if name in self._stations:
                continue
            if not isinstance(link, Link):
                self._say(name, f"waiting: {link}")
                continue
            try:
                self._stations[name] = self._opened(link)
            except (Problem, OSError) as failure:
                self._say(name, f"{name} is not served yet: {failure}")
                complete = False
                continue
            await self._attend(self._stations[name], runner)
        return complete

    def _say(self, name: str, sentence: str) -> None:
        """Log a sentence about an interface, once."""
        if self._said.get(name) != sentence:
            self._said[name] = sentence
            log.warning("%s", sentence)

    async def _attend(self, station: _Station, runner: web.AppRunner) -> None:
        """Answer what comes in by a link from now on."""
        link, sockets = station.link, station.sockets
        here = Here(link.address, self._network.told_port)
        tftp = TftpServer(
            str(link.address),
            lambda name, peer: self._names.resolve(name, peer, here),
            finished=self._fetched,
            limits=Limits.on(link.mtu),
            settings=self._network.tftp,
            port69=station.sockets.tftp.bound,
        )
        station.tftp = tftp
        station.http = web.SockSite(runner, sockets.http)
        await station.http.start()
        if self._dns:
            await self._dns.attend(link.address)
        if self._clients:
            self._clients.attend(link.address)
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[[Arrived], None]] = {
            SERVER_PORT: lambda came: self._asked(station, SERVER_PORT, came),
            PXE_PORT: lambda came: self._asked(station, PXE_PORT, came),
            TFTP_PORT: lambda came: tftp.receive(came.payload, came.sender),
        }
        for port, inlet in sockets.inlets:
            take = partial(self._take, inlet, handlers[port], f"{link.name} port {port}")
            if port != TFTP_PORT and isinstance(loop, HotLoop):
                loop.watch(inlet.fileno(), take)
            else:
                loop.add_reader(inlet, take)
        loop.add_reader(sockets.rarp, self._rarp.readable, sockets.rarp, link)
        self._said.pop(link.name, None)
        how = "from the wire, beside this host's DHCP server," if station.tapped else "67"
        log.info("answering on %s: DHCP %s and 4011, TFTP 69, HTTP %d", station, how, self._network.http_port)

    async def _leave(self, station: _Station) -> None:
        """Close all that is open on a link."""
        self._stations.pop(station.link.name, None)
        loop = asyncio.get_running_loop()
        for _, inlet in station.sockets.inlets:
            if isinstance(loop, HotLoop):
                loop.unwatch(inlet.fileno())
            loop.remove_reader(inlet)
        loop.remove_reader(station.sockets.rarp)
        if station.tftp:
            station.tftp.close()
        if station.http:
            await station.http.stop()
        if self._dns:
            self._dns.leave(station.link.address)
        if self._clients:
            self._clients.leave(station.link.address)
        station.sockets.close()

    def _fetched(self, peer: str, name: str, size: int, seconds: float) -> None:
        mac, stage = self._sightings.mac_at(peer), stage_of(name)
        if mac and stage:
            self._director.record(mac, stage, size_bytes=size, seconds=seconds, message=name)
            self._sightings.finished(mac, stage)

    def _served(self) -> list[Link]:
        return [station.link for station in self._stations.values()]

    def _asked(self, station: _Station, port: int, came: Arrived) -> None:
        """A DHCP datagram came in by a link."""
        link, asked = station.link, came.asked
        if asked is not None and asked is not EVERYBODY:
            served = self._served()
            if station.tapped and port == SERVER_PORT and not is_for_us(link, asked, served):
                return
            link = answering(link, asked, served)
        self._responder.receive(came.payload, came.sender, port=port, link=link)
        if self._telling is None and self._responder.has_to_tell:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._responder.tell()

    def _send(self, port: int, datagram: bytes, destination: Address, link: Link) -> None:
        """Send from port 67 or 4011 with the link's address as source."""
        station = self._stations.get(link.name)
        if station is None or self._outlet is None:
            log.debug("%s is gone, nothing is sent to %s", link.name, destination[0])
            return
        one = station.sockets.pxe if port == PXE_PORT else station.sockets.dhcp
        if isinstance(one, Port) and (port == PXE_PORT or destination[0] == BROADCAST):
            one.send(datagram, destination, link)
        else:
            # A socket bound to an interface would look for the relay there, wherever its route leads.
            self._outlet.send(port, datagram, destination, link)

    def _take(self, inlet: Inlet, handle: Callable[[Arrived], None], where: str) -> bool:
        with self._director.moment():
            take(inlet, handle, where)
        return False
