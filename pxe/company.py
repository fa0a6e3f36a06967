"""Other DHCP servers on a LAN where this one gives out addresses: refused at the start, watched for later."""

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Collection
from contextlib import ExitStack
from ipaddress import IPv4Address

from appliance.dhcp_settings import DhcpSettings
from appliance.errors import Problem
from pxe.dhcp import NOBODY, MessageType, Packet
from pxe.diagnosis import Seen
from pxe.full import find_subnet
from pxe.full_server import FullServer
from pxe.links import Link
from pxe.probe import collect, discover, hardware_address, listening, received, shouting

log = logging.getLogger(__name__)

LOOK_SECONDS = 10.0
"""How soon a link that comes is listened on."""
ASK_SECONDS = 600.0
"""How often the LAN is asked; what another server answers to machines is heard at once."""
ARCH = 7


def refuse_company(links: Collection[Link], settings: DhcpSettings) -> None:
    """Raises Problem that names another DHCP server on a link where full DHCP is wanted; takes 5 s each."""
    ours = {link.address for link in links}
    for link in links:
        if find_subnet(settings, link.address) is None:
            continue
        log.info("asking whether another DHCP server answers on %s", link.name)

        def another(seen: Seen) -> bool:
            return seen.packet.yiaddr != NOBODY and seen.server not in ours

        for seen in collect(link.name, architectures=(ARCH,), enough=another):
            if another(seen):
                raise Problem(
                    f"another DHCP server answers on {link.name}: {seen.server} ({seen.mac}) "
                    f"offers {seen.packet.yiaddr}",
                    hint="switch it off, or take [dhcp] out of appliance.toml: "
                    "beside another server this one only says what to boot",
                )


class Watch:
    """Listens to what is answered to machines on the links of full DHCP, and asks now and then itself."""

    def __init__(
        self, full: FullServer, links: Callable[[], Collection[Link]], ask_seconds: float = ASK_SECONDS
    ) -> None:
        self._full = full
        self._ask_seconds = ask_seconds
        self._links = links
        self._open: dict[Link, ExitStack] = {}
        self._shouts: dict[Link, Callable[[Packet], None]] = {}

    async def run(self) -> None:
        """Watch until cancelled."""
        asked_at = asyncio.get_running_loop().time()
        try:
            while True:
                try:
                    self._follow()
                    now = asyncio.get_running_loop().time()
                    if now >= asked_at + self._ask_seconds:
                        self.ask()
                        asked_at = now
                except Exception:
                    log.exception("watching for other DHCP servers")
                await asyncio.sleep(min(LOOK_SECONDS, self._ask_seconds))
        finally:
            for link in list(self._open):
                self._leave(link)

    def ask(self) -> None:
        """Send a DISCOVER on every link; who answers is heard like any other answer."""
        for link, shout in self._shouts.items():
            try:
                shout(discover(hardware_address(link.name), ARCH, xid=secrets.randbits(32)))
            except Problem as problem:
                log.warning("%s", problem)

    def _follow(self) -> None:
        """Listen where full DHCP is served now, and nowhere else."""
        settings = self._full.settings()
        wanted = [link for link in self._links() if find_subnet(settings, link.address)]
        for link in [one for one in self._open if one not in wanted]:
            self._leave(link)
        for link in wanted:
            if link not in self._open:
                self._join(link)

    def _join(self, link: Link) -> None:
        with ExitStack() as stack:
            try:
                ears = stack.enter_context(listening(link.name))
                self._shouts[link] = stack.enter_context(shouting(link.name))
            except (OSError, Problem) as problem:
                log.warning("%s: other DHCP servers are not watched for: %s", link.name, problem)
                return
            asyncio.get_running_loop().add_reader(ears, self._hear, link, ears)
            stack.callback(asyncio.get_running_loop().remove_reader, ears)
            self._open[link] = stack.pop_all()

    def _leave(self, link: Link) -> None:
        self._shouts.pop(link, None)
        self._open.pop(link).close()

    def _hear(self, link: Link, ears: socket.socket) -> None:
        ours = {one.address for one in self._links()}
        for packet, sender, mac in received(ears):
            server = packet.server or sender
            if server not in ours and mac != link.mac:
                self._full.foreign(server, link, _evidence(packet, mac))


def _evidence(packet: Packet, mac: str) -> str:
    kinds = {MessageType.OFFER: "offers", MessageType.ACK: "gave", MessageType.NAK: "refused"}
    kind = packet.message_type
    verb = next((word for known, word in kinds.items() if known == kind), "says")
    what: IPv4Address | str = packet.yiaddr if packet.yiaddr != NOBODY else "a boot program"
    return f"{mac} {verb} {what}"
