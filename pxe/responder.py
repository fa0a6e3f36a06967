"""Takes DHCP datagrams of ports 67 and 4011 and sends what the policy decides."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from appliance.model import BootTarget, Silence
from appliance.stages import Stage
from appliance.strategies import Strategy
from pxe import dhcp
from pxe.adapting import Adapting
from pxe.client import Client, identify
from pxe.dhcp import NOBODY, MessageType, Option, Packet
from pxe.director import Director
from pxe.full_server import FullServer, Visit, as_discover
from pxe.links import Link
from pxe.malformed import Malformed
from pxe.policy import USUAL_HOUSE, Address, Here, House, Ignore, Reply, answer, refuse
from pxe.recent import Recent
from pxe.sightings import Sightings
from pxe.templates import Answered, Templates, encoded

log = logging.getLogger(__name__)

MOST_IN_A_LINE, MOST_LINES = 32, 32
"""Machines of one line, and lines, that wait to be told together."""
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
        self._places: dict[str, _Place] = {}
        self._told: dict[tuple[str, str, int], list[str]] = {}
        self.dropped: Counter[int] = Counter()
        """Malformed datagrams by port."""

    def receive(
        self, datagram: bytes, sender: Address, *, port: int, link: Link
    ) -> Answered | Ignore | Malformed:
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
        place = self._place(link)
        if port == dhcp.SERVER_PORT and self._full and self._full.serves(packet, place.here):
            self._serve_full(packet, client, place, sender=sender, size=len(datagram))
            return Ignore("full DHCP answers it", expected=True)
        decision = self._answer(packet, client, place, port=port, sender=sender)
        if isinstance(decision, Ignore):
            level = logging.DEBUG if decision.expected else logging.INFO
            if log.isEnabledFor(level):
                who = client.mac or sender[0]
                log.log(level, "%s on port %d ignored: %s", who, port, decision.reason)
            return decision
        answered, destination, what = decision
        self._send(port, answered, destination, link)
        self._sent(what, packet, client, port=port, sizes=(len(datagram), len(answered)))
        return decision

    def tell(self) -> None:
        """Log who was told to boot what since this was called last: one line for machines that are alike."""
        told, self._told = self._told, {}
        for (kind, what, port), macs in told.items():
            log.info("%s (%s) told to boot %s on port %d", ", ".join(macs), kind, what, port)

    @property
    def has_to_tell(self) -> bool:
        return bool(self._told)

    def _place(self, link: Link) -> "_Place":
        place = self._places.get(link.name)
        if place is None or place.link is not link:
            here = Here(link.address, self._http_port)
            place = self._places[link.name] = _Place(link, here, Templates(here))
        return place

    def next_strategy(self, mac: str) -> Strategy | None:
        """How a firmware is told what to boot if it goes on not following."""
        return self._adapting.next_strategy(mac)

    def _serve_full(
        self, packet: Packet, client: Client, place: "_Place", *, sender: Address, size: int
    ) -> None:
        """Have a packet answered by full DHCP, which says in the same answer what a proxy would."""
        assert self._full
        begins = packet.message_type == MessageType.DISCOVER
        boot = None if begins else self._offers.get((client.mac, packet.xid))
        if boot is None:
            asked = as_discover(packet)
            decided = self._decide(asked, client, place.here, port=dhcp.SERVER_PORT, sender=sender)
            boot = decided.packet if isinstance(decided, Reply) else None
            if boot and begins:
                # The REQUEST that follows is told the same.
                self._offers.put((client.mac, packet.xid), boot)

        def send(reply: Reply) -> None:
            answered, destination, what = encoded(reply)
            self._send(dhcp.SERVER_PORT, answered, destination, place.link)
            if boot and reply.packet.message_type == MessageType.OFFER:
                self._sent(what, packet, client, port=dhcp.SERVER_PORT, sizes=(size, len(answered)))

        self._full.receive(Visit(packet, client, place.link, place.here, boot, send))

    def _decide(
        self, packet: Packet, client: Client, here: Here, *, port: int, sender: Address
    ) -> Reply | Ignore:
        judged = self._judge(packet, client, here, port=port)
        if isinstance(judged, Ignore):
            return judged
        target, strategy, house = judged
        return answer(packet, client, target, here, port=port, sender=sender, strategy=strategy, house=house)

    def _answer(
        self, packet: Packet, client: Client, place: "_Place", *, port: int, sender: Address
    ) -> Answered | Ignore:
        """As _decide does, encoded."""
        if port == dhcp.PXE_PORT:
            decision = self._decide(packet, client, place.here, port=port, sender=sender)
            return encoded(decision) if isinstance(decision, Reply) else decision
        judged = self._judge(packet, client, place.here, port=port)
        if isinstance(judged, Ignore):
            return judged
        target, strategy, house = judged
        return place.templates.offer(packet, client, target, strategy=strategy, house=house)

    def _judge(
        self, packet: Packet, client: Client, here: Here, *, port: int
    ) -> tuple[BootTarget, Strategy | None, House] | Ignore:
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
        return target, strategy, house

    def _learn(self, packet: Packet, client: Client, link: Link) -> None:
        """Note the sender's address: from its own (ciaddr), or the one it asks its DHCP server for."""
        if packet.op != dhcp.BOOTREQUEST or not client.mac or not client.arch_ids:
            return
        self._sightings.saw_asker(client.mac, client.firmware, ipxe=client.ipxe)
        if packet.message_type != MessageType.REQUEST:
            return
        if packet.server not in (None, link.address):
            self._sightings.saw_server(client.mac, packet.server)
        requested = packet.option(Option.REQUESTED_ADDRESS)
        if packet.ciaddr != NOBODY:
            self._sightings.saw_address(client.mac, str(packet.ciaddr))
        elif requested:
            self._sightings.saw_address(client.mac, str(IPv4Address(requested)))

    def _sent(self, what: str, request: Packet, client: Client, *, port: int, sizes: tuple[int, int]) -> None:
        """Note an answer; `sizes` in bytes: of the question, of the answer."""
        mac = client.mac
        stage = Stage.OFFER if port == dhcp.SERVER_PORT else Stage.PROXY
        if not self._sightings.first(mac, stage, request.xid):
            return
        kind = client.title
        if stage is Stage.OFFER:
            self._director.record(mac, Stage.DISCOVER, size_bytes=sizes[0], message=kind)
        self._director.record(mac, stage, size_bytes=sizes[1], message=what)
        self._sightings.finished(mac, stage)
        if log.isEnabledFor(logging.INFO):
            macs = self._told.setdefault((kind, what, port), [])
            macs.append(mac)
            if len(macs) >= MOST_IN_A_LINE or len(self._told) >= MOST_LINES:
                self.tell()


@dataclass(frozen=True)
class _Place:
    """A link and what is said there."""

    link: Link
    here: Here
    templates: Templates
