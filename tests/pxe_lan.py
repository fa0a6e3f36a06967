"""A responder without sockets: DHCP packets in, packets out."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from appliance.model import BootTarget
from appliance.net_settings import NetSettings
from appliance.stages import Stage
from pxe import dhcp
from pxe.dhcp import MessageType, Packet
from pxe.links import Link
from pxe.policy import USUAL_HOUSE, Address, House
from pxe.responder import Responder
from pxe.sightings import Sightings
from tests.boot_packets import HERE, LINK, MAC, NETBOOT, UEFI, packet
from tests.fake_director import FakeDirector

ADDRESS = "10.77.0.101"
FOREIGN = IPv4Address("10.77.0.1")


@dataclass
class PxeLan:
    """A responder on a LAN of one machine, with a clock of its own."""

    target: BootTarget = NETBOOT
    settings: NetSettings = field(default_factory=NetSettings)
    house: House = USUAL_HOUSE
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.sent: list[tuple[int, Packet, Address]] = []
        self.director = FakeDirector({"*": self.target}, settings=self.settings)
        self.sightings = Sightings()
        self.responder = Responder(
            self.director,
            HERE.http_port,
            self.sightings,
            self._sent,
            house=self.house,
            clock=lambda: self.now,
        )

    def _sent(self, port: int, datagram: bytes, destination: Address, link: Link) -> None:
        self.sent.append((port, dhcp.decode(datagram), destination))

    def ask(self, request: Packet, *, port: int = 67, sender: Address = ("0.0.0.0", 68)) -> Packet | None:
        before = len(self.sent)
        self.responder.receive(dhcp.encode(request), sender, port=port, link=LINK)
        return self.sent[-1][1] if len(self.sent) > before else None

    def discover(self, *options: tuple[int, bytes], secs: int = 0, xid: int = 1) -> str:
        """What an OFFER looks like from outside."""
        offer = self.ask(packet(MessageType.DISCOVER, *(options or UEFI), secs=secs, xid=xid))
        assert offer is not None
        vendor = offer.option(43)
        if vendor is None:
            return "binl" if offer.option(60) else "plain"
        return "direct" if vendor == b"\6\1\x08\xff" else "menu"

    def boot(self, xid: int) -> list[str]:
        offered = []
        for secs in (0, 4, 12, 28):
            offered.append(self.discover(secs=secs, xid=xid))
            self.now += 4
        return offered

    def fetch(self) -> None:
        self.sightings.progressed(MAC, Stage.PROGRAM)

    def alarms(self) -> list[str]:
        return [one.message for one in self.director.records if one.status == "failed"]
