"""Words of GRUB's language, and what GRUB calls the processors."""

import re

EFI_LOADERS = (
    ("x86_64", "BOOTX64.EFI"),
    ("i386", "BOOTIA32.EFI"),
    ("arm64", "BOOTAA64.EFI"),
    ("arm", "BOOTARM.EFI"),
    ("riscv64", "BOOTRISCV64.EFI"),
    ("loongarch64", "BOOTLOONGARCH64.EFI"),
)
"""What UEFI starts from a disk (UEFI 2.10, 3.5.1.1), by GRUB's names of the processors."""


def words(arguments: str) -> list[str]:
    """Kernel arguments as the kernel divides them: double quotes keep white space, and are taken off."""
    cleaned = "".join(one if one.isprintable() else " " for one in arguments)
    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', cleaned) if word != '""']


def grub_quoted(text: str) -> str:
    """One word of GRUB's language: nothing in it is expanded, ends the word, or leaves the line."""
    printable = "".join(one for one in text if " " <= one <= "~")
    return "'" + printable.replace("'", "'\\''") + "'"
