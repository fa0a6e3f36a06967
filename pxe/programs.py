"""Which boot program each firmware and processor is given, by the name it has in the boot directory."""

from collections.abc import Mapping
from dataclasses import dataclass

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


PROGRAMS: Mapping[Platform, Program] = {
    (Firmware.BIOS, "x86"): Program("undionly.kpxe", "ipxe"),
    (Firmware.UEFI, "x64"): Program("snponly.efi", "ipxe", local="local-x64.efi"),
    # Debian has no iPXE for these; GRUB has the server's address in its prefix (facts: it ignores a proxy's).
    (Firmware.UEFI, "ia32"): Program("grub-ia32.efi", "grub-efi-ia32-bin"),
    (Firmware.UEFI, "arm64"): Program("grub-arm64.efi", "grub-efi-arm64-bin"),
    (Firmware.UEFI, "arm32"): Program("grub-arm32.efi", "grub-efi-arm-bin"),
    (Firmware.UEFI, "riscv64"): Program("grub-riscv64.efi", "grub-efi-riscv64-bin"),
    (Firmware.UEFI, "loongarch64"): Program("grub-loongarch64.efi", "grub-efi-loong64-bin"),
}


def why_none(platform: Platform) -> str:
    """Why a platform has no boot program here, and what would help."""
    known = PROGRAMS.get(platform)
    return (
        f"{known.file} is missing: apt install {known.package}"
        if known
        else "there is no boot program for it"
    )
