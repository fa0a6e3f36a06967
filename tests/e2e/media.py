"""Media in machines with real firmware: how far each comes, with a stand-in for kernel and installer."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from appliance.boards import UEFI_ARM64, UEFI_IA32, Board
from appliance.console import ConsoleClosed, ConsoleTimeout
from appliance.model import Firmware
from appliance.run import run
from appliance.vm import Slot, Vm, VmDisk, VmMedium
from appliance.vm_power import PoweredOn, power_on
from iso.fat import fat_image
from iso.layout import BLOCK_BYTES, Image
from iso.loaders import boot_parts
from iso.menu import Entry, Menu
from iso.writer import write_image
from tests.e2e.boot_server import arm64_modules
from tests.small_linux import kernel, make_initramfs

MENU_SECONDS = 240.0
MARKER_SECONDS = 240.0
AT_ONCE = 3
"""Machines that are on at the same time; each is one busy thread until its menu stands."""
MIB = 1 << 20
MARKER = "the stand-in installer runs"
ON_DISK = "the system on the disk starts"
INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox echo "{MARKER}: $(/bin/busybox cat /proc/cmdline)" >/dev/console
while :; do /bin/busybox sleep 600; done
"""
RELEASE, FOREIGN_RELEASE = "20260101-0123456789ab", "20260101-00000000a64a"
SERVER = "http://10.77.0.2"


@dataclass(frozen=True)
class Kind:
    """A kind of machine."""

    title: str
    firmware: Firmware
    board: Board | None = None
    foreign: bool = False
    """Its processor cannot run the stand-in kernel: it comes to the menu."""


KINDS: Mapping[str, Kind] = {
    "bios": Kind("SeaBIOS", Firmware.BIOS),
    "x64": Kind("OVMF x64", Firmware.UEFI),
    "ia32": Kind("OVMF ia32", Firmware.UEFI, UEFI_IA32),
    "arm64": Kind("AAVMF arm64", Firmware.UEFI, UEFI_ARM64, foreign=True),
}


class How(Enum):
    """How the medium is put in; the value heads its column."""

    CD = "CD"
    USB = "USB stick"
    DISK = "USB stick, as a disk only"
    """Without El Torito, which some firmware reads on sticks, too: what is left is what every disk has."""


class Reached(Enum):
    """How far a machine came; the value is what the table says."""

    NOTHING = "nothing"
    MENU = "menu"
    INSTALLER = "menu, installer"


@dataclass(frozen=True)
class Row:
    """One machine with one medium."""

    kind: str
    how: How
    offline: bool

    def __str__(self) -> str:
        return f"{self.kind}-{self.how.name.lower()}-{'offline' if self.offline else 'online'}"


@dataclass(frozen=True)
class Seen:
    """What a machine did."""

    reached: Reached
    arguments: str
    """The kernel's, as the stand-in installer sees them."""
    console: str

    def __str__(self) -> str:
        return f"{self.reached.value}\n{self.console[-1500:]}"


def menu(*, offline: bool, timeout_seconds: int = 100) -> Menu:
    web = _entry("web", 'Web servers: it\'s "$HOME" `here`', RELEASE, "console=ttyS0 quiet")
    pi = _entry("pi", "Small boards", FOREIGN_RELEASE, "console=ttyAMA0", "arm64")
    identity = "0123456789abcde" + ("f" if offline else "0")
    return Menu(identity, "DISTSERVER", (web, pi), SERVER, offline, timeout_seconds)


def _entry(profile: str, description: str, release: str, arguments: str, arch: str = "amd64") -> Entry:
    base = f"r/{release}"
    return Entry(profile, description, release, arguments, f"{base}/kernel", f"{base}/installer", arch)


def make_medium(described: Menu, place: Path) -> Path:
    """The image of a medium with the stand-in as kernel and installer, and with GRUB for all firmware."""
    place.mkdir(parents=True)
    modules = {name: Path("/usr/lib/grub") / name for name in ("i386-pc", "x86_64-efi", "i386-efi")}
    parts = boot_parts(described, place, {**modules, "arm64-efi": arm64_modules()})
    assert parts.missing == ()
    installer = make_initramfs(place / "initramfs", INIT)
    files: dict[str, Path | bytes] = {**parts.files}
    for entry in described.entries:
        files |= {entry.kernel: kernel(), entry.installer: installer}
    if described.offline:
        # Where files lie does not matter to firmware; that most of the medium is none of its business does.
        files |= {f"r/{RELEASE}/stage": bytes(range(256)) * (48 * MIB // 256)}
    made = Image(described.label, files, parts.bios, parts.efi, parts.mbr, made_at=1_767_225_600)
    write_image(made, place / "medium.iso")
    return place / "medium.iso"


def without_el_torito(image: Path) -> Path:
    """A copy whose boot record does not say that it is El Torito's (El Torito 1.0, section 2)."""
    copy = image.with_name("disk-only.iso")
    run(["cp", "--reflink=auto", image, copy])
    with copy.open("r+b") as file:
        file.seek(17 * BLOCK_BYTES)
        record = file.read(BLOCK_BYTES)
        assert record.startswith(b"\0CD001\1EL TORITO SPECIFICATION"), record[:40]
        file.seek(17 * BLOCK_BYTES)
        file.write(record.replace(b"EL TORITO SPECIFICATION", b"x" * 23))
    return copy


def bootable_disk(path: Path, *, marker: str = "") -> VmDisk:
    """A disk with a system that any firmware starts, and a file of this name in its root file system.

    BIOS gets a boot sector that says which drive it comes from, UEFI a GRUB that says it is there.
    """
    place = path.with_suffix(".parts")
    (place / "root").mkdir(parents=True)
    if marker:
        (place / "root" / marker.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (place / "root" / marker.lstrip("/")).touch()
    run(["mkfs.ext4", "-q", "-d", place / "root", place / "root.img", "16M"])
    (place / "loader.cfg").write_text(f'echo "{ON_DISK} from $root"\nsleep 600\n')
    loaders = {}
    for platform, name in (("x86_64-efi", "BOOTX64.EFI"), ("i386-efi", "BOOTIA32.EFI")):
        words: list[str | Path] = ["-O", platform, "-p", "/", "-c", place / "loader.cfg", "-o", place / name]
        run(["grub-mkimage", *words, "echo", "sleep", "part_gpt", "fat"])
        loaders[f"EFI/BOOT/{name}"] = place / name
    esp = fat_image(loaders, place / "esp.img", volume_id="00000001")
    with path.open("wb") as disk:
        disk.truncate(64 * MIB)
    table = "label: gpt\nstart=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n"
    run(
        ["sfdisk", "-q", path],
        stdin=f"{table}start=2MiB, size=8MiB, type=U\nstart=16MiB, size=32MiB\n".encode(),
    )
    with path.open("r+b") as disk:
        disk.write(_boot_sector())
        for start, part in ((2, esp), (16, place / "root.img")):
            disk.seek(start * MIB)
            disk.write(part.read_bytes())
    return VmDisk(path, 64 * MIB)


def _boot_sector() -> bytes:
    """The code part of an MBR: prints a text and the last digit of the drive it was started from."""
    # xor ax,ax; mov ds,ax; mov si,text; again: lodsb; test al,al; jz end; mov ah,0eh; int 10h; jmp again
    code = bytes.fromhex("31c0 8ed8 be2a7c ac 84c0 7406 b40e cd10 ebf5")
    # end: mov al,dl; and al,0fh; add al,'0'; mov ah,0eh; int 10h
    code += bytes.fromhex("88d0 240f 0430 b40e cd10")
    # mov ax,0e0dh; int 10h; mov ax,0e0ah; int 10h (end of line); sti; halt: hlt; jmp halt
    code += bytes.fromhex("b80d0e cd10 b80a0e cd10 fb f4 ebfd")
    return (code + f"{ON_DISK}, drive ".encode() + b"\0").ljust(440, b"\0")


def machine(kind: str, directory: Path, image: Path, slot: Slot, *, disks: tuple[VmDisk, ...] = ()) -> Vm:
    """A machine without a network card."""
    one = KINDS[kind]
    vm = Vm(directory.name, directory, one.firmware, memory_mb=384, board=one.board, disks=disks)
    return replace(vm, medium=VmMedium(image, slot))


def wait_for_menu(on: PoweredOn) -> None:
    on.console.wait_for("Recognise this machine", seconds=MENU_SECONDS)
    on.console.wait_for("executed automatically in", seconds=30)


def observe(row: Row, place: Path, images: Mapping[tuple[bool, bool], Path]) -> Seen:
    """Switch a machine on and see how it comes to the menu, and from its first entry to the installer."""
    image = images[row.offline, row.how is How.DISK]
    vm = machine(row.kind, place / str(row), image, Slot.CD if row.how is How.CD else Slot.USB)
    with power_on(vm) as on:
        reached, arguments = Reached.NOTHING, ""
        try:
            wait_for_menu(on)
            reached = Reached.MENU
            if not KINDS[row.kind].foreign:
                on.console.send("\r")
                on.console.wait_for(f"{MARKER}: ", seconds=MARKER_SECONDS)
                arguments = on.console.wait_for("\n", seconds=30).before
                reached = Reached.INSTALLER
        except (ConsoleTimeout, ConsoleClosed):
            pass
        return Seen(reached, arguments, on.console.tail())


def run_rows(rows: Collection[Row], place: Path) -> dict[Row, Seen]:
    """All rows, some at once, those that take longest first."""
    images: dict[tuple[bool, bool], Path] = {}
    for offline in (False, True):
        image = make_medium(menu(offline=offline), place / ("offline" if offline else "online"))
        images |= {(offline, False): image, (offline, True): without_el_torito(image)}
    order = sorted(rows, key=lambda row: list(KINDS).index(row.kind), reverse=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = pool.map(lambda row: observe(row, place, images), order)
        return dict(zip(order, seen, strict=True))
