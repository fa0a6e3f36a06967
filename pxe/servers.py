"""Answers the machines of every link: opens its sockets, then serves until told to stop."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web

from appliance.errors import Problem
from pxe.company import Watch
from pxe.dhcp import PXE_PORT, SERVER_PORT
from pxe.director import Director
from pxe.dns_server import DnsServer
from pxe.full_server import FullServer, Registry
from pxe.http import application, protocol_log
from pxe.interfaces import find_interface
from pxe.links import Link, answering, find_link
from pxe.names import Names, stage_of
from pxe.policy import Address, Here, House
from pxe.programs import PROGRAMS
from pxe.responder import Responder
from pxe.sightings import Sightings
from pxe.sockets import IP_PKTINFO, TFTP_PORT, Sockets, asked_address, open_sockets
from pxe.tftp import Limits
from pxe.tftp_server import TftpServer

log = logging.getLogger(__name__)

# Datagrams taken before other sockets get their turn.
BATCH = 64


@dataclass(frozen=True)
class Network:
    """What is to be served, as it was asked for."""

    interfaces: tuple[str, ...]
    http_port: int = 80
    address: str = ""
    """The one to serve from on the interface that has it; others use their own."""


@dataclass(frozen=True)
class _Station:
    """A link that is served."""

    link: Link
    sockets: Sockets

    @property
    def datagrams(self) -> tuple[tuple[int, socket.socket], ...]:
        """The port of each UDP socket, and the socket."""
        taken = self.sockets
        return (SERVER_PORT, taken.dhcp), (PXE_PORT, taken.pxe), (TFTP_PORT, taken.tftp)


def link_of(interface: str, address: str = "") -> Link:
    """The link of an interface. Raises Problem when there is no such interface or it has no address."""
    preferred = IPv4Address(address) if address else None
    found = find_link(find_interface(interface), preferred)
    if found is None:
        hint = "set [http] address, or give the interface an address"
        raise Problem(f"{interface} has no IPv4 address", hint=hint)
    return found


def find_served(network: Network) -> tuple[Link, ...]:
    """The links of all interfaces that are to be served. Raises Problem when one cannot be."""
    links = tuple(link_of(name, network.address) for name in network.interfaces)
    if network.address and network.address not in [str(link.address) for link in links]:
        named = " or ".join(network.interfaces)
        hint = f"`ip -4 address` shows those of {named}; correct [http] address"
        raise Problem(f"{network.address} is no address of this host on {named}", hint=hint)
    return links


class Servers:
    """DHCP, TFTP and HTTP on every link of a network."""

    def __init__(
        self,
        network: Network,
        director: Director,
        boot_dir: Path,
        dns: DnsServer | None = None,
        registry: Registry | None = None,
    ) -> None:
        """Without `dns` port 53 stays closed, without `registry` nobody is given an address."""
        self._dns = dns
        self._network = network
        self._director = director
        self._boot_dir = boot_dir
        self._sightings = Sightings(director.saw_address)
        self._names = Names(director, boot_dir, self._sightings)
        self._full = FullServer(registry, director, self._sightings) if registry else None
        self._watch = Watch(self._full, self._served) if self._full else None
        there = {one: program for one, program in PROGRAMS.items() if (boot_dir / program.file).is_file()}
        self._responder = Responder(
            director,
            network.http_port,
            self._sightings,
            self._send,
            full=self._full,
            house=House(there),
        )
        self._stations: dict[str, _Station] = {}
        self._tftp: dict[str, TftpServer] = {}

    def open(self) -> None:
        """Open the sockets of all links. Raises Problem when that is not possible."""
        try:
            for link in find_served(self._network):
                self._stations[link.name] = _Station(link, open_sockets(link, self._network.http_port))
                if self._dns:
                    self._dns.open(link.address, link.network)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for station in self._stations.values():
            station.sockets.close()
        self._stations.clear()
        if self._dns:
            self._dns.close()

    async def serve(self, stop: asyncio.Event) -> None:
        """Answer machines on what `open` opened until `stop` is set, then close it."""
        app = application(self._director, self._boot_dir, self._sightings)
        runner = web.AppRunner(app, access_log=None, logger=protocol_log)
        try:
            await runner.setup()
            for station in self._stations.values():
                await self._attend(station, runner)
            await self._keep_watch(stop)
        finally:
            if self._full:
                self._full.close()
            for station in self._stations.values():
                self._leave(station)
            await runner.cleanup()
            if self._dns:
                await self._dns.finish()
            self.close()

    async def _keep_watch(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; meanwhile another server on the links of full DHCP does not go unnoticed."""
        watching = asyncio.create_task(self._watch.run()) if self._watch else None
        try:
            await stop.wait()
        finally:
            if watching:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def _attend(self, station: _Station, runner: web.AppRunner) -> None:
        """Answer what comes in by a link from now on."""
        link = station.link
        here = Here(link.address, self._network.http_port)
        self._tftp[link.name] = TftpServer(
            str(link.address),
            lambda name, peer: self._names.resolve(name, peer, here),
            finished=self._fetched,
            limits=Limits(blksize=min(1468, link.mtu - 32)),
        )
        await web.SockSite(runner, station.sockets.http).start()
        if self._dns:
            await self._dns.attend(link.address)
        loop = asyncio.get_running_loop()
        for port, one in station.datagrams:
            loop.add_reader(one, self._receive, station, port, one)
        where = f"{link.name} ({link.address}/{link.network.prefixlen})"
        log.info("answering on %s: DHCP 67 and 4011, TFTP 69, HTTP %d", where, self._network.http_port)

    def _leave(self, station: _Station) -> None:
        loop = asyncio.get_running_loop()
        for _, one in station.datagrams:
            loop.remove_reader(one)
        if tftp := self._tftp.pop(station.link.name, None):
            tftp.close()
        if self._dns:
            self._dns.leave(station.link.address)

    def _fetched(self, peer: str, name: str, size: int, seconds: float) -> None:
        mac, stage = self._sightings.mac_at(peer), stage_of(name)
        if mac and stage:
            self._director.record(mac, stage, size_bytes=size, seconds=seconds, message=name)

    def _receive(self, station: _Station, port: int, one: socket.socket) -> None:
        """Take what is waiting on a socket. Nothing that comes from the network ends the server."""
        handle = self._handler(station, port)
        for _ in range(BATCH):
            try:
                datagram, ancillary, _, peer = one.recvmsg(65536, 256)
            except BlockingIOError:
                return
            except OSError as error:
                # An earlier answer could not be delivered; the kernel tells it here.
                log.debug("%s port %d: %s", station.link.name, port, error)
                return
            try:
                handle(datagram, peer, asked_address(ancillary))
            except Exception:
                log.exception("a packet of %s to port %d was not answered", peer, port)

    def _served(self) -> list[Link]:
        return [station.link for station in self._stations.values()]

    def _handler(self, station: _Station, port: int) -> Callable[[bytes, Address, IPv4Address | None], None]:
        if port == TFTP_PORT:
            tftp = self._tftp[station.link.name]
            return lambda datagram, peer, _asked: tftp.receive(datagram, peer)
        served = self._served()

        def dhcp(datagram: bytes, peer: Address, asked: IPv4Address | None) -> None:
            link = answering(station.link, asked, served) if asked else station.link
            self._responder.receive(datagram, peer, port=port, link=link)

        return dhcp

    def _send(self, port: int, datagram: bytes, destination: Address, link: Link) -> None:
        """Send from port 67 or 4011 with the link's address as source."""
        station = self._stations.get(link.name)
        if station is None:
            log.debug("%s is gone, nothing is sent to %s", link.name, destination[0])
            return
        one = station.sockets.dhcp if port == SERVER_PORT else station.sockets.pxe
        source = struct.pack("=i4s4s", 0, link.address.packed, bytes(4))
        one.sendmsg([datagram], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, destination)
