"""OFFERs with holes: what machines that are alike are told is worded and encoded once. Pure."""

import struct
from typing import NamedTuple

from appliance.model import BootTarget, LocalBoot, Silence
from appliance.strategies import Strategy
from pxe.client import Client
from pxe.dhcp import (
    BOOTREPLY,
    BROADCAST_FLAG,
    NOBODY,
    SERVER_PORT,
    TAKEN_BYTES,
    Option,
    Packet,
    encode,
    encode_options,
)
from pxe.malformed import printable
from pxe.policy import Address, Here, House, Ignore, Reply, answer, destination_of

# All of a packet before sname.
_HEAD = struct.Struct("!BBBBIHH4s4s4s4s16s")
_NOBODY = NOBODY.packed
_MENUS = b"what its menu or option 67 says"
_MOST = 256
"""Templates that are kept; strangers can make up more kinds of machines than there are."""


class Answered(NamedTuple):
    """An answer as it is sent."""

    datagram: bytes
    destination: Address
    what: str
    """What the machine was told to boot, for people."""


class Template:
    """An OFFER with xid, addresses, the MAC in its file's name and the options 97 and 82 left open."""

    def __init__(self, offer: Packet, mac: str) -> None:
        """`offer`: what one of the machines, that with `mac`, is answered."""
        encoded = encode(Packet(BOOTREPLY, 0, bytes(16), sname=offer.sname, file=offer.file))
        names = encoded[_HEAD.size : _HEAD.size + 64 + 128 + 4]
        first, found, rest = names.partition(mac.encode())
        fixed = [one for one in offer.options if one[0] not in (Option.MACHINE_ID, Option.RELAY_AGENT)]
        # Option 97 comes after those that every answer begins with.
        begin = [one for one in fixed if one[0] in (Option.MESSAGE_TYPE, Option.SERVER, Option.VENDOR_CLASS)]
        options = _encoded(begin)
        self._named = bool(found)
        self._first = first if found else names + options
        self._rest = rest + options if found else b""
        self._end = _encoded(fixed[len(begin) :])
        self._siaddr = offer.siaddr.packed
        head, _, tail = offer.file.partition(mac.encode())
        self._what = printable(offer.file or _MENUS), printable(head), printable(tail)

    def fill(self, request: Packet, client: Client) -> bytes:
        """The datagram that answers `request` of a `client` like the one it was made for."""
        giaddr = _NOBODY if request.giaddr is NOBODY else request.giaddr.packed
        parts = [
            _HEAD.pack(
                BOOTREPLY, request.htype, request.hlen, 0, request.xid, 0, BROADCAST_FLAG,
                _NOBODY, _NOBODY, self._siaddr, giaddr, request.chaddr,
            ),
            self._first,
        ]  # fmt: skip
        if self._named:
            parts += client.mac.encode(), self._rest
        if len(client.machine_id) == 17:
            parts.append(_MACHINE_ID + client.machine_id)
        parts.append(self._end)
        if relay := request.option(Option.RELAY_AGENT):
            parts.append(_encoded([(Option.RELAY_AGENT, relay)]))
        parts.append(b"\xff")
        return b"".join(parts).ljust(300, b"\0")

    def what(self, client: Client) -> str:
        whole, head, tail = self._what
        return f"{head}{client.mac}{tail}" if self._named else whole


_MACHINE_ID = bytes((Option.MACHINE_ID, 17))


def _encoded(options: list[tuple[int, bytes]]) -> bytes:
    """Options without the mark of their end."""
    return encode_options(tuple(options))[:-1]


class Templates:
    """What is offered on one link."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._known: dict[tuple[str, bool, Strategy | None, bool], Template] = {}

    def offer(
        self, request: Packet, client: Client, target: BootTarget, *, strategy: Strategy | None, house: House
    ) -> Answered | Ignore:
        """The same as `answer` decides for a DISCOVER that it does not refuse, encoded."""
        if isinstance(target, Silence):
            return Ignore(target.reason)
        key = client.like, isinstance(target, LocalBoot), strategy, house.raspberry_pi
        template = self._known.get(key)
        if template is None:
            decision = answer(request, client, target, self._here, strategy=strategy, house=house)
            if isinstance(decision, Ignore):
                return decision
            template = Template(decision.packet, client.mac)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = template
        datagram = template.fill(request, client)
        if len(datagram) > TAKEN_BYTES and len(datagram) > request.longest_answer:
            return Ignore(f"the answer has {len(datagram)} bytes, it takes {request.longest_answer}")
        destination = destination_of(request, port=SERVER_PORT, sender=_ANYBODY)
        return Answered(datagram, destination, template.what(client))


_ANYBODY: Address = ("0.0.0.0", 68)


def encoded(reply: Reply) -> Answered:
    """An answer that was worded for one machine."""
    return Answered(encode(reply.packet), reply.destination, printable(reply.packet.file or _MENUS))
