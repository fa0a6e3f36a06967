"""Which machines there are: what QEMU is told, their profile, what stands in for real hardware."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.boards import PC, PENTIUM2, UEFI_ARM64, UEFI_SECURE, UEFI_X64
from appliance.model import Firmware
from appliance.vm import DiskInterface, Vm, VmDisk
from tests.five.seen import BEGIN, END, STANDS, STANDS_END, Seen, between, table

GIB = 2**30


@dataclass(frozen=True)
class Place:
    """Where a machine stands, and its network."""

    directory: Path
    tap: str


@dataclass(frozen=True)
class Contender:
    """One of the five. `make` gives it switched off, its disks not made yet."""

    profile: str
    make: Callable[[Place], Vm]
    stands_in: str
    """What is emulated, and what stands in for the real thing."""
    assigned: bool = False
    """Its profile is given to it beforehand: the discovery image of the others does not run on it."""
    enrolled: bool = False
    """Its firmware has the site's Secure Boot keys, which are made first when the site has none."""
    boot_program: str = ""
    """The processor whose GRUB is fetched for it (`distserver bootprograms fetch`), where it is no x86."""
    says: tuple[str, ...] = ()
    """What its console shows in this order from the end of the installation on, before it is up."""


@dataclass(frozen=True)
class Sun:
    """One whose firmware is told at its prompt what to boot (tests/sun): QEMU's sun4u."""

    profile: str
    mac: str
    """The site's [net.rarp] has its address."""
    stands_in: str


E5520 = "Nehalem,model-id=Intel(R) Xeon(R) CPU E5520 @ 2.27GHz,+rdrand"
"""A Xeon of that kind by its name; QEMU's own name for the kind is a Core i7's. It has no rdrand in truth."""
WESTMERE = "Westmere,+rdrand"
"""The oldest of Intel's with AES: OpenSSL takes for granted that one with AES has SSSE3, too."""


def disks(
    place: Place, interface: DiskInterface, *serials: str, size_bytes: int = 4 * GIB
) -> tuple[VmDisk, ...]:
    return tuple(
        VmDisk(place.directory / f"{serial.lower()}.raw", size_bytes, serial=serial, interface=interface)
        for serial in serials
    )


def xeon_scsi(place: Place) -> Vm:
    return Vm(
        "xeon-scsi",
        place.directory,
        Firmware.BIOS,
        board=replace(PC, cpu=E5520),
        mac="52:54:00:77:05:01",
        tap=place.tap,
        nic="e1000",
        memory_mb=2048,
        processors=2,
        disks=disks(place, DiskInterface.SCSI, "SYSTEM", "MIRROR"),
        vendor="Custom",
        product="Dual Xeon",
    )


def hp_client(place: Place) -> Vm:
    return Vm(
        "hp-client",
        place.directory,
        Firmware.UEFI,
        board=UEFI_X64,
        mac="52:54:00:77:05:02",
        tap=place.tap,
        nic="e1000e",
        rom=True,
        memory_mb=1536,
        disks=disks(place, DiskInterface.AHCI, "HPDISK"),
        vendor="Hewlett-Packard",
        product="HP Compaq 8200 Elite SFF PC",
        serial="CZC1234567",
    )


def dell_client(place: Place) -> Vm:
    return Vm(
        "dell-client",
        place.directory,
        Firmware.UEFI,
        board=replace(UEFI_SECURE, cpu=WESTMERE),
        mac="52:54:00:77:05:03",
        tap=place.tap,
        memory_mb=2048,
        processors=2,
        disks=disks(place, DiskInterface.AHCI, "DELLDISK"),
        vendor="Dell Inc.",
        product="OptiPlex 7010",
        serial="7XYZ123",
    )


def pentium2(place: Place) -> Vm:
    return Vm(
        "pentium2",
        place.directory,
        Firmware.BIOS,
        board=PENTIUM2,
        mac="52:54:00:77:05:04",
        tap=place.tap,
        nic="rtl8139",
        memory_mb=128,
        disks=disks(place, DiskInterface.IDE, "OLDDISK", size_bytes=2 * GIB),
    )


def arm64(place: Place) -> Vm:
    return Vm(
        "arm64",
        place.directory,
        Firmware.UEFI,
        board=UEFI_ARM64,
        mac="52:54:00:77:05:06",
        tap=place.tap,
        memory_mb=1024,
        processors=2,
        disks=disks(place, DiskInterface.VIRTIO, "ARMDISK"),
    )


NOT_YET = "`make five` does not switch it on yet"
FIVE: Mapping[str, str] = {
    "xeon-scsi": "server, custom dual Xeon, 2 GB, two SCSI disks, BIOS",
    "hp-client": "client, HP, UEFI, SATA disk, e1000e",
    "dell-client": "client, Dell, UEFI with Secure Boot, SATA disk",
    "pentium2": "client, Pentium II 450 MHz, small IDE disk, BIOS",
    "ultra10": "Sun Ultra 10, 1 GB, 8 GB disk, OpenBoot",
    "arm64": "a sixth: arm64, UEFI, virtio disk",
}
"""All of them in the order of the table, and one more that the founding mail did not know."""
MACHINES: Mapping[str, Contender | Sun] = {
    "xeon-scsi": Contender(
        "xeon-scsi",
        xeon_scsi,
        "QEMU's pc with SeaBIOS, two processors of its model Nehalem with the name of a Xeon E5520, LSI "
        "53c895a in place of Fusion-MPT (behind QEMU's mptsas1068 Linux 6.1 finds no disk), e1000 with an "
        "iPXE ROM",
    ),
    "hp-client": Contender(
        "hp-client",
        hp_client,
        "QEMU's q35 with OVMF and HP's SMBIOS strings, ICH9 AHCI, e1000e with an iPXE ROM: OVMF has no "
        "driver of its own for Intel's cards",
    ),
    "dell-client": Contender(
        "dell-client",
        dell_client,
        "QEMU's q35 with OVMF that keeps its variables to itself (SMM), Dell's SMBIOS strings, ICH9 AHCI; "
        "the site's PK, KEK and db are in its variables before it is switched on, as if a person had "
        "enrolled them. Its network card is virtio's, which OVMF has a driver for: an iPXE ROM is not signed",
        enrolled=True,
        says=(
            "installed: restarting from the disk",
            "Secure boot enabled",
            "distserver: crypt is open: the server gave its key",
        ),
    ),
    "pentium2": Contender(
        "pentium2",
        pentium2,
        "QEMU's pc (440FX, PIIX3) with SeaBIOS, qemu-system-i386's processor model pentium2 (MMX, no SSE), "
        "128 MB, an IDE disk of 2 GiB, RTL8139 with an iPXE ROM",
    ),
    "ultra10": Sun(
        "ultra10",
        "08:00:20:77:05:05",
        "QEMU's sun4u (UltraSPARC IIi, CMD646 IDE, Happy Meal Ethernet) with OpenBIOS in place of OpenBoot, "
        "1 GB, a disk of 8 GB. At the ok prompt it is given the name that an Ultra 10's OpenBoot has, and "
        "told what to boot. OpenBIOS has no network boot: a client on the wire asks by RARP and TFTP with "
        "the machine's MAC, and what it gets lies in the machine's CD drive. Packages come from a second "
        "disk, the medium of the release",
    ),
    "arm64": Contender(
        "arm64",
        arm64,
        "QEMU's virt with AAVMF and its model Cortex-A57, virtio's disk and network card, no screen; its "
        "boot program is GRUB, and its packages are cross-compiled",
        boot_program="arm64",
    ),
}
"""Those that can be switched on."""


def page(text: str, seen: Mapping[str, Seen]) -> str:
    """The page of the documentation with what was seen, and with what stands in for real hardware."""
    stands = "".join(
        f"* **{name}**: {MACHINES[name].stands_in if name in MACHINES else NOT_YET}.\n" for name in FIVE
    )
    return between(between(text, BEGIN, END, table(FIVE, seen)), STANDS, STANDS_END, stands)
