"""Tells SPARC machines their addresses by RARP: OpenBoot asks so before it knows of DHCP."""

import logging
import socket
import time
from collections.abc import Callable

from appliance.stages import Stage
from pxe import rarp
from pxe.director import Director
from pxe.links import Link
from pxe.maker import Kind, Maker
from pxe.malformed import Malformed
from pxe.recent import Recent
from pxe.sightings import Sightings

log = logging.getLogger(__name__)

# Frames taken before other sockets get their turn.
BATCH = 64
# OpenBoot repeats its question every few seconds for ever; what comes later is another boot.
SAME_BOOT_SECONDS = 60.0
_ARPHRD_ETHER = 1
_HOST, _BROADCAST = 0, 1


def open_rarp(link: Link, maker: Maker) -> socket.socket:
    """Hear RARP on a link; needs CAP_NET_RAW."""
    made = maker(Kind.PACKET)
    try:
        made.bind((link.name, rarp.ETHERTYPE))
    except BaseException:
        made.close()
        raise
    return made


class RarpServer:
    """Answers machines that ask for themselves and have an address reserved on the link, nobody else.

    An answer is as long as the question and goes to the asking interface: nothing is amplified.
    """

    def __init__(
        self, director: Director, sightings: Sightings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._director = director
        self._sightings = sightings
        self._clock = clock
        self._answered: Recent[str, float] = Recent()

    def readable(self, heard: socket.socket, link: Link) -> None:
        """Take what is waiting. Nothing that comes from the network ends the server."""
        for _ in range(BATCH):
            try:
                data, sender = heard.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("%s: rarp: %s", link.name, error)
                return
            try:
                interface, _, kind, _, address = sender
                if interface == link.name and kind in (_HOST, _BROADCAST):
                    reply = self.answer(data, address.hex(":"), link)
                    if reply:
                        heard.sendto(reply, (interface, rarp.ETHERTYPE, 0, _ARPHRD_ETHER, address))
            except OSError as error:
                log.warning("%s: rarp: an answer was not sent: %s", link.name, error)
            except Exception:
                log.exception("%s: a RARP packet was not answered", link.name)

    def answer(self, data: bytes, source: str, link: Link) -> bytes | None:
        """The reply to a packet from the Ethernet address `source`, None when there is none."""
        try:
            question = rarp.decode(data)
        except Malformed as wrong:
            log.debug("%s: rarp: dropped a packet of %s: %s", link.name, source, wrong)
            return None
        if not question.sender == question.target == source:
            log.debug("%s: rarp: %s asks for %s", link.name, source, question.target)
            return None
        found = self._director.reserved(source, link.network)
        last, now = self._answered.get(source), self._clock()
        again = last is not None and now < last + SAME_BOOT_SECONDS
        self._answered.put(source, now)
        if found is None:
            if not again:
                log.info("%s: rarp: no address in %s is reserved for %s", link.name, link.network, source)
            return None
        self._sightings.saw_address(source, str(found))
        if not again:
            log.info("%s: rarp: %s has %s", link.name, source, found)
            self._director.record(source, Stage.DISCOVER, size_bytes=len(data), message="RARP")
            self._director.record(source, Stage.OFFER, message=str(found))
        return rarp.encode_reply(question, found, mac=link.mac, address=link.address)
