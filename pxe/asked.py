"""What the name of a file says of who asks for it and what is wanted: the habits of boot loaders."""

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address


class Wanted(Enum):
    """What a name means; the value says who asks so."""

    PROGRAM = "firmware"
    IPXE_SCRIPT = "iPXE"
    GRUB_CONFIG = "GRUB"
    GRUB_FILE = "GRUB, for a module"
    PXELINUX_CONFIG = "PXELINUX or U-Boot"
    U_BOOT_SCRIPT = "U-Boot"
    PXELINUX_MODULE = "PXELINUX, for a module"
    RELEASE_FILE = "a boot loader"
    SHIM_FILE = "shim"
    SPARC_PROGRAM = "OpenBoot"
    RASPBERRY_PI_FILE = "a Raspberry Pi"


@dataclass(frozen=True)
class Asked:
    wanted: Wanted
    name: str
    """Without what the asker put before it: the last part, or RELEASE/FILE, PLATFORM/FILE, a path."""
    mac: str = ""
    """The machine that the name speaks of; empty: the one that asks."""
    address: IPv4Address | None = None
    """The address that the name speaks of."""
    serial: str = ""
    """The directory that a Raspberry Pi looks in first."""


TEXTS = frozenset((Wanted.IPXE_SCRIPT, Wanted.GRUB_CONFIG, Wanted.PXELINUX_CONFIG, Wanted.U_BOOT_SCRIPT))
"""What is made for the machine that asks, and is good once."""


_MAC = r"(?P<mac>[0-9a-fA-F]{2}(?:[-:][0-9a-fA-F]{2}){5})"
_HEX = r"(?P<hex>[0-9a-fA-F]{8})"
_IPXE = re.compile(rf"autoexec\.ipxe|{_MAC}\.ipxe", re.IGNORECASE)
# GRUB (net_search_config): with the hardware type before the MAC, then the address and ever less of it.
_GRUB = re.compile(rf"grub\.cfg(?:-(?:01-)?{_MAC}|-{_HEX})?")
_GRUB_FILE = re.compile(r"[a-z0-9_-]+\.(?:mod|lst)")
_GRUB_PLATFORM = re.compile(r"[a-z0-9_]+-(?:efi|pc|ieee1275|coreboot)")
# PXELINUX and U-Boot: a UUID, the MAC, the address and ever less of it, `default`; U-Boot adds its board.
_PXELINUX = re.compile(rf"01-{_MAC}|{_HEX}|default(?:-[a-z0-9_-]+)?")
# OpenBoot asks for its own address and, of older machines, its architecture.
_SPARC = re.compile(r"(?P<hex>[0-9A-F]{8})(?:\.[A-Z0-9]{1,8})?")
_SHIM = re.compile(r"revocations(?:_sku|_sbat)?\.efi|shim_certificate(?:_[0-9]+)?\.efi")
# The directory is the serial number, or with TFTP_PREFIX=2 the MAC.
_PI_DIRECTORY = re.compile(r"[0-9a-f]{8}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}")


def classify(name: str) -> Asked | None:
    """Read a clean name (tftp.clean_name); None: a step of a search that leads to a better name soon."""
    parts = name.split("/")
    last = parts[-1]
    before = parts[-2] if len(parts) > 1 else ""
    if found := _IPXE.fullmatch(last):
        return Asked(Wanted.IPXE_SCRIPT, last, mac=_mac(found))
    if before == "pxelinux.cfg":
        if found := _PXELINUX.fullmatch(last):
            return Asked(Wanted.PXELINUX_CONFIG, last, mac=_mac(found), address=_address(found))
        return None
    if found := _GRUB.fullmatch(last):
        return Asked(Wanted.GRUB_CONFIG, last, mac=_mac(found), address=_address(found))
    if last.startswith("grub.cfg-"):
        return None
    if _GRUB_PLATFORM.fullmatch(before) and _GRUB_FILE.fullmatch(last):
        return Asked(Wanted.GRUB_FILE, f"{before}/{last}")
    if last in ("boot.scr.uimg", "boot.scr"):
        return Asked(Wanted.U_BOOT_SCRIPT, last)
    if len(parts) >= 3 and parts[-3] == "r":
        return Asked(Wanted.RELEASE_FILE, f"{before}/{last}")
    if last.endswith(".c32"):
        return Asked(Wanted.PXELINUX_MODULE, last)
    if _SHIM.fullmatch(last):
        return Asked(Wanted.SHIM_FILE, last)
    if len(parts) == 1 and (found := _SPARC.fullmatch(last)):
        return Asked(Wanted.SPARC_PROGRAM, last, address=_address(found))
    if len(parts) > 1 and _PI_DIRECTORY.fullmatch(parts[0]):
        return Asked(Wanted.RASPBERRY_PI_FILE, "/".join(parts[1:]), serial=parts[0])
    return Asked(Wanted.PROGRAM, last)


def _mac(found: re.Match[str]) -> str:
    groups = found.groupdict()
    return (groups.get("mac") or "").lower().replace("-", ":")


def _address(found: re.Match[str]) -> IPv4Address | None:
    digits = found.groupdict().get("hex")
    return IPv4Address(int(digits, 16)) if digits else None
