"""Decides what a booting machine is answered: a packet in, a packet or a reason for silence out."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.model import BootTarget, Firmware, LocalBoot, NetBoot, Silence
from appliance.strategies import Strategy
from pxe.client import Client, Role
from pxe.dhcp import (
    BOOTREPLY,
    BOOTREQUEST,
    BROADCAST_FLAG,
    CLIENT_PORT,
    NOBODY,
    PXE_PORT,
    SERVER_PORT,
    MessageType,
    Option,
    Packet,
    encode,
)
from pxe.links import EVERYBODY
from pxe.offers import CREDENTIALS, boot_item, echoed_item, raspberry_pi_options, vendor_options
from pxe.programs import PROGRAMS, Platform, Program, why_none

BIOS_PROGRAM = PROGRAMS[Firmware.BIOS, "x86"].file
UEFI_PROGRAM = PROGRAMS[Firmware.UEFI, "x64"].file
UEFI_LOCAL_PROGRAM = PROGRAMS[Firmware.UEFI, "x64"].local
U_BOOT_SCRIPT = "boot.scr.uimg"


# iPXE takes the boot file of whoever has the higher priority (option 175, sub-option 1). Without one the
# LAN's DHCP server wins when it names a file, and an iPXE that came from us is lost for us (seen in 2019's).
_BEFORE_OTHERS = bytes((1, 1, 1))

Address = tuple[str, int]
_EVERYBODY: Address = (str(EVERYBODY), CLIENT_PORT)
_NOBODY = str(NOBODY)


@dataclass(frozen=True)
class Here:
    """Where machines reach this server."""

    address: IPv4Address
    http_port: int

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.http_port}"


@dataclass(frozen=True)
class Reply:
    packet: Packet
    destination: Address


@dataclass(frozen=True)
class Ignore:
    reason: str
    expected: bool = False
    """True: such packets are on every LAN and not worth a line in the log."""


def usual_strategy(client: Client) -> Strategy:
    """What a firmware is offered that nobody knows better.

    BIOS ROMs go straight to TFTP when they are told to. Firmware of UEFI machines in the field mistreats
    option 43 (pixiecore, dnsmasq; old edk2 forks drop such an OFFER: tianocore/edk2#6944).
    """
    return Strategy.DIRECT if client.firmware is Firmware.BIOS else Strategy.BINL


@dataclass(frozen=True)
class House:
    """What this server has to hand out."""

    programs: Mapping[Platform, Program]
    """The boot programs that are there."""
    raspberry_pi: bool = False
    """Boot files of a Raspberry Pi."""


USUAL_HOUSE = House({platform: one for platform, one in PROGRAMS.items() if one.package == "ipxe"})


def refuse(
    request: Packet, client: Client, here: Here, *, port: int, house: House = USUAL_HOUSE
) -> Ignore | None:
    """Why a packet gets no answer whatever its sender is to boot, or None."""
    if request.op != BOOTREQUEST:
        return Ignore(f"op {request.op} is a server's", expected=True)
    if not client.arch_ids or not (client.vendor_class or client.ipxe):
        return Ignore("does not ask for a network boot", expected=True)
    if request.server not in (None, here.address):
        # The client takes the lease of the LAN's own DHCP server: its business, never NAKed by a proxy.
        return Ignore(f"meant for the server {request.server}", expected=True)
    kinds = (MessageType.DISCOVER,) if port == SERVER_PORT else _BOOT_SERVER_KINDS
    if request.message_type not in kinds:
        return Ignore(f"message type {request.message_type} gets no answer on port {port}", expected=True)
    if not client.mac:
        return Ignore("carries no Ethernet address")
    return _no_program(client, house)


def _no_program(client: Client, house: House) -> Ignore | None:
    if client.role is Role.RASPBERRY_PI:
        hint = "[net] raspberry_pi names no directory with its boot files"
        return None if house.raspberry_pi else Ignore(f"is a Raspberry Pi, and {hint}")
    if client.role is Role.U_BOOT and client.arch:
        return None
    if client.arch is None or (client.arch.firmware, client.arch.cpu) not in house.programs:
        name = client.arch.name if client.arch else "unknown"
        why = f": {why_none((client.arch.firmware, client.arch.cpu))}" if client.arch else ""
        return Ignore(f"no boot program for architecture {'/'.join(map(str, client.arch_ids))} ({name}){why}")
    return None


# edk2 and iPXE send REQUEST to 4011; older boot ROMs send DISCOVER or INFORM.
_BOOT_SERVER_KINDS = (MessageType.REQUEST, MessageType.DISCOVER, MessageType.INFORM)


def answer(
    request: Packet,
    client: Client,
    target: BootTarget,
    here: Here,
    *,
    port: int = SERVER_PORT,
    sender: Address = ("0.0.0.0", CLIENT_PORT),
    strategy: Strategy | None = None,
    house: House = USUAL_HOUSE,
) -> Reply | Ignore:
    """Answer a packet that came from `sender` to `port`: 67 (an OFFER) or 4011 (an ACK).

    `strategy` is how a firmware's OFFER is worded; None: as usual for such a client. An answer is at most 2.5
    times as long as what it answers, so forged requests are not worth sending.
    """
    if refusal := refuse(request, client, here, port=port, house=house):
        return refusal
    if isinstance(target, Silence):
        return Ignore(target.reason)
    if client.role in (Role.RASPBERRY_PI, Role.U_BOOT) and not isinstance(target, NetBoot):
        # Both go on with their next boot device at once.
        return Ignore(f"is to boot its own disk: {target.reason}")
    item = boot_item(request) if port == PXE_PORT else None
    if item and int.from_bytes(item[2:4], "big") & CREDENTIALS:
        return Ignore("asks for boot credentials (BIS), which this server has none of")
    answered = _Answer(
        request, client, here, port == SERVER_PORT, boot_file(client, target, here, house), item,
        strategy or usual_strategy(client),
    )  # fmt: skip
    reply = answered.packet()
    size = len(encode(reply))
    if size > request.longest_answer:
        return Ignore(f"the answer has {size} bytes, it takes {request.longest_answer}")
    return Reply(reply, destination_of(request, port=port, sender=sender))


def boot_file(client: Client, target: BootTarget, here: Here, house: House = USUAL_HOUSE) -> str:
    """The name or URL a client of a known architecture is told to fetch."""
    assert client.arch is not None
    if client.role is Role.RASPBERRY_PI:
        # Its ROM knows the names of its files and reads neither `file` nor option 67 (rpi-eeprom#182).
        return ""
    if client.role is Role.U_BOOT:
        return f"{here.url}/boot/{U_BOOT_SCRIPT}" if client.arch.http else U_BOOT_SCRIPT
    program = house.programs[client.arch.firmware, client.arch.cpu]
    if client.ipxe:
        # An iPXE that were offered iPXE again would load it for ever; only one that cannot fetch its
        # script by HTTP or start a kernel is given ours, which can.
        if client.fit:
            return f"{here.url}/boot/{client.mac}.ipxe"
        return f"tftp://{here.address}/{program.ipxe or program.file}"
    name = (program.local if isinstance(target, LocalBoot) else "") or program.file
    if client.role is Role.HTTP_BOOT:
        # An IP address, never a name: OVMF wants a DNS server in the other server's OFFER for names.
        return f"{here.url}/boot/{name}"
    return name


@dataclass(frozen=True)
class _Answer:
    """All that an answer is made from."""

    request: Packet
    client: Client
    here: Here
    offer: bool
    """An OFFER on port 67, else an ACK on port 4011."""
    boot_file: str
    item: bytes | None
    strategy: Strategy

    def packet(self) -> Packet:
        request, name = self.request, self._name()
        # What answers a menu's item has the client's address in yiaddr (dnsmasq does the same).
        ciaddr, yiaddr = (NOBODY, request.ciaddr) if self.item else (request.ciaddr, NOBODY)
        return Packet(
            op=BOOTREPLY,
            htype=request.htype,
            hlen=request.hlen,
            xid=request.xid,
            chaddr=request.chaddr,
            # yiaddr 0 with option 60 is what makes this a proxy's packet to edk2 and iPXE.
            flags=BROADCAST_FLAG if self.offer else request.flags,
            ciaddr=NOBODY if self.offer else ciaddr,
            yiaddr=NOBODY if self.offer else yiaddr,
            siaddr=self.here.address,
            giaddr=request.giaddr,
            sname=str(self.here.address).encode(),
            # In the header, not only in option 67: shim and U-Boot read nothing else (rhboot/shim#710).
            # Never option 52: edk2 then ignores the header.
            file=name if len(name) <= 127 else b"",
            options=tuple(self._options(name)),
        )

    def _name(self) -> bytes:
        """The boot file; a menu has none, as dnsmasq's: the firmware is to ask port 4011 for its item."""
        menu = self.client.role is Role.FIRMWARE and self.strategy is Strategy.MENU
        return b"" if self.offer and menu else self.boot_file.encode()

    def _options(self, name: bytes) -> list[tuple[int, bytes]]:
        kind = MessageType.OFFER if self.offer else MessageType.ACK
        options: list[tuple[int, bytes]] = [
            (Option.MESSAGE_TYPE, bytes((kind,))),
            # edk2 drops an OFFER without option 54, and firmware ignores one without 60.
            (Option.SERVER, self.here.address.packed),
        ]
        firmware = self.client.role is Role.FIRMWARE
        if not (firmware and self.strategy is Strategy.PLAIN):
            options.append((Option.VENDOR_CLASS, (self.client.vendor_class or "PXEClient").encode()))
        machine_id = self.request.option(Option.MACHINE_ID)
        if machine_id is not None and len(machine_id) == 17:
            options.append((Option.MACHINE_ID, machine_id))
        if vendor := self._vendor():
            options.append((Option.VENDOR, vendor))
        if self.client.role is Role.RASPBERRY_PI:
            # Of all that names a server it takes this, or siaddr in a reply that has the item.
            options.append((Option.TFTP_SERVER, str(self.here.address).encode()))
        if len(name) > 127:
            options.append((Option.BOOT_FILE, name))
        if self.client.ipxe:
            options.append((Option.IPXE, _BEFORE_OTHERS))
        relay = self.request.option(Option.RELAY_AGENT)
        if relay:
            # Last, as it came (RFC 3046, 2.2).
            options.append((Option.RELAY_AGENT, relay))
        return options

    def _vendor(self) -> bytes | None:
        if self.item:
            return echoed_item(self.item)
        if self.client.role is Role.RASPBERRY_PI:
            return raspberry_pi_options()
        if self.client.role is Role.FIRMWARE and self.offer:
            return vendor_options(self.strategy, self.here.address)
        return None


def destination_of(request: Packet, *, port: int, sender: Address) -> Address:
    if port == PXE_PORT and sender[0] != _NOBODY:
        # edk2 asks from port 4011, iPXE from 68: the answer goes where the question came from.
        return sender
    if request.giaddr != NOBODY:
        # yiaddr is 0, so the relay has to broadcast on: the flag is set in every OFFER.
        return str(request.giaddr), SERVER_PORT
    return _EVERYBODY
