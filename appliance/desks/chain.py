"""Walks the chain of a network boot with the servers' own code: each question and answer in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from appliance.boot import BootDesk
from appliance.model import LocalBoot, NetBoot
from pxe import dhcp
from pxe.client import Client, identify
from pxe.dhcp import PXE_PORT, SERVER_PORT, MessageType, Option, Packet, sub_options
from pxe.imitation import Asker, boot_server_request, firmware_discover, ipxe_discover
from pxe.links import Link
from pxe.malformed import Malformed, printable
from pxe.names import Names
from pxe.policy import USUAL_HOUSE, Address, Here, Ignore
from pxe.programs import PROGRAMS
from pxe.responder import Responder
from pxe.script import script_of
from pxe.servers import house_of
from pxe.sightings import Sightings

LOCAL = frozenset(program.local for program in PROGRAMS.values() if program.local)
TEXTS = (Option.VENDOR_CLASS, Option.BOOT_FILE, Option.USER_CLASS)
_MENU_ITEMS, _MENU = 8, 9
_DISCOVERY = 6


@dataclass(frozen=True)
class Step:
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Answered:
    """What the servers say to one packet."""

    packet: Packet | None
    """None: nothing."""
    lines: tuple[str, ...]


class Walk:
    """One imitated boot. `desk` is changed by it as by a real one: give it a copy of the store."""

    def __init__(self, desk: BootDesk, boot_dir: Path, link: Link, http_port: int) -> None:
        self._desk = desk
        self._link = link
        self._here = Here(link.address, http_port)
        self._machine = next(one for one in link.network.hosts() if one != link.address)
        self.sent: list[tuple[bytes, Address]] = []
        """Every datagram that the servers would have sent, and to whom."""
        self._sightings = Sightings()
        # Before the first `up` there is no boot directory; it will have every usual program.
        house = house_of(boot_dir) if boot_dir.is_dir() else USUAL_HOUSE
        self._responder = Responder(desk, http_port, self._sightings, self._send, house=house)
        self._names = Names(desk, boot_dir, self._sightings)

    def _send(self, port: int, datagram: bytes, destination: Address, link: Link) -> None:
        self.sent.append((datagram, destination))

    def steps(self, asker: Asker, *, ipxe: bool = False) -> Iterator[Step]:
        """From the first packet to the kernel's arguments; `ipxe`: the network card itself runs an iPXE."""
        file = ""
        if not ipxe:
            step, reply = self._ask("DISCOVER of the firmware", firmware_discover(asker), port=SERVER_PORT)
            yield step
            if reply is None:
                return
            if asks_boot_server(reply):
                asked = boot_server_request(asker, self._machine)
                step, reply = self._ask("the firmware asks port 4011", asked, port=PXE_PORT)
                yield step
                if reply is None:
                    return
            file = _file(reply)
            yield self._program(file)
            if not _is_ipxe(file):
                yield from self._configuration(asker, file)
                return
        step, reply = self._ask("DISCOVER of iPXE", ipxe_discover(asker), port=SERVER_PORT)
        yield step
        if reply is not None and _file(reply) == f"{self._here.url}/boot/{asker.mac}.ipxe":
            yield self._script(asker)

    def _ask(self, title: str, packet: Packet, *, port: int) -> tuple[Step, Packet | None]:
        sender = (str(packet.ciaddr), PXE_PORT if port == PXE_PORT else dhcp.CLIENT_PORT)
        said = (f"it says: {_client(identify(packet))}", f"  options {_options(packet)}")
        answered = self._receive(dhcp.encode(packet), sender, port=port)
        return Step(title, (*said, *answered.lines)), answered.packet

    def _receive(self, datagram: bytes, sender: Address, *, port: int) -> Answered:
        decision = self._responder.receive(datagram, sender, port=port, link=self._link)
        if isinstance(decision, (Ignore, Malformed)):
            why = str(decision) if isinstance(decision, Malformed) else decision.reason
            return Answered(None, (f"no answer: {why}", "the firmware goes on with its next boot device"))
        sent, (address, to_port) = self.sent[-1]
        reply = dhcp.decode(sent)
        kind = MessageType(reply.message_type or 0).name
        lines = (
            f"answer: {kind} from {self._here.address}:{port} to {address}:{to_port}, {len(sent)} bytes",
            f"  header siaddr {reply.siaddr}, file {printable(reply.file) or 'empty'}",
            f"  options {_options(reply)}",
            f"  strategy: {strategy_words(reply)}",
        )
        return Answered(reply, lines)

    def _program(self, file: str) -> Step:
        name = file.rsplit("/", 1)[-1]
        way = "HTTP" if file.startswith("http://") else "TFTP"
        found = self._names.resolve(name, str(self._machine), self._here)
        there = (
            f"{found.stat().st_size} bytes" if isinstance(found, Path) else "it is not there: `up` makes it"
        )
        lines = [f"it fetches {file} by {way}: {there}"]
        if name in LOCAL:
            lines.append("this program looks for the local disk's boot loader and starts it")
        return Step("boot program", tuple(lines))

    def _configuration(self, asker: Asker, file: str) -> Iterator[Step]:
        """What a GRUB that was made here asks for next."""
        if file.rsplit("/", 1)[-1] in LOCAL:
            return
        name = f"grub/grub.cfg-01-{asker.mac.replace(':', '-')}"
        text = self._names.resolve(name, str(self._machine), self._here)
        said = text.decode().splitlines() if isinstance(text, bytes) else ["nothing is found"]
        yield Step(f"it asks for {name}", tuple(f"  {line}" for line in said))

    def _script(self, asker: Asker) -> Step:
        firmware = identify(ipxe_discover(asker)).firmware
        target, text = script_of(self._desk, asker.mac, firmware, self._here)
        lines = [f"  {line}" for line in text.splitlines()]
        match target:
            case NetBoot(release, arguments):
                lines.append(f"kernel and installer of release {release}, arguments {arguments}")
            case LocalBoot(reason):
                lines.append(f"the local disk: {reason}")
        return Step("script", tuple(lines))


def asks_boot_server(reply: Packet) -> bool:
    """Does firmware ask port 4011 after this OFFER? Without option 43, or with a menu (edk2 PxeBcDhcp4.c)."""
    if reply.option(Option.VENDOR_CLASS) != b"PXEClient":
        return False
    return not reply.option(Option.VENDOR) or _MENU in _vendor(reply)


def strategy_words(reply: Packet) -> str:
    """How an answer leads a firmware to its program."""
    vendor = _vendor(reply)
    if reply.option(Option.VENDOR_CLASS) == b"HTTPClient":
        return "a URL for UEFI HTTP boot"
    if _file(reply).startswith(("http://", "tftp://")):
        return "a URL for iPXE"
    if _MENU in vendor:
        return "a menu of one item, chosen at once on port 4011"
    if vendor.get(_DISCOVERY) == b"\x08":
        return "option 43 says: just fetch the file"
    kind = reply.message_type
    return "fetch the file" if kind == MessageType.ACK else "no option 43: the firmware asks port 4011 (BINL)"


def _vendor(reply: Packet) -> dict[int, bytes]:
    return dict(sub_options(reply.option(Option.VENDOR) or b"", "option 43 sub-option"))


def _file(reply: Packet) -> str:
    return printable(reply.file or reply.option(Option.BOOT_FILE) or b"")


def _is_ipxe(file: str) -> bool:
    return file.rsplit("/", 1)[-1] in ("undionly.kpxe", "snponly.efi")


def _client(client: Client) -> str:
    arch = client.arch.name if client.arch else f"unknown architecture {client.arch_ids}"
    return f"{client.mac}, {arch}, {'iPXE' if client.ipxe else client.vendor_class or 'no PXE client'}"


def _options(packet: Packet) -> str:
    return " ".join(f"{code:d}={_value(code, value)}" for code, value in packet.options)


def _value(code: int, value: bytes) -> str:
    if code == Option.MESSAGE_TYPE:
        return MessageType(value[0]).name
    if code == Option.SERVER:
        return str(IPv4Address(value))
    return printable(value) if code in TEXTS else value.hex()
