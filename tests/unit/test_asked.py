"""Names that real boot loaders ask for, as captures and their sources show them."""

import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe.asked import Asked, Wanted, classify

MAC = "52:54:00:77:00:01"
ADDRESS = IPv4Address("10.99.0.160")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        # firmware and shim, whose directory may be anything
        ("undionly.kpxe", Asked(Wanted.PROGRAM, "undionly.kpxe")),
        ("boot/x64/grubx64.efi", Asked(Wanted.PROGRAM, "grubx64.efi")),
        ("x64/revocations_sbat.efi", Asked(Wanted.SHIM_FILE, "revocations_sbat.efi")),
        ("shim_certificate_0.efi", Asked(Wanted.SHIM_FILE, "shim_certificate_0.efi")),
        # iPXE
        ("autoexec.ipxe", Asked(Wanted.IPXE_SCRIPT, "autoexec.ipxe")),
        ("boot/x64/autoexec.ipxe", Asked(Wanted.IPXE_SCRIPT, "autoexec.ipxe")),
        (f"{MAC}.ipxe", Asked(Wanted.IPXE_SCRIPT, f"{MAC}.ipxe", mac=MAC)),
        # GRUB
        ("grub/grub.cfg", Asked(Wanted.GRUB_CONFIG, "grub.cfg")),
        (
            "grub/grub.cfg-01-52-54-00-77-00-01",
            Asked(Wanted.GRUB_CONFIG, "grub.cfg-01-52-54-00-77-00-01", mac=MAC),
        ),
        (f"grub.cfg-01-{MAC}", Asked(Wanted.GRUB_CONFIG, f"grub.cfg-01-{MAC}", mac=MAC)),
        ("grub/grub.cfg-0A6300A0", Asked(Wanted.GRUB_CONFIG, "grub.cfg-0A6300A0", address=ADDRESS)),
        ("grub/grub.cfg-0A6300A", None),
        ("grub/x86_64-efi/command.lst", Asked(Wanted.GRUB_FILE, "x86_64-efi/command.lst")),
        ("boot/grub/i386-pc/http.mod", Asked(Wanted.GRUB_FILE, "i386-pc/http.mod")),
        # PXELINUX and U-Boot
        (
            "pxelinux.cfg/01-52-54-00-77-00-01",
            Asked(Wanted.PXELINUX_CONFIG, "01-52-54-00-77-00-01", mac=MAC),
        ),
        ("x/pxelinux.cfg/0A6300A0", Asked(Wanted.PXELINUX_CONFIG, "0A6300A0", address=ADDRESS)),
        ("pxelinux.cfg/0A6300A", None),
        ("pxelinux.cfg/0", None),
        ("pxelinux.cfg/44454c4c-3700-1051-8053-b6c04f503432", None),
        ("pxelinux.cfg/default", Asked(Wanted.PXELINUX_CONFIG, "default")),
        ("pxelinux.cfg/default-arm-bcm283x-rpi", Asked(Wanted.PXELINUX_CONFIG, "default-arm-bcm283x-rpi")),
        ("boot.scr.uimg", Asked(Wanted.U_BOOT_SCRIPT, "boot.scr.uimg")),
        # what the configurations name, below whatever directory the boot loader came from
        ("r/20260101-ab/kernel", Asked(Wanted.RELEASE_FILE, "20260101-ab/kernel")),
        ("tftp/dir/r/20260101-ab/installer", Asked(Wanted.RELEASE_FILE, "20260101-ab/installer")),
        # OpenBoot
        ("0A6300A0", Asked(Wanted.SPARC_PROGRAM, "0A6300A0", address=ADDRESS)),
        ("0A6300A0.SUN4U", Asked(Wanted.SPARC_PROGRAM, "0A6300A0.SUN4U", address=ADDRESS)),
        # Raspberry Pi
        ("9ffefdef/start4.elf", Asked(Wanted.RASPBERRY_PI_FILE, "start4.elf", serial="9ffefdef")),
        (
            "dc-a6-32-0a-ef-79/overlays/disable-bt.dtbo",
            Asked(Wanted.RASPBERRY_PI_FILE, "overlays/disable-bt.dtbo", serial="dc-a6-32-0a-ef-79"),
        ),
    ],
)
def test_a_name_is_read_as_its_boot_loader_means_it(name: str, asked: Asked | None) -> None:
    assert classify(name) == asked


EXAMPLES = {
    "MAC.ipxe": f"{MAC}.ipxe",
    "grub.cfg-01-MAC": f"grub.cfg-01-{MAC}",
    "grub.cfg-HEXIP": "grub.cfg-0A6300A0",
    "grub/x86_64-efi/NAME.mod": "grub/x86_64-efi/http.mod",
    "pxelinux.cfg/01-MAC": "pxelinux.cfg/01-52-54-00-77-00-01",
    "HEXIP": "0A6300A0",
    "HEXIP.SUN4U": "0A6300A0.SUN4U",
    "r/RELEASE/kernel": "r/20260101-ab/kernel",
    "SERIAL/start4.elf": "9ffefdef/start4.elf",
}


def documented() -> list[tuple[str, str]]:
    """The names of the documentation's table, and who asks for them."""
    text = (Path(__file__).parents[2] / "docs/netboot.md").read_text()
    rows = text.partition("## What boot loaders may ask for")[2].splitlines()
    cells = [row.split("|")[1:3] for row in rows if row.startswith("| `")]
    whole = [(re.findall("`([^`]+)`", names)[0], who.strip()) for names, who in cells]
    return [(EXAMPLES.get(name, name), who) for name, who in whole]


@pytest.mark.parametrize(("name", "who"), documented())
def test_the_documented_names_are_those_we_know(name: str, who: str) -> None:
    asked = classify(name)
    assert asked is not None
    assert who == "these" or who.split()[-1].strip("()") in f"{asked.wanted.value} SPARC"


def test_the_documented_table_is_found() -> None:
    assert len(documented()) == 9
