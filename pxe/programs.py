"""Which boot program each firmware and processor is given, by the name it has in the boot directory."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from appliance.model import Firmware

Platform = tuple[Firmware | None, str]
"""Firmware and the name of the processor as in client.ARCHITECTURES."""


@dataclass(frozen=True)
class Program:
    """A network boot program."""

    file: str
    package: str
    """The Debian package it is made from."""
    local: str = ""
    """Another one that finds the local disk; empty: the program asks for a script that says so."""
    ipxe: str = ""
    """What an iPXE gets that cannot do what its script needs; empty: the same file."""
    grub: str = ""
    """GRUB's name of the platform when it is a GRUB image (grub_image.py)."""


PROGRAMS: Mapping[Platform, Program] = {
    (Firmware.BIOS, "x86"): Program("undionly.kpxe", "ipxe"),
    (Firmware.UEFI, "x64"): Program("snponly.efi", "ipxe", local="local-x64.efi"),
    # Debian has no iPXE for these; GRUB has the server's address in its prefix (facts: it ignores a proxy's).
    (Firmware.UEFI, "ia32"): Program("grub-ia32.efi", "grub-efi-ia32-bin", grub="i386-efi"),
    (Firmware.UEFI, "arm64"): Program("grub-arm64.efi", "grub-efi-arm64-bin", grub="arm64-efi"),
    (Firmware.UEFI, "arm32"): Program("grub-arm32.efi", "grub-efi-arm-bin", grub="arm-efi"),
    (Firmware.UEFI, "riscv64"): Program("grub-riscv64.efi", "grub-efi-riscv64-bin", grub="riscv64-efi"),
    (Firmware.UEFI, "loongarch64"): Program(
        "grub-loongarch64.efi", "grub-efi-loong64-bin", grub="loongarch64-efi"
    ),
}


SHIM = Program("shimx64.efi", "shim-signed", ipxe="snponly.efi")
"""Instead of x64's own while it is in the boot directory. It starts SHIMS_SECOND, an iPXE."""
SHIMS_SECOND, SHIMS_MANAGER = "grubx64.efi", "mmx64.efi"
"""The names that shim asks for in its own directory: built into it."""

GRUB_IMAGES = frozenset(one.file for one in PROGRAMS.values() if one.grub)


FOREIGN: Mapping[str, str] = {"arm64": "arm64", "arm32": "armhf"}
"""Processors whose GRUB Debian has for their own architecture only, and how it calls that."""

HOMELESS = frozenset(("riscv64", "loongarch64"))
"""Processors that Debian 12 has no GRUB for; later releases and ports have."""


def programs_in(names: Collection[str]) -> Mapping[Platform, Program]:
    """What each platform is given by a boot directory that holds these files."""
    there = {
        platform: one if one.local in names else replace(one, local="")
        for platform, one in PROGRAMS.items()
        if one.file in names
    }
    if SHIM.file in names:
        there[Firmware.UEFI, "x64"] = SHIM
    return there


def why_none(platform: Platform) -> str:
    """Why a platform has no boot program here, and what would help."""
    known = PROGRAMS.get(platform)
    if known is None:
        return "there is no boot program for it"
    return f"{known.file} is missing: {remedy(platform, known)}"


def remedy(platform: Platform, program: Program) -> str:
    """What makes a missing program be there."""
    if platform[1] in FOREIGN:
        return f"distserver bootprograms fetch {platform[1]} (Debian's {program.package})"
    if platform[1] in HOMELESS:
        return f"put the modules of {program.package} into boot/grub/{program.grub} of the state directory"
    return f"apt install {program.package}, then start `distserver up` again"
