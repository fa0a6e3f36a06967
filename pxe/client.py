"""What a DHCP packet says of the machine that sent it."""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.model import Firmware
from pxe.dhcp import Option, Packet, sub_options
from pxe.malformed import Malformed

# Feature tags of iPXE's option 175 (iPXE src/include/ipxe/features.h).
IPXE_HTTP = 0x13


@dataclass(frozen=True)
class Architecture:
    """One value of option 93."""

    name: str
    cpu: str
    firmware: Firmware | None = None
    http: bool = False
    """It asks for a URL instead of a TFTP name."""


def _bios(name: str, *, http: bool = False) -> Architecture:
    return Architecture(name, "x86", Firmware.BIOS, http)


def _uefi(cpu: str, *, http: bool = False) -> Architecture:
    return Architecture(f"UEFI {cpu}{' HTTP' if http else ''}", cpu, Firmware.UEFI, http)


# IANA "Processor Architecture Types" with the erratum of RFC 4578 that swaps 7 and 9: firmware in the field
# says 7 for x64; 9 (EBC) came from early x64 machines too.
ARCHITECTURES: Mapping[int, Architecture] = {
    0: _bios("BIOS x86"),
    1: Architecture("NEC PC-98", "pc98"),
    2: Architecture("UEFI Itanium", "ia64", Firmware.UEFI),
    3: Architecture("DEC Alpha", "alpha"),
    4: Architecture("Arc x86", "arc"),
    5: Architecture("Intel Lean Client", "lean"),
    6: _uefi("ia32"),
    7: _uefi("x64"),
    8: Architecture("UEFI XScale", "xscale", Firmware.UEFI),
    9: Architecture("UEFI EBC", "x64", Firmware.UEFI),
    10: _uefi("arm32"),
    11: _uefi("arm64"),
    12: Architecture("PowerPC Open Firmware", "ppc"),
    13: Architecture("PowerPC ePAPR", "ppc"),
    14: Architecture("POWER OPAL v3", "ppc64"),
    15: _uefi("ia32", http=True),
    16: _uefi("x64", http=True),
    17: Architecture("UEFI EBC HTTP", "x64", Firmware.UEFI, http=True),
    18: _uefi("arm32", http=True),
    19: _uefi("arm64", http=True),
    20: _bios("BIOS x86 HTTP", http=True),
    21: Architecture("U-Boot arm32", "arm32"),
    22: Architecture("U-Boot arm64", "arm64"),
    23: Architecture("U-Boot arm32 HTTP", "arm32", http=True),
    24: Architecture("U-Boot arm64 HTTP", "arm64", http=True),
    25: _uefi("riscv32"),
    26: _uefi("riscv32", http=True),
    27: _uefi("riscv64"),
    28: _uefi("riscv64", http=True),
    29: _uefi("riscv128"),
    30: _uefi("riscv128", http=True),
    31: Architecture("s390 Basic", "s390"),
    32: Architecture("s390 Extended", "s390"),
    33: _uefi("mips32"),
    34: _uefi("mips64"),
    35: _uefi("sunway32"),
    36: _uefi("sunway64"),
    37: _uefi("loongarch32"),
    38: _uefi("loongarch32", http=True),
    39: _uefi("loongarch64"),
    40: _uefi("loongarch64", http=True),
    41: Architecture("ARM rpiboot", "arm"),
}


@dataclass(frozen=True)
class Client:
    """The sender of a packet, as far as it can be believed."""

    mac: str
    """Lower case with colons; empty when the packet carries no Ethernet address."""
    arch_ids: tuple[int, ...] = ()
    """Option 93 as it came; empty: the sender does not ask for a network boot."""
    arch: Architecture | None = None
    """The first of `arch_ids` that has a name."""
    vendor_class: str = ""
    """PXEClient, HTTPClient, or empty for anything else."""
    ipxe: bool = False
    features: frozenset[int] | None = None
    """What an iPXE says it can do; None when it says nothing."""
    uuid: str = ""

    @property
    def firmware(self) -> Firmware | None:
        return self.arch.firmware if self.arch else None

    @property
    def speaks_http(self) -> bool:
        """Whether this iPXE can fetch its script by HTTP; one that lists nothing is believed to."""
        return self.features is None or IPXE_HTTP in self.features


def identify(packet: Packet) -> Client:
    """Read the sender of a packet."""
    arch_ids = _architectures(packet.option(Option.ARCHITECTURE) or b"")
    encapsulated = packet.option(Option.IPXE)
    return Client(
        mac=_mac(packet),
        arch_ids=arch_ids,
        arch=next((ARCHITECTURES[one] for one in arch_ids if one in ARCHITECTURES), None),
        vendor_class=_vendor_class(packet.option(Option.VENDOR_CLASS) or b""),
        # iPXE sends its user class raw, without the length byte of RFC 3004; others frame it.
        ipxe=encapsulated is not None or b"iPXE" in (packet.option(Option.USER_CLASS) or b""),
        features=_features(encapsulated),
        uuid=_uuid(packet.option(Option.MACHINE_ID) or b""),
    )


def _mac(packet: Packet) -> str:
    """The hardware address, unless it is none a network card can have (all zero, or a group address)."""
    address = packet.chaddr[: packet.hlen]
    if len(address) != 6 or not any(address) or address[0] & 1:
        return ""
    return address.hex(":")


def _architectures(value: bytes) -> tuple[int, ...]:
    """Option 93, and nothing else: iPXE copies our own option 60 into its requests, so 60 may name none."""
    return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2))


def _vendor_class(value: bytes) -> str:
    return next((name for name in ("PXEClient", "HTTPClient") if value.startswith(name.encode())), "")


def _features(encapsulated: bytes | None) -> frozenset[int] | None:
    if encapsulated is None:
        return None
    found: set[int] = set()
    try:
        for code, _ in sub_options(encapsulated, "option 175 sub-option"):
            found.add(code)
    except Malformed:
        # What could be read before counts; a ROM that garbles this is still an iPXE.
        pass
    return frozenset(found) or None


def _uuid(value: bytes) -> str:
    """The machine's UUID, its first three fields little endian as SMBIOS has them; empty when it is none."""
    if len(value) != 17 or value[0] != 0 or not any(value[1:]):
        return ""
    raw = value[1:]
    groups = (raw[3::-1], raw[5:3:-1], raw[7:5:-1], raw[8:10], raw[10:])
    return "-".join(group.hex() for group in groups)
