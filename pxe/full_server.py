"""Full DHCP on the wire: probes before it offers, keeps before it acknowledges, hears of other servers."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Protocol

from appliance.dhcp_settings import DhcpSettings
from appliance.leases import Lease, LeaseState
from pxe.client import Client
from pxe.dhcp import BOOTREQUEST, MessageType, Option, Packet
from pxe.director import Director
from pxe.full import Decision, Exhausted, Guest, Scene, answer_full, subnet_of
from pxe.leases import QUARANTINE_SECONDS, Leases
from pxe.links import Link
from pxe.neighbours import Heard, Neighbours
from pxe.policy import Here, Ignore, Reply
from pxe.recent import Recent
from pxe.sightings import Sightings

log = logging.getLogger(__name__)

SUBJECT = "dhcp"
"""Whose timeline the alarms are in."""
ALARM_SECONDS = 600.0
"""The same alarm is not raised more often."""
MOST_CONFLICTS = 4
"""Addresses tried for one DISCOVER before the machine has to ask again."""


class Registry(Protocol):
    """What full DHCP asks of the site and the store."""

    def settings(self) -> DhcpSettings:
        """The table [dhcp] as it is now."""

    def guest(self, mac: str) -> Guest:
        """What is known of a machine."""

    def kept(self) -> Sequence[Lease]:
        """Every lease of the store."""

    def keep(self, leases: Sequence[Lease]) -> None:
        """Write leases; when it returns they outlive the process and the power."""


class Asking(Protocol):
    """Finds out who has an address."""

    def ask(self, address: IPv4Address, link: Link, heard: Heard) -> None:
        """Calls `heard` once, soon: with who has it, or None."""

    def close(self) -> None:
        """No `heard` is called any more."""


class SteadyClock:
    """Seconds that only grow, at the pace of time: a clock that is set does not end leases or prolong them.

    It starts at the time of day, or at the newest lease where that is later: a clock that was set back over a
    restart would make old leases last longer than their machines believe, and never shorter.
    """

    def __init__(self, not_before: float = 0.0) -> None:
        self._offset = max(time.time(), not_before) - time.clock_gettime(time.CLOCK_BOOTTIME)

    def __call__(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self._offset


@dataclass(frozen=True)
class Visit:
    """One packet that is being answered."""

    packet: Packet
    client: Client
    link: Link
    here: Here
    boot: Packet | None
    """What a proxy would answer to this machine, if it boots anything."""
    send: Callable[[Reply], None]


class FullServer:
    """Decides with `answer_full`, and does what the decision says in the right order.

    Answers that need a lease wait for the end of the event loop's turn: all leases of a burst are one
    transaction, forced to the disk once, and only then the ACKs leave. A packet of at least 241 bytes gets
    one answer of at most 548, or what its option 57 allows up to 1472: less than 6.2 times as much.
    """

    def __init__(
        self,
        registry: Registry,
        director: Director,
        sightings: Sightings,
        *,
        asking: Asking | None = None,
        links: Callable[[], Collection[Link]] = tuple,
    ) -> None:
        """`links` are those that are served: none of their addresses is another server's."""
        self._registry = registry
        self._director = director
        self._sightings = sightings
        self._neighbours = asking or Neighbours()
        self._links = links
        kept = registry.kept()
        self._leases = Leases(kept)
        self._clock = SteadyClock(max((lease.since for lease in kept), default=0.0))
        self._waiting: list[tuple[Decision, Visit]] = []
        self._probing: set[str] = set()
        self._alarms: Recent[str, float] = Recent(256)
        self._settings = registry.settings()
        self._read_at = self._clock()

    def serves(self, packet: Packet, here: Here) -> bool:
        """Is it a client's packet from a subnet of [dhcp]? Everything else is the proxy's."""
        return packet.op == BOOTREQUEST and subnet_of(packet, here, self.settings()) is not None

    def settings(self) -> DhcpSettings:
        """The site's table, looked at again once a second."""
        now = self._clock()
        if now >= self._read_at + 1:
            self._settings, self._read_at = self._registry.settings(), now
        return self._settings

    def receive(self, visit: Visit) -> None:
        """Handle one packet that `serves` took."""
        server, kind = visit.packet.server, visit.packet.message_type
        ours = {None, visit.here.address, *(link.address for link in self._links())}
        if kind == MessageType.REQUEST and server not in ours:
            self.foreign(server, visit.link, f"{visit.client.mac or 'a machine'} takes its offer")
        if kind != MessageType.DISCOVER or visit.client.mac not in self._probing:
            self._act(self._decide(visit), visit, conflicts=0)

    def foreign(self, server: IPv4Address | None, link: Link, evidence: str) -> None:
        """Raise the alarm: on a LAN with full DHCP there is one server."""
        said = f"another DHCP server, {server}, answers on {link.name} ({evidence}): switch one of them off"
        self._alarm(f"foreign {server}", "foreign", said)

    def close(self) -> None:
        """Write what is waiting; offers being probed are forgotten."""
        self.flush()
        self._neighbours.close()

    def _decide(self, visit: Visit) -> Decision:
        own = visit.client.mac == visit.link.mac
        guest = Guest(known=True) if own else self._registry.guest(visit.client.mac)
        scene = Scene(self.settings(), self._leases, visit.here, self._clock())
        return answer_full(visit.packet, visit.client, guest, scene, boot=visit.boot)

    def _act(self, decision: Decision, visit: Visit, *, conflicts: int) -> None:
        mac, hold = visit.client.mac, decision.hold
        before = self._leases.held(mac, self._clock())
        if decision.drop:
            self._leases.drop(mac)
        for lease in decision.keep:
            self._leases.put(lease)
        if hold:
            self._leases.hold(hold)
        if decision.keep:
            if not self._waiting:
                asyncio.get_running_loop().call_soon(self.flush)
            self._waiting.append((decision, visit))
        elif (
            hold
            and not self._ours_to_know(mac, hold.address, visit)
            and (before is None or before.address != hold.address)
        ):
            self._probe(decision, visit, conflicts)
        else:
            self._answer(decision.answer, visit)

    def _ours_to_know(self, mac: str, address: IPv4Address, visit: Visit) -> bool:
        """An address whose machine has it now needs no probe, nor does one that is asked for by this host."""
        lease = self._leases.at(address)
        return mac == visit.link.mac or (lease is not None and lease.mac == mac and lease.live(self._clock()))

    def _probe(self, decision: Decision, visit: Visit, conflicts: int) -> None:
        assert decision.hold
        address, mac = decision.hold.address, visit.client.mac

        def heard(who: str | None) -> None:
            self._probing.discard(mac)
            if who in (None, mac):
                self._answer(decision.answer, visit)
            else:
                self._conflict(address, str(who), visit, conflicts + 1)

        self._probing.add(mac)
        self._neighbours.ask(address, visit.link, heard)

    def _conflict(self, address: IPv4Address, who: str, visit: Visit, conflicts: int) -> None:
        """Somebody has the address without a lease: leave it alone, and try another one."""
        now = self._clock()
        taken = Lease(address, who, LeaseState.DECLINED, now, now + QUARANTINE_SECONDS, known=False)
        self._alarm(f"conflict {address}", "conflict", f"{address} is in use by {who} without a lease")
        self._leases.drop(visit.client.mac)
        self._leases.put(taken)
        quiet = Decision(Ignore("", expected=True), keep=(taken,))
        self._waiting.append((quiet, visit))
        asyncio.get_running_loop().call_soon(self.flush)
        if conflicts < MOST_CONFLICTS:
            self._act(self._decide(visit), visit, conflicts=conflicts)

    def flush(self) -> None:
        """Write the leases of this turn, then send the answers that needed them."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        try:
            self._registry.keep([lease for decision, _ in waiting for lease in decision.keep])
        except Exception:
            # Nobody was told: back to what the store has. The machines ask again.
            log.exception("%d leases could not be written, nobody is told of them", len(waiting))
            self._leases = Leases(self._registry.kept())
            return
        for decision, visit in waiting:
            self._answer(decision.answer, visit)

    def _answer(self, answer: Reply | Ignore, visit: Visit) -> None:
        if isinstance(answer, Reply):
            try:
                visit.send(answer)
            except OSError as error:
                # No way to a relay, or the link went down: the others of this turn are still answered.
                log.info("%s cannot be answered at %s: %s", visit.client.mac, answer.destination[0], error)
                return
            self._note(answer.packet, visit)
        elif isinstance(answer, Exhausted):
            self._alarm(
                f"exhausted {visit.link.name}", "exhausted", f"{visit.client.mac} gets none: {answer.reason}"
            )
        elif answer.reason:
            level = logging.DEBUG if answer.expected or visit.client.mac == visit.link.mac else logging.INFO
            log.log(level, "%s: %s", visit.client.mac or "a client", answer.reason)

    def _note(self, reply: Packet, visit: Visit) -> None:
        mac = visit.client.mac
        if reply.message_type == MessageType.ACK and reply.option(Option.LEASE_SECONDS):
            self._sightings.saw_address(mac, str(reply.yiaddr))
            log.info("%s has %s", mac, reply.yiaddr)
        elif reply.message_type == MessageType.NAK:
            log.info("%s: no (%s)", mac, (reply.option(Option.MESSAGE) or b"").decode("ascii", "replace"))

    def _alarm(self, key: str, stage: str, said: str) -> None:
        now = self._clock()
        last = self._alarms.get(key)
        if last is None or now >= last + ALARM_SECONDS:
            self._alarms.put(key, now)
            log.error("%s", said)
            self._director.record(SUBJECT, stage, status="failed", message=said)


def as_discover(packet: Packet) -> Packet:
    """The question a machine would ask a proxy when it sends this to its DHCP server."""
    kind = (int(Option.MESSAGE_TYPE), bytes((MessageType.DISCOVER,)))
    left_out = (Option.MESSAGE_TYPE, Option.SERVER)
    return replace(packet, options=(kind, *(one for one in packet.options if one[0] not in left_out)))
