"""DHCP messages as booting machines send them, for who wants to know the answer without a machine. Pure."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.model import Firmware
from pxe.client import ARCHITECTURES, IPXE_HTTP
from pxe.dhcp import BOOTREQUEST, BROADCAST_FLAG, NOBODY, MessageType, Option, Packet, encode_options

XID = 0x0D157
"""Any; the same each time, so that two imitations can be compared."""

# What edk2 asks for in option 55 and says in option 94 (UNDI 3.0); these values decide nothing.
_PARAMETERS = (55, bytes((1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54)))
_UNDI = (94, bytes((1, 3, 0)))
_MAX_SIZE = (Option.MAX_SIZE, (1472).to_bytes(2, "big"))
# Feature tags of option 175 (iPXE features.h): extensions, HTTP, TFTP, DNS, bzImage, PXE, menus.
_FEATURES = (0x10, IPXE_HTTP, 0x15, 0x17, 0x18, 0x21, 0x27)
_EFI = 0x24


@dataclass(frozen=True)
class Asker:
    """Who is imitated."""

    mac: str
    arch: int
    """A value of option 93."""
    vendor_class: str = ""
    """Of the firmware; empty: what its architecture says, HTTPClient or PXEClient."""
    uuid: bytes = bytes(16)

    @property
    def chaddr(self) -> bytes:
        return bytes.fromhex(self.mac.replace(":", "")) + bytes(10)

    @property
    def option_60(self) -> bytes:
        known = ARCHITECTURES.get(self.arch)
        name = self.vendor_class or ("HTTPClient" if known and known.http else "PXEClient")
        whole = f"{name}:Arch:{self.arch:05}:UNDI:003000" if name in ("PXEClient", "HTTPClient") else name
        return whole.encode()


def firmware_discover(asker: Asker) -> Packet:
    """The first DISCOVER after power-on, as edk2 words it."""
    return _request(asker, MessageType.DISCOVER, flags=BROADCAST_FLAG)


def boot_server_request(asker: Asker, address: IPv4Address) -> Packet:
    """What UEFI firmware asks port 4011 when its OFFER had no option 43; `address` is its own by then."""
    return _request(asker, MessageType.REQUEST, ciaddr=address)


def ipxe_discover(asker: Asker) -> Packet:
    """The DISCOVER of an iPXE that can do what a boot needs, its user class raw as iPXE sends it."""
    known = ARCHITECTURES.get(asker.arch)
    uefi = known is not None and known.firmware is Firmware.UEFI
    features = (*_FEATURES, *((_EFI,) if uefi else ()))
    options = (
        (Option.USER_CLASS, b"iPXE"),
        (Option.IPXE, encode_options(tuple((tag, b"\x01") for tag in features))),
    )
    return _request(asker, MessageType.DISCOVER, more=options)


def _request(
    asker: Asker,
    kind: MessageType,
    *,
    flags: int = 0,
    ciaddr: IPv4Address = NOBODY,
    more: tuple[tuple[int, bytes], ...] = (),
) -> Packet:
    return Packet(
        op=BOOTREQUEST,
        xid=XID,
        chaddr=asker.chaddr,
        flags=flags,
        ciaddr=ciaddr,
        options=(
            (Option.MESSAGE_TYPE, bytes((kind,))),
            _MAX_SIZE,
            _PARAMETERS,
            (Option.MACHINE_ID, b"\x00" + asker.uuid),
            _UNDI,
            (Option.ARCHITECTURE, asker.arch.to_bytes(2, "big")),
            (Option.VENDOR_CLASS, asker.option_60),
            *more,
        ),
    )
