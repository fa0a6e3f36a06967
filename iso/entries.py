"""The menu of machines with Secure Boot, in the words of systemd-boot. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from iso.menu import RESCUE, Entry, Menu, arguments, profile_argument, profile_title, recognise_title, shown

GRUB = "EFI/distserver/grubx64.efi"
"""Where the whole menu is for machines without Secure Boot."""


@dataclass(frozen=True)
class Bootable:
    """A profile's entry, with its kernel and installer on the loader's own file system."""

    entry: Entry
    kernel: str
    installer: str


def loader_files(menu: Menu, bootable: Sequence[Bootable]) -> Mapping[str, str]:
    """systemd-boot's configuration by path; `bootable` has at least one, the first boots by default.

    Boot Loader Specification: a key and a value on each line, entries in the order of their sort keys.
    """
    first = bootable[0]
    files = {
        "loader/loader.conf": f"timeout {max(menu.timeout_seconds, 0)}\ndefault recognise.conf\neditor no\n",
        "loader/entries/recognise.conf": _entry("10", recognise_title(menu), menu, first),
        "loader/entries/rescue.conf": _entry("30", "Rescue shell", menu, first, RESCUE),
        "loader/entries/more.conf": (
            f"title More: memory test, local disk (not with Secure Boot)\nsort-key 40\nefi /{GRUB}\n"
        ),
    }
    for number, one in enumerate(bootable):
        choice = profile_argument(one.entry)
        text = _entry(f"20-{number:04}", profile_title(one.entry), menu, one, choice)
        files[f"loader/entries/profile-{number:04}.conf"] = text
    return files


def _entry(place: str, title: str, menu: Menu, one: Bootable, choice: str = "") -> str:
    options = " ".join(_word(word) for word in arguments(menu, one.entry, choice))
    lines = [
        f"title {shown(title)}",
        f"sort-key {place}",
        f"linux /{one.kernel}",
        f"initrd /{one.installer}",
        f"options {options}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _word(word: str) -> str:
    """A word as the kernel reads it: white space stays in it between double quotes, which it has none of."""
    printable = "".join(one for one in word if " " <= one <= "~")
    return f'"{printable}"' if " " in printable else printable
