"""Full DHCP (RFC 2131) on subnets of the site: a packet and the leases in, an answer and what changes out."""

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from appliance.dhcp_settings import LEAST_LEASE_SECONDS, DhcpSettings, Subnet
from appliance.leases import Lease, LeaseState
from pxe.client import Client
from pxe.dhcp import NOBODY, MessageType, Option, Packet, sub_options
from pxe.full_reply import Terms, grant, refuse
from pxe.leases import (
    HOLD_SECONDS,
    MOST_DECLINES,
    QUARANTINE_SECONDS,
    Hold,
    Leases,
    Nothing,
    Wish,
    choose,
)
from pxe.malformed import Malformed
from pxe.policy import Here, Ignore, Reply

# RFC 3046, 2.0 and RFC 3527: sub-options of option 82.
_CIRCUIT, _REMOTE, _LINK_SELECTION = 1, 2, 5
_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Guest:
    """What the store knows of who asks."""

    known: bool
    name: str = ""


@dataclass(frozen=True)
class Scene:
    """What a decision is made from besides the packet."""

    settings: DhcpSettings
    leases: Leases
    here: Here
    now: float
    """Seconds of a clock that never goes back."""


@dataclass(frozen=True)
class Exhausted(Ignore):
    """No address is left: a person should know."""


@dataclass(frozen=True)
class Decision:
    """The answer, and what has to be remembered before it leaves."""

    answer: Reply | Ignore
    keep: tuple[Lease, ...] = ()
    hold: Hold | None = None
    drop: bool = False
    """Forget what was offered to the sender."""


def subnet_of(request: Packet, here: Here, settings: DhcpSettings) -> Subnet | None:
    """The subnet a packet comes from; None: full DHCP has nothing to do with it.

    The relay says it (link selection, else giaddr). A client that renews by unicast through a router is where
    its address is; everybody else is on the link the packet arrived on.
    """
    address = _link_selection(request) or request.giaddr
    if address == NOBODY:
        address = request.ciaddr
        own = find_subnet(settings, here.address)
        if address == NOBODY or find_subnet(settings, address) is None:
            return own
    return find_subnet(settings, address)


def find_subnet(settings: DhcpSettings, address: IPv4Address) -> Subnet | None:
    return next((one for one in settings.subnets if address in one.network), None)


def answer_full(
    request: Packet, client: Client, guest: Guest, scene: Scene, *, boot: Packet | None = None
) -> Decision:
    """Decide on one packet of port 67. `boot`: what a proxy would answer, if the machine boots."""
    subnet = subnet_of(request, scene.here, scene.settings)
    if subnet is None:
        return Decision(Ignore("comes from no subnet of [dhcp]"))
    if not client.mac:
        return Decision(Ignore("carries no Ethernet address"))
    desk = _Desk(request, client, guest, scene, subnet, boot)
    match request.message_type:
        case MessageType.DISCOVER:
            return desk.discover()
        case MessageType.REQUEST:
            return desk.request()
        case MessageType.DECLINE:
            return desk.decline()
        case MessageType.RELEASE:
            return desk.release()
        case MessageType.INFORM:
            return desk.inform()
    return Decision(Ignore(f"message type {request.message_type} is not a client's", expected=True))


@dataclass(frozen=True)
class _Desk:
    """One packet being decided on."""

    packet: Packet
    client: Client
    guest: Guest
    scene: Scene
    subnet: Subnet
    boot: Packet | None

    @property
    def mac(self) -> str:
        return self.client.mac

    @property
    def asked_for(self) -> IPv4Address | None:
        """Option 50."""
        value = self.packet.option(Option.REQUESTED_ADDRESS)
        return IPv4Address(value) if value else None

    @property
    def fixed(self) -> IPv4Address | None:
        table = self.scene.settings.fixed
        return table.get(self.mac) or (table.get(self.guest.name) if self.guest.name else None)

    def discover(self) -> Decision:
        if stranger := self._turned_away():
            return Decision(stranger)
        chosen = self._choose(self.asked_for)
        if isinstance(chosen, Nothing):
            return Decision(Exhausted(chosen.reason) if chosen.exhausted else Ignore(chosen.reason))
        hold = Hold(chosen, self.mac, self.scene.now + HOLD_SECONDS, _port(self.packet))
        return Decision(self._granted(MessageType.OFFER, chosen), hold=hold)

    def request(self) -> Decision:
        server, asked, own = self.packet.server, self.asked_for, self.packet.ciaddr
        if server not in (None, self.scene.here.address):
            return Decision(Ignore(f"takes the offer of {server}", expected=True), drop=True)
        if server is not None:
            # SELECTING (RFC 2131, 4.3.2).
            if asked is None:
                return Decision(Ignore("takes an offer and names no address (option 50)"))
            return self._turned_away_or_bound(asked)
        if own != NOBODY:
            # RENEWING or REBINDING.
            return self._elsewhere(own) or self._turned_away_or_bound(own)
        if asked is None:
            return Decision(Ignore("a REQUEST without any address"))
        # INIT-REBOOT: whoever has no record here may belong to a server that will answer, so silence.
        if wrong := self._elsewhere(asked):
            return wrong
        if not self.fixed and not self.scene.leases.of(self.mac, self.subnet):
            return Decision(Ignore(f"asks for {asked} and is in no record"))
        return self._turned_away_or_bound(asked)

    def decline(self) -> Decision:
        """Somebody else uses the address: it is left alone for a while."""
        if not self._for_us():
            return Decision(Ignore("declines another server's address", expected=True))
        address, now = self.asked_for, self.scene.now
        lease = self.scene.leases.at(address) if address else None
        if lease is None or lease.mac != self.mac or not lease.live(now):
            return Decision(Ignore(f"declines {address}, which it was not given"))
        if self.scene.leases.declined_by(self.mac, now) >= MOST_DECLINES:
            said = f"declines {address}, too: it may put no more than {MOST_DECLINES} addresses out of use"
            return Decision(Ignore(said), keep=(_ended(lease, now),))
        until = now + QUARANTINE_SECONDS
        gone = replace(lease, state=LeaseState.DECLINED, since=now, expires=until)
        said = f"declines {address}: somebody else uses it; it is not given out for an hour"
        return Decision(Ignore(said), keep=(gone,))

    def release(self) -> Decision:
        if not self._for_us():
            return Decision(Ignore("releases another server's address", expected=True))
        address = self.packet.ciaddr
        lease = self.scene.leases.at(address)
        if lease is None or lease.mac != self.mac or not lease.live(self.scene.now):
            return Decision(Ignore(f"releases {address}, which it does not have"))
        said = Ignore(f"gave {address} back", expected=True)
        return Decision(said, keep=(_ended(lease, self.scene.now),))

    def inform(self) -> Decision:
        """It has an address already and wants the rest (RFC 2131, 4.3.5)."""
        if self.packet.ciaddr not in self.subnet.network:
            return Decision(Ignore(f"asks without an address of {self.subnet.network}"))
        if stranger := self._turned_away():
            return Decision(stranger)
        terms = Terms(MessageType.ACK, self.subnet, host=self.guest.name)
        return Decision(grant(self.packet, self.client, self.scene.here, terms, self.boot))

    def _for_us(self) -> bool:
        return self.packet.server in (None, self.scene.here.address)

    def _elsewhere(self, address: IPv4Address) -> Decision | None:
        """A NAK when a client believes to be on another network."""
        if address in self.subnet.network:
            return None
        why = f"{address} is not of this network, {self.subnet.network}"
        return Decision(refuse(self.packet, self.scene.here, why), drop=True)

    def _turned_away(self) -> Ignore | None:
        """Why this sender gets nothing: an address costs a stranger nothing to ask for."""
        if self.guest.known or self.fixed:
            return None
        if self.scene.settings.known_only:
            return Ignore(
                f"is no known machine: `distserver machine add {self.mac}` makes it one, "
                "[dhcp] known_only = false lets everybody in"
            )
        port, most = _port(self.packet), self.scene.settings.per_port
        if port:
            others = self.scene.leases.strangers_behind(port, self.scene.now) - {self.mac}
            if len(others) >= most:
                return Ignore(f"is one more unknown machine behind a port that has {most} ([dhcp] per_port)")
        return None

    def _turned_away_or_bound(self, address: IPv4Address) -> Decision:
        if stranger := self._turned_away():
            return Decision(stranger)
        chosen = self._choose(address)
        if chosen != address:
            why = chosen.reason if isinstance(chosen, Nothing) else f"{address} is not yours, {chosen} is"
            return Decision(refuse(self.packet, self.scene.here, why), drop=True)
        return self._bound(address)

    def _choose(self, requested: IPv4Address | None) -> IPv4Address | Nothing:
        wish = Wish(self.mac, known=self.guest.known, fixed=self.fixed, requested=requested)
        return choose(wish, self.subnet, self.scene.leases, reserved=self._reserved(), now=self.scene.now)

    def _reserved(self) -> frozenset[IPv4Address]:
        own = (self.scene.here.address, self.subnet.router, *self.subnet.dns, *self.subnet.ntp)
        return frozenset({*self.scene.settings.fixed.values(), *(one for one in own if one)})

    def _granted(self, kind: MessageType, address: IPv4Address) -> Reply | Ignore:
        terms = Terms(kind, self.subnet, address, lease_seconds=self._seconds(), host=self.guest.name)
        return grant(self.packet, self.client, self.scene.here, terms, self.boot)

    def _bound(self, address: IPv4Address) -> Decision:
        answer = self._granted(MessageType.ACK, address)
        if isinstance(answer, Ignore):
            return Decision(answer)
        now = self.scene.now
        # Fixed addresses and ranges change with the site: a machine has one address on a subnet.
        others = tuple(
            _ended(one, now)
            for one in self.scene.leases.of(self.mac, self.subnet)
            if one.live(now) and one.address != address
        )
        lease = Lease(
            address=address,
            mac=self.mac,
            state=LeaseState.BOUND,
            since=now,
            expires=now + self._seconds(),
            known=self.guest.known,
            port=_port(self.packet) or self._port_before(address),
            host=_host(self.packet),
        )
        return Decision(answer, keep=(*others, lease), drop=True)

    def _port_before(self, address: IPv4Address) -> str:
        """A renewal comes by unicast, past the relay."""
        before = self.scene.leases.at(address)
        return before.port if before and before.mac == self.mac else ""

    def _seconds(self) -> int:
        """A client may ask for a shorter lease."""
        value = self.packet.option(Option.LEASE_SECONDS)
        asked = int.from_bytes(value, "big") if value else self.subnet.lease_seconds
        return min(max(asked, LEAST_LEASE_SECONDS), self.subnet.lease_seconds)


def _ended(lease: Lease, now: float) -> Lease:
    return replace(lease, state=LeaseState.RELEASED, since=now, expires=now)


def _relay(packet: Packet) -> dict[int, bytes]:
    """The sub-options of option 82; what could be read of garbled ones does not count."""
    try:
        return dict(sub_options(packet.option(Option.RELAY_AGENT) or b"", "option 82 sub-option"))
    except Malformed:
        return {}


def _link_selection(packet: Packet) -> IPv4Address | None:
    value = _relay(packet).get(_LINK_SELECTION)
    return IPv4Address(value) if value and len(value) == 4 and packet.giaddr != NOBODY else None


def _port(packet: Packet) -> str:
    """Which port of which switch, as the relay names it; a client behind no relay could write anything."""
    if packet.giaddr == NOBODY:
        return ""
    known = _relay(packet)
    parts = (known.get(_REMOTE, b""), known.get(_CIRCUIT, b""))
    return f"{packet.giaddr}/{parts[0].hex()}/{parts[1].hex()}" if any(parts) else ""


def _host(packet: Packet) -> str:
    name = (packet.option(Option.HOST_NAME) or b"").rstrip(b"\0").decode("ascii", "replace").lower()
    return name if _HOST.fullmatch(name) else ""
