"""What a DHCP packet says of the machine that sent it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache

from appliance.model import Firmware
from pxe.dhcp import Option, Packet, sub_options
from pxe.malformed import Malformed

# Feature tags of iPXE's option 175 (iPXE src/include/ipxe/features.h).
IPXE_HTTP = 0x13
IPXE_BZIMAGE = 0x18
IPXE_EFI = 0x24

OUR_USER_CLASS = b"DistServer"
"""What an iPXE that was built for this server says in option 77: it needs no check of its features."""

BUILT_IN_CLASSES = ("PXEClient", "HTTPClient", "U-Boot")
"""Prefixes of option 60 that ask for a network boot. Apple's AAPLBSDPC is another protocol."""

# The registered OUIs of Raspberry Pi. Their boot ROM says it were a BIOS (raspberrypi/firmware#1928).
RASPBERRY_PI_OUIS = frozenset(
    ("28:cd:c1", "2c:cf:67", "88:a2:9e", "b8:27:eb", "d8:3a:dd", "dc:a6:32", "e4:5f:01")
)
_RASPBERRY_PI_ID = b"\0RPi"
"""How option 97 of a Raspberry Pi 4 or 5 begins: the type, then `RPi4` or `RPi5`."""


class Role(Enum):
    """Which part of a boot is asking; each is answered in a way of its own."""

    FIRMWARE = "PXE firmware"
    HTTP_BOOT = "UEFI HTTP boot"
    IPXE = "iPXE"
    U_BOOT = "U-Boot"
    RASPBERRY_PI = "Raspberry Pi"


@dataclass(frozen=True)
class Architecture:
    """One value of option 93."""

    name: str
    cpu: str
    firmware: Firmware | None = None
    http: bool = False
    """It asks for a URL instead of a TFTP name."""
    u_boot: bool = False


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
    21: Architecture("U-Boot arm32", "arm32", u_boot=True),
    22: Architecture("U-Boot arm64", "arm64", u_boot=True),
    23: Architecture("U-Boot arm32 HTTP", "arm32", http=True, u_boot=True),
    24: Architecture("U-Boot arm64 HTTP", "arm64", http=True, u_boot=True),
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


RASPBERRY_PI = Architecture("Raspberry Pi", "arm")


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
    """PXEClient, HTTPClient, U-Boot or a prefix the site names; empty for anything else."""
    ipxe: bool = False
    ours: bool = False
    """It is an iPXE that was built for this server."""
    features: frozenset[int] | None = None
    """What an iPXE says it can do; None when it says nothing."""
    machine_id: bytes = b""
    """Option 97 as it came."""

    @cached_property
    def uuid(self) -> str:
        """The machine's UUID as SMBIOS writes it; empty when it says none."""
        return _uuid(self.machine_id)

    @cached_property
    def firmware(self) -> Firmware | None:
        return self.arch.firmware if self.arch else None

    @cached_property
    def role(self) -> Role:
        if self.ipxe:
            return Role.IPXE
        if self.arch is RASPBERRY_PI:
            return Role.RASPBERRY_PI
        if self.vendor_class == "U-Boot" or (self.arch and self.arch.u_boot):
            return Role.U_BOOT
        if self.vendor_class == "HTTPClient" or (self.arch and self.arch.http):
            return Role.HTTP_BOOT
        return Role.FIRMWARE

    @property
    def kind(self) -> str:
        """What machines that are alike have in common: vendor class, maker of the card, architecture."""
        return f"{self.vendor_class} {self.mac[:8]} {self._arch_words}"

    @cached_property
    def _arch_words(self) -> str:
        return "/".join(map(str, self.arch_ids[:4]))

    @cached_property
    def title(self) -> str:
        """What it is, in the words of a timeline."""
        return f"{self.arch.name if self.arch else ''}, {'iPXE' if self.ipxe else self.vendor_class}"

    @cached_property
    def like(self) -> str:
        """Clients that have this in common are answered alike, but for their addresses and echoes."""
        return f"{self.role.name} {self.arch_ids} {self.vendor_class} {self.ipxe} {self.fit}"

    @cached_property
    def fit(self) -> bool:
        """Whether this iPXE can fetch its script and the kernel and start it; one that lists nothing may."""
        if self.ours or self.features is None:
            return True
        # Under UEFI a kernel is an EFI program; older builds list bzImage there, too.
        images = {IPXE_BZIMAGE, IPXE_EFI} if self.firmware is Firmware.UEFI else {IPXE_BZIMAGE}
        return IPXE_HTTP in self.features and bool(images & self.features)


def read_title(title: str) -> tuple[Firmware | None, bool]:
    """The firmware that a client's title names, and whether it is that of an iPXE."""
    name, _, asking = title.rpartition(", ")
    found = next((one for one in ARCHITECTURES.values() if one.name == name), None)
    return found.firmware if found else None, asking == "iPXE"


def identify(packet: Packet, vendor_classes: Sequence[str] = ()) -> Client:
    """Read the sender of a packet; `vendor_classes` are further prefixes of option 60 that ask for a boot."""
    option = packet.option
    architectures = option(Option.ARCHITECTURE) or b""
    machine_id = option(Option.MACHINE_ID) or b""
    mac = _mac(packet)
    alike = _alike(
        architectures,
        option(Option.VENDOR_CLASS) or b"",
        option(Option.USER_CLASS) or b"",
        option(Option.IPXE),
        _is_raspberry_pi(architectures, mac, machine_id),
        tuple(vendor_classes),
    )
    client = object.__new__(Client)
    client.__dict__.update(alike.__dict__, mac=mac, machine_id=machine_id)
    return client


@lru_cache(maxsize=512)
def _alike(
    architectures: bytes,
    vendor_class: bytes,
    user_class: bytes,
    encapsulated: bytes | None,
    raspberry_pi: bool,
    vendor_classes: tuple[str, ...],
) -> Client:
    """What all machines have in common whose options say this: the client that they are copies of.

    A room of machines that are switched on together says the same a thousand times.
    """
    arch_ids = _architectures(architectures)
    arch = next((ARCHITECTURES[one] for one in arch_ids if one in ARCHITECTURES), None)
    ours = OUR_USER_CLASS in user_class
    client = Client(
        mac="",
        arch_ids=arch_ids,
        arch=RASPBERRY_PI if raspberry_pi else arch,
        vendor_class=_vendor_class(vendor_class, vendor_classes),
        # iPXE sends its user class raw, without the length byte of RFC 3004; others frame it.
        ipxe=encapsulated is not None or ours or b"iPXE" in user_class,
        ours=ours,
        features=_features(encapsulated),
    )
    # Worked out here, once, every copy has them.
    for name in _IN_COMMON:
        getattr(client, name)
    return client


_IN_COMMON = ("role", "firmware", "fit", "like", "title", "_arch_words")


_NO_MAC = bytes(6)


def _mac(packet: Packet) -> str:
    """The hardware address, unless it is none a network card can have (all zero, or a group address)."""
    address = packet.chaddr[: packet.hlen]
    if len(address) != 6 or address[0] & 1 or address == _NO_MAC:
        return ""
    return address.hex(":")


def _architectures(value: bytes) -> tuple[int, ...]:
    """Option 93, and nothing else: iPXE copies our own option 60 into its requests, so 60 may name none."""
    return tuple(int.from_bytes(value[at : at + 2], "big") for at in range(0, len(value), 2))


def _is_raspberry_pi(architectures: bytes, mac: str, machine_id: bytes) -> bool:
    """Its boot ROM says BIOS (0) or, newer, rpiboot (41); edk2 on the same board says what it is."""
    first = architectures[:2]
    if first == b"\0\x29":
        return True
    return first == b"\0\0" and (mac[:8] in RASPBERRY_PI_OUIS or machine_id.startswith(_RASPBERRY_PI_ID))


def _vendor_class(value: bytes, further: Sequence[str]) -> str:
    known = (*BUILT_IN_CLASSES, *further)
    return next((name for name in known if value.startswith(name.encode())), "")


def _features(encapsulated: bytes | None) -> frozenset[int] | None:
    if encapsulated is None:
        return None
    found: set[int] = set()
    try:
        for code, value in sub_options(encapsulated, "option 175 sub-option"):
            # A feature that was compiled out is listed with version 0.
            if any(value):
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
