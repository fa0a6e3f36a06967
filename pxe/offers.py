"""The vendor options (43) of an answer to a boot ROM: PXE 2.1 discovery control, boot servers and menus."""

import struct
from ipaddress import IPv4Address

from appliance.strategies import Strategy
from pxe.dhcp import Option, Packet, encode_options, sub_options
from pxe.malformed import Malformed

BOOT_ITEM = 71
CREDENTIALS = 0x8000
"""The bit of an item's layer that asks for boot credentials (BIS)."""

_CONTROL, _SERVERS, _MENU, _PROMPT = 6, 8, 9, 10
# Discovery control, bits 0 to 3: no broadcast, no multicast, only listed servers, just fetch the boot file.
_ONLY_LISTED = 7
_JUST_FETCH_THE_FILE = 8
_DNSMASQS = 3
# Types from 0x8000 on are a vendor's own; 0 would be the local disk.
_ITEM_TYPE = 0x8000
_TITLE = b"DistServer"
_AT_ONCE = 0


def vendor_options(strategy: Strategy, here: IPv4Address) -> bytes | None:
    """Option 43 of an OFFER; None: there is none."""
    match strategy:
        case Strategy.DIRECT:
            # No list of servers beside it: edk2 would take that for the TFTP server (tianocore/edk2#8558).
            return encode_options(((_CONTROL, bytes((_JUST_FETCH_THE_FILE,))),))
        case Strategy.MENU:
            servers = struct.pack("!HB4s", _ITEM_TYPE, 1, here.packed)
            item = struct.pack("!HB", _ITEM_TYPE, len(_TITLE)) + _TITLE
            prompt = bytes((_AT_ONCE,)) + _TITLE
            return encode_options(
                ((_CONTROL, bytes((_ONLY_LISTED,))), (_SERVERS, servers), (_MENU, item), (_PROMPT, prompt))
            )
        case _:
            return None


def raspberry_pi_options() -> bytes:
    """A menu whose one item has the very name that a Raspberry Pi's boot ROM looks for."""
    name = b"Raspberry Pi Boot"
    item = struct.pack("!HB", 0, len(name)) + name
    prompt = bytes((_AT_ONCE,)) + b"PXE"
    return encode_options(((_CONTROL, bytes((_DNSMASQS,))), (_PROMPT, prompt), (_MENU, item)))


def boot_item(request: Packet) -> bytes | None:
    """The item a client chose from a boot menu (type and layer, 16 bits each)."""
    vendor = request.option(Option.VENDOR)
    if not vendor:
        return None
    try:
        chosen = dict(sub_options(vendor, "option 43 sub-option")).get(BOOT_ITEM)
    except Malformed:
        return None
    return chosen if chosen and len(chosen) == struct.calcsize("!HH") else None


def echoed_item(item: bytes) -> bytes:
    """Option 43 of the answer to a chosen item."""
    return encode_options(((BOOT_ITEM, item),))
