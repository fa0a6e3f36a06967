"""GRUB for BIOS and UEFI that starts from a medium, as small as it gets."""

from dataclasses import dataclass
from pathlib import Path

from appliance.run import run

GRUB = Path("/usr/lib/grub")
MODULES = (
    "iso9660",
    "normal",
    "configfile",
    "echo",
    "part_gpt",
    "search",
    "search_fs_file",
    "serial",
    "terminal",
)


@dataclass(frozen=True)
class BootImages:
    """What `iso.layout.Image` wants of a boot loader."""

    bios: bytes
    efi: Path
    mbr: bytes


def make_boot_images(scratch: Path) -> BootImages:
    bios, program, efi = scratch / "core.img", scratch / "BOOTX64.EFI", scratch / "efi.img"
    run(["grub-mkimage", "-O", "i386-pc-eltorito", "-o", bios, "-p", "/boot/grub", "biosdisk", *MODULES])
    run(["grub-mkimage", "-O", "x86_64-efi", "-o", program, "-p", "/boot/grub", *MODULES])
    with efi.open("wb") as image:
        image.truncate(2 << 20)
    run(["mkfs.fat", "--invariant", efi])
    run(["mmd", "-i", efi, "::EFI", "::EFI/BOOT"])
    run(["mcopy", "-i", efi, program, "::EFI/BOOT/BOOTX64.EFI"])
    return BootImages(bios.read_bytes(), efi, (GRUB / "i386-pc/boot_hybrid.img").read_bytes())
