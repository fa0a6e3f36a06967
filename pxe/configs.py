"""What a machine is to boot, in the words of GRUB, PXELINUX and U-Boot: twins of script.py's render."""

import struct
import zlib
from collections.abc import Sequence

from appliance.grub import EFI_LOADERS, grub_quoted, words
from appliance.model import BootTarget, LocalBoot, NetBoot, Silence
from pxe.policy import Here
from pxe.script import on_arm64, plain

GRUB_MODULES = (
    "normal", "configfile", "echo", "test", "net", "tftp", "http", "linux", "boot", "minicmd",
    "part_gpt", "part_msdos", "fat", "search", "search_fs_file", "chain",
)  # fmt: skip
"""What a GRUB image needs to follow `grub`: nothing may have to be loaded, Secure Boot forbids it."""

_HTTP_PORT = 80


def grub(target: BootTarget, mac: str, here: Here) -> str:
    """A grub.cfg for one machine. `exit` hands over to the firmware's next boot device."""
    match target:
        case NetBoot():
            lines = _grub_netboot(target, mac, here)
            if target.arm64:
                other = _grub_netboot(on_arm64(target), mac, here)
                lines = ['if [ "$grub_cpu" = "arm64" ]; then', *other, "else", *lines, "fi"]
        case LocalBoot(reason):
            lines = _grub_local(reason)
        case Silence(reason):
            lines = [f"echo {grub_quoted(f'DistServer: nothing to boot: {reason}')}"]
    return "\n".join([*lines, "exit", ""])


def grub_for_strangers(here: Here) -> str:
    """A grub.cfg for a machine that is not known by its address: it is to ask again with its MAC."""
    named = f'"(tftp,{here.address})/grub.cfg-01-$net_default_mac"'
    return "\n".join(
        [
            'if [ -n "$net_default_mac" ]; then',
            f"  configfile {named}",
            "fi",
            "echo 'DistServer: GRUB says no hardware address, so nobody knows what this machine is'",
            "exit",
            "",
        ]
    )


def _grub_netboot(target: NetBoot, mac: str, here: Here) -> list[str]:
    path = f"/r/{target.release}"
    arguments = " ".join(grub_quoted(word) for word in words(target.arguments))
    lines = [
        f"echo {grub_quoted(f'DistServer: {target.reason}')}",
        f"echo {grub_quoted(f'Release {target.release} for {mac}')}",
    ]
    ways = [(f"(tftp,{here.address}){path}", "")]
    if here.http_port == _HTTP_PORT:
        # GRUB 2.06 knows no other port. HTTP is much faster, and names the machine.
        ways.insert(0, (f"(http,{here.address}){path}", f"?mac={mac}"))
    for base, asker in ways:
        kernel, installer = (grub_quoted(f"{base}/{name}{asker}") for name in ("kernel", "installer"))
        lines += [
            f"if linux {kernel} {arguments}".rstrip() + "; then",
            f"  if initrd {installer}; then",
            "    boot",
            "  fi",
            "fi",
        ]
    return [*lines, "echo 'DistServer: giving up, booting the next device'"]


def _grub_local(reason: str) -> list[str]:
    lines = [
        f"echo {grub_quoted(f'DistServer: booting from the local disk: {reason}')}",
        'if [ "$grub_platform" = "efi" ]; then',
    ]
    for cpu, loader in EFI_LOADERS:
        lines.append(f'  if [ "$grub_cpu" = "{cpu}" ]; then set loader=/EFI/BOOT/{loader}; fi')
    return [
        *lines,
        '  if search --no-floppy --file --set=disk "$loader"; then',
        # It tells a program that it came from $root, whatever its name says (loader/efi/chainloader.c): the
        # installed GRUB would look for its partition on the network.
        '    set root="$disk"',
        '    chainloader "$loader"',
        "    boot",
        "  fi",
        "else",
        "  set root=(hd0)",
        "  chainloader +1",
        "  boot",
        "fi",
        "echo 'DistServer: no local disk has a boot loader'",
    ]


def pxelinux(target: BootTarget) -> str:
    """A configuration for PXELINUX, and for U-Boot's `pxe boot`, which reads the same language."""
    lines = [f"SAY DistServer: {plain(target.reason)}", "DEFAULT distserver", "PROMPT 0", "LABEL distserver"]
    match target:
        case NetBoot(release, arguments):
            base = f"/r/{plain(release)}"
            lines += [
                f"  KERNEL {base}/kernel",
                f"  INITRD {base}/installer",
                # The whole rest of the line; another initrd= in it would be fetched, too.
                f"  APPEND {_one_line(arguments)}".rstrip(),
            ]
        case LocalBoot():
            lines.append("  LOCALBOOT 0")
        case Silence():
            # The firmware's next boot device.
            lines.append("  LOCALBOOT -1")
    return "\n".join([*lines, ""])


def _one_line(arguments: str) -> str:
    cleaned = "".join(one if one.isascii() and one.isprintable() else " " for one in arguments)
    kept: Sequence[str] = [word for word in cleaned.split() if not word.startswith("initrd=")]
    # A lone hyphen would mean: no arguments at all.
    return " ".join(kept) if kept != ["-"] else ""


def u_boot_script(target: BootTarget) -> bytes:
    """A boot.scr: it lets U-Boot ask for its PXELINUX configuration, or go on with its next device."""
    lines = [f"echo DistServer: {plain(target.reason).translate(_U_BOOT_SPECIAL)}"]
    if isinstance(target, NetBoot):
        # Without a boot file the names it asks for have no directory.
        lines += ["setenv bootfile", "if pxe get; then pxe boot; fi"]
    return _u_boot_image("\n".join([*lines, ""]).encode())


_U_BOOT_SPECIAL = str.maketrans("';&|$()", "       ")
_U_BOOT_MAGIC = 0x27051956
_LINUX, _ARM, _SCRIPT, _UNCOMPRESSED = 5, 2, 6, 0
_IMAGE_HEADER = struct.Struct("!7I4B32s")


def _u_boot_image(text: bytes) -> bytes:
    """The legacy image format (U-Boot include/image.h), with both its checksums."""
    data = struct.pack("!II", len(text), 0) + text

    def header(checksum: int) -> bytes:
        sizes = (0, len(data), 0, 0, zlib.crc32(data))
        kind = (_LINUX, _ARM, _SCRIPT, _UNCOMPRESSED)
        return _IMAGE_HEADER.pack(_U_BOOT_MAGIC, checksum, *sizes, *kind, b"DistServer")

    return header(zlib.crc32(header(0))) + data
