"""The packets of full DHCP: OFFER, ACK and NAK, with what a booting machine is told in the same packet."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from appliance.dhcp_settings import Subnet
from pxe.client import Client
from pxe.dhcp import (
    BOOTREPLY,
    BROADCAST_FLAG,
    CLIENT_PORT,
    NOBODY,
    SERVER_PORT,
    MessageType,
    Option,
    Packet,
    encode,
    encode_options,
)
from pxe.links import EVERYBODY
from pxe.policy import Address, Here, Ignore, Reply

# iPXE's own option 175, sub-option 176: do not wait 2 s for a proxy (iPXE src/include/ipxe/dhcp.h).
_NO_PXEDHCP = (Option.IPXE, encode_options(((176, b"\1"),)))
# What an answer can do without, the first to go first, when the client takes no packet of that size.
_EXPENDABLE = (
    Option.TFTP_SERVER,
    Option.BROADCAST_ADDRESS,
    Option.NTP,
    Option.HOST_NAME,
    Option.RENEWAL_SECONDS,
    Option.REBINDING_SECONDS,
    Option.IPXE,
    Option.DOMAIN,
)


@dataclass(frozen=True)
class Terms:
    """What an OFFER or ACK says besides the boot program."""

    kind: MessageType
    subnet: Subnet
    address: IPv4Address = NOBODY
    """yiaddr; nobody's in the answer to an INFORM."""
    lease_seconds: int | None = None
    host: str = ""


def grant(request: Packet, client: Client, here: Here, terms: Terms, boot: Packet | None) -> Reply | Ignore:
    """An OFFER or ACK; `boot` is what a proxy would have answered, None when the machine boots nothing."""
    options = [*_terms(here, terms), *_boot_options(client, here, boot), *_echo(request)]
    packet = Packet(
        op=BOOTREPLY,
        htype=request.htype,
        hlen=request.hlen,
        xid=request.xid,
        chaddr=request.chaddr,
        flags=request.flags,
        ciaddr=request.ciaddr if terms.kind is MessageType.ACK else NOBODY,
        yiaddr=terms.address,
        # Firmware, shim and U-Boot fetch from siaddr; a machine that boots nothing is sent nowhere.
        siaddr=here.address if boot else NOBODY,
        giaddr=request.giaddr,
        sname=boot.sname if boot else b"",
        file=boot.file if boot else b"",
        options=tuple(options),
    )
    return _fitted(request, packet)


def refuse(request: Packet, here: Here, why: str) -> Reply:
    """A NAK. It is broadcast, since its receiver has no address of this network (RFC 2131, 4.1 and 4.3.2)."""
    packet = Packet(
        op=BOOTREPLY,
        htype=request.htype,
        hlen=request.hlen,
        xid=request.xid,
        chaddr=request.chaddr,
        # Through a relay the broadcast bit makes the relay broadcast it.
        flags=request.flags | BROADCAST_FLAG if request.giaddr != NOBODY else request.flags,
        giaddr=request.giaddr,
        options=(
            (Option.MESSAGE_TYPE, bytes((MessageType.NAK,))),
            (Option.SERVER, here.address.packed),
            (Option.MESSAGE, why.encode("ascii", "replace")[:200]),
            *_echo(request),
        ),
    )
    if request.giaddr != NOBODY:
        return Reply(packet, (str(request.giaddr), SERVER_PORT))
    return Reply(packet, (str(EVERYBODY), CLIENT_PORT))


def _terms(here: Here, terms: Terms) -> Iterable[tuple[int, bytes]]:
    subnet = terms.subnet
    yield Option.MESSAGE_TYPE, bytes((terms.kind,))
    yield Option.SERVER, here.address.packed
    if terms.lease_seconds is not None:
        seconds = terms.lease_seconds
        yield Option.LEASE_SECONDS, seconds.to_bytes(4, "big")
        yield Option.RENEWAL_SECONDS, (seconds // 2).to_bytes(4, "big")
        yield Option.REBINDING_SECONDS, (seconds * 7 // 8).to_bytes(4, "big")
    yield Option.SUBNET_MASK, subnet.network.netmask.packed
    if subnet.router:
        yield Option.ROUTER, subnet.router.packed
    if subnet.dns:
        yield Option.DNS, b"".join((one or here.address).packed for one in subnet.dns)
    if terms.host:
        yield Option.HOST_NAME, terms.host.encode()
    if subnet.domain:
        yield Option.DOMAIN, subnet.domain.encode()
    yield Option.BROADCAST_ADDRESS, subnet.network.broadcast_address.packed
    if subnet.ntp:
        yield Option.NTP, b"".join(one.packed for one in subnet.ntp)


def _boot_options(client: Client, here: Here, boot: Packet | None) -> Iterable[tuple[int, bytes]]:
    """The proxy's options in one server's packet.

    Class PXEClient without option 43 would make UEFI firmware ask port 4011 for what this packet says
    already, a second later (edk2 PxeBcDhcp4.c: DhcpBinl); without the class it takes the file named here.
    """
    if boot is None:
        return
    vendor = boot.option(Option.VENDOR)
    vendor_class = boot.option(Option.VENDOR_CLASS)
    if vendor_class and (vendor or vendor_class != b"PXEClient"):
        yield Option.VENDOR_CLASS, vendor_class
    if machine_id := boot.option(Option.MACHINE_ID):
        yield Option.MACHINE_ID, machine_id
    if vendor:
        yield Option.VENDOR, vendor
    if not (boot.option(Option.VENDOR_CLASS) or b"").startswith(b"HTTPClient"):
        yield Option.TFTP_SERVER, str(here.address).encode()
    # The same name as in the header: edk2 prefers 67, shim and U-Boot read the header only.
    name = boot.option(Option.BOOT_FILE) or boot.file
    if name:
        yield Option.BOOT_FILE, name
    if client.ipxe:
        yield _NO_PXEDHCP


def _echo(request: Packet) -> Iterable[tuple[int, bytes]]:
    """What goes back as it came: the client's identifier (RFC 6842), and last the relay's (RFC 3046)."""
    for code in (Option.CLIENT_ID, Option.RELAY_AGENT):
        value = request.option(code)
        if value is not None:
            yield code, value


def _fitted(request: Packet, packet: Packet) -> Reply | Ignore:
    for code in (None, *_EXPENDABLE):
        options = tuple(one for one in packet.options if one[0] != code)
        packet = replace(packet, options=options)
        size = len(encode(packet))
        if size <= request.longest_answer:
            return Reply(packet, _destination(request))
    return Ignore(f"the answer has {size} bytes, it takes {request.longest_answer}")


def _destination(request: Packet) -> Address:
    """Where an OFFER or ACK goes (RFC 2131, 4.1).

    A client without an address is answered by broadcast whether it asks for that or not: a unicast to an
    address nobody has yet would need its entry in the neighbour table of this host.
    """
    if request.giaddr != NOBODY:
        return str(request.giaddr), SERVER_PORT
    if request.ciaddr != NOBODY:
        return str(request.ciaddr), CLIENT_PORT
    return str(EVERYBODY), CLIENT_PORT
