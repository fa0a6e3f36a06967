"""Decides what a booting machine is answered: a packet in, a packet or a reason for silence out."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.model import BootTarget, Firmware, LocalBoot, Silence
from pxe.client import Client
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
    encode_options,
    sub_options,
)
from pxe.malformed import Malformed

BIOS_PROGRAM = "undionly.kpxe"
UEFI_PROGRAM = "snponly.efi"
UEFI_LOCAL_PROGRAM = "local-x64.efi"

PROGRAMS: Mapping[tuple[Firmware | None, str], str] = {
    (Firmware.BIOS, "x86"): BIOS_PROGRAM,
    (Firmware.UEFI, "x64"): UEFI_PROGRAM,
}

EVERYBODY = IPv4Address("255.255.255.255")

# PXE 2.1 discovery control, bit 3: when there is a boot file, just fetch it.
_JUST_FETCH_THE_FILE = encode_options(((6, b"\x08"),))
_BOOT_ITEM = 71
_CREDENTIALS = 0x8000

Address = tuple[str, int]


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


def refuse(request: Packet, client: Client, here: Here, *, port: int) -> Ignore | None:
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
    if client.arch is None or (client.arch.firmware, client.arch.cpu) not in PROGRAMS:
        name = client.arch.name if client.arch else "unknown"
        return Ignore(f"no boot program for architecture {'/'.join(map(str, client.arch_ids))} ({name})")
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
) -> Reply | Ignore:
    """Answer a packet that came from `sender` to `port`: 67 (an OFFER) or 4011 (an ACK)."""
    if refusal := refuse(request, client, here, port=port):
        return refusal
    if isinstance(target, Silence):
        return Ignore(target.reason)
    item = _boot_item(request) if port == PXE_PORT else None
    if item and int.from_bytes(item[2:4], "big") & _CREDENTIALS:
        return Ignore("asks for boot credentials (BIS), which this server has none of")
    reply = _reply(request, client, here, port=port, boot_file=boot_file(client, target, here), item=item)
    size = len(encode(reply))
    if size > request.longest_answer:
        return Ignore(f"the answer has {size} bytes, it takes {request.longest_answer}")
    return Reply(reply, _destination(request, port=port, sender=sender))


def boot_file(client: Client, target: BootTarget, here: Here) -> str:
    """The name or URL a client of a known architecture is told to fetch."""
    assert client.arch is not None
    program = PROGRAMS[client.arch.firmware, client.arch.cpu]
    if client.ipxe:
        # An iPXE that were offered iPXE again would load it for ever; only one that cannot fetch its
        # script by HTTP is given ours, which can.
        if client.speaks_http:
            return f"{here.url}/boot/{client.mac}.ipxe"
        return f"tftp://{here.address}/{program}"
    if isinstance(target, LocalBoot) and client.firmware is Firmware.UEFI:
        program = UEFI_LOCAL_PROGRAM
    if client.arch.http or client.vendor_class == "HTTPClient":
        # An IP address, never a name: OVMF wants a DNS server in the other server's OFFER for names.
        return f"{here.url}/boot/{program}"
    return program


def _reply(
    request: Packet, client: Client, here: Here, *, port: int, boot_file: str, item: bytes | None
) -> Packet:
    name = boot_file.encode()
    offer = port == SERVER_PORT
    return Packet(
        op=BOOTREPLY,
        htype=request.htype,
        hlen=request.hlen,
        xid=request.xid,
        chaddr=request.chaddr,
        # yiaddr 0 with option 60 is what makes this a proxy's packet to edk2 and iPXE.
        flags=BROADCAST_FLAG if offer else request.flags,
        ciaddr=NOBODY if offer else request.ciaddr,
        siaddr=here.address,
        giaddr=request.giaddr,
        sname=str(here.address).encode(),
        # In the header, not only in option 67: shim and U-Boot read nothing else (rhboot/shim#710).
        file=name if len(name) <= 127 else b"",
        options=tuple(_options(request, client, here, offer=offer, name=name, item=item)),
    )


def _options(
    request: Packet, client: Client, here: Here, *, offer: bool, name: bytes, item: bytes | None
) -> list[tuple[int, bytes]]:
    kind = MessageType.OFFER if offer else MessageType.ACK
    options: list[tuple[int, bytes]] = [
        (Option.MESSAGE_TYPE, bytes((kind,))),
        # edk2 drops an OFFER without option 54, and firmware ignores one without 60.
        (Option.SERVER, here.address.packed),
        (Option.VENDOR_CLASS, (client.vendor_class or "PXEClient").encode()),
    ]
    machine_id = request.option(Option.MACHINE_ID)
    if machine_id is not None and len(machine_id) == 17:
        options.append((Option.MACHINE_ID, machine_id))
    if item:
        options.append((Option.VENDOR, encode_options(((_BOOT_ITEM, item),))))
    elif client.firmware is Firmware.BIOS and not client.ipxe and client.vendor_class == "PXEClient":
        # BIOS ROMs go straight to TFTP with this. Firmware of UEFI machines in the field mistreats
        # option 43 (pixiecore, dnsmasq); without it they ask port 4011.
        options.append((Option.VENDOR, _JUST_FETCH_THE_FILE))
    if len(name) > 127:
        options.append((Option.BOOT_FILE, name))
    relay = request.option(Option.RELAY_AGENT)
    if relay is not None:
        # Last, as it came (RFC 3046, 2.2).
        options.append((Option.RELAY_AGENT, relay))
    return options


def _boot_item(request: Packet) -> bytes | None:
    """The item a client chose from a boot menu (PXE 2.1: type and layer, 16 bits each)."""
    vendor = request.option(Option.VENDOR)
    if not vendor:
        return None
    try:
        chosen = dict(sub_options(vendor, "option 43 sub-option")).get(_BOOT_ITEM)
    except Malformed:
        return None
    return chosen if chosen and len(chosen) == struct.calcsize("!HH") else None


def _destination(request: Packet, *, port: int, sender: Address) -> Address:
    if port == PXE_PORT and sender[0] != str(NOBODY):
        # edk2 asks from port 4011, iPXE from 68: the answer goes where the question came from.
        return sender
    if request.giaddr != NOBODY:
        return str(request.giaddr), SERVER_PORT
    return str(EVERYBODY), CLIENT_PORT
