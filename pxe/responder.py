"""Takes DHCP datagrams of ports 67 and 4011 and sends what the policy decides."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

from appliance.model import Silence
from appliance.stages import Stage
from appliance.strategies import Strategy
from pxe import dhcp
from pxe.adapting import Adapting
from pxe.client import Client, identify
from pxe.dhcp import NOBODY, MessageType, Option, Packet
from pxe.director import Director
from pxe.full_server import FullServer, Visit, as_discover
from pxe.links import Link
from pxe.malformed import Malformed, printable
from pxe.policy import USUAL_HOUSE, Address, Here, House, Ignore, Reply, answer, refuse
from pxe.recent import Recent
from pxe.sightings import Sightings

log = logging.getLogger(__name__)

Send = Callable[[int, bytes, Address, Link], None]
"""Send a datagram from one of our ports to an address, as what a link is: its interface, its address."""


class Responder:
    def __init__(
        self,
        director: Director,
        http_port: int,
        sightings: Sightings,
        send: Send,
        *,
        full: FullServer | None = None,
        house: House = USUAL_HOUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `full` the subnets that the site names for it get their addresses here, too."""
        self._full = full
        self._offers: Recent[tuple[str, int], Packet] = Recent()
        self._director = director
        self._http_port = http_port
        self._sightings = sightings
        self._send = send
        self._houses = {pi: replace(house, raspberry_pi=pi) for pi in (False, True)}
        self._adapting = Adapting(director, sightings, clock)
        self.dropped: Counter[int] = Counter()
        """Malformed datagrams by port."""

    def receive(
        self, datagram: bytes, sender: Address, *, port: int, link: Link
    ) -> Reply | Ignore | Malformed:
        """Handle one datagram that came to `port`, and answer it as `link`; says what was decided."""
        try:
            packet = dhcp.decode(datagram)
        except Malformed as wrong:
            self.dropped[port] += 1
            log.warning(
                "port %d: dropped a packet of %s: %s (%d so far)", port, sender[0], wrong, self.dropped[port]
            )
            return wrong
        client = identify(packet, self._director.net().vendor_classes)
        self._learn(packet, client, link)
        here = Here(link.address, self._http_port)
        if port == dhcp.SERVER_PORT and self._full and self._full.serves(packet, here):
            self._serve_full(packet, client, link, sender=sender, size=len(datagram))
            return Ignore("full DHCP answers it", expected=True)
        decision = self._decide(packet, client, here, port=port, sender=sender)
        match decision:
            case Reply(reply, destination):
                answered = dhcp.encode(reply)
                self._send(port, answered, destination, link)
                self._sent(reply, client, port=port, sizes=(len(datagram), len(answered)))
            case Ignore(reason, expected):
                level = logging.DEBUG if expected else logging.INFO
                log.log(level, "%s on port %d ignored: %s", client.mac or sender[0], port, reason)
        return decision

    def next_strategy(self, mac: str) -> Strategy | None:
        """How a firmware is told what to boot if it goes on not following."""
        return self._adapting.next_strategy(mac)

    def _serve_full(self, packet: Packet, client: Client, link: Link, *, sender: Address, size: int) -> None:
        """Have a packet answered by full DHCP, which says in the same answer what a proxy would."""
        assert self._full
        here = Here(link.address, self._http_port)
        begins = packet.message_type == MessageType.DISCOVER
        boot = None if begins else self._offers.get((client.mac, packet.xid))
        if boot is None:
            asked = as_discover(packet)
            decided = self._decide(asked, client, here, port=dhcp.SERVER_PORT, sender=sender)
            boot = decided.packet if isinstance(decided, Reply) else None
            if boot and begins:
                # The REQUEST that follows is told the same.
                self._offers.put((client.mac, packet.xid), boot)

        def send(reply: Reply) -> None:
            answered = dhcp.encode(reply.packet)
            self._send(dhcp.SERVER_PORT, answered, reply.destination, link)
            if boot and reply.packet.message_type == MessageType.OFFER:
                self._sent(reply.packet, client, port=dhcp.SERVER_PORT, sizes=(size, len(answered)))

        self._full.receive(Visit(packet, client, link, here, boot, send))

    def _decide(
        self, packet: Packet, client: Client, here: Here, *, port: int, sender: Address
    ) -> Reply | Ignore:
        # Before the director is asked: every telephone on the LAN comes through here.
        house = self._houses[self._director.net().raspberry_pi is not None]
        if refusal := refuse(packet, client, here, port=port, house=house):
            return refusal
        target = self._director.boot_target(client.mac, client.firmware)
        strategy = None
        if port == dhcp.PXE_PORT:
            self._sightings.progressed(client.mac, Stage.PROXY)
        elif not isinstance(target, Silence):
            if self._adapting.loops(client):
                return Ignore("fetched an iPXE from here a moment ago and still lacks what a boot needs")
            strategy = self._adapting.strategy(packet, client, target, here, house)
        return answer(packet, client, target, here, port=port, sender=sender, strategy=strategy, house=house)

    def _learn(self, packet: Packet, client: Client, link: Link) -> None:
        """Note the sender's address: from its own (ciaddr), or the one it asks its DHCP server for."""
        if packet.op != dhcp.BOOTREQUEST or not client.mac or not client.arch_ids:
            return
        if client.firmware:
            self._sightings.saw_firmware(client.mac, client.firmware)
        self._sightings.saw_ipxe(client.mac, client.ipxe)
        if packet.message_type != MessageType.REQUEST:
            return
        if packet.server not in (None, link.address):
            self._sightings.saw_server(client.mac, packet.server)
        requested = packet.option(Option.REQUESTED_ADDRESS)
        if packet.ciaddr != NOBODY:
            self._sightings.saw_address(client.mac, str(packet.ciaddr))
        elif requested:
            self._sightings.saw_address(client.mac, str(IPv4Address(requested)))

    def _sent(self, reply: Packet, client: Client, *, port: int, sizes: tuple[int, int]) -> None:
        """Note an answer; `sizes` in bytes: of the question, of the answer."""
        what = printable(reply.file or b"what its menu or option 67 says")
        arch = client.arch.name if client.arch else ""
        kind = "iPXE" if client.ipxe else client.vendor_class
        stage = Stage.OFFER if port == dhcp.SERVER_PORT else Stage.PROXY
        if not self._sightings.first(client.mac, stage, reply.xid):
            return
        if stage is Stage.OFFER:
            self._director.record(client.mac, Stage.DISCOVER, size_bytes=sizes[0], message=f"{arch}, {kind}")
        log.info("%s (%s, %s) told to boot %s on port %d", client.mac, arch, kind, what, port)
        self._director.record(client.mac, stage, size_bytes=sizes[1], message=what)
        self._sightings.finished(client.mac, stage)
