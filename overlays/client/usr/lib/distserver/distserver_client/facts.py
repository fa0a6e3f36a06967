"""What this machine is, in the words in which its installer said it, and how it does now."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from distserver_client.central import octal
from distserver_client.pending import Kernel

LONGEST = 200
NO_DISKS = re.compile(r"(?:loop|ram|zram|sr|fd|dm-|md|nbd|mtd).*|mmcblk.*(?:boot|rpmb).*")
TRANSPORTS = ((r"nvme", "nvme"), (r"mmcblk", "mmc"), (r"vd", "virtio"))
BUSES = ((r"/usb[0-9]", "usb"), (r"/ata[0-9]", "sata"), (r"/virtio[0-9]", "virtio"), (r"/host[0-9]", "scsi"))
DMI = (
    ("uuid", "product_uuid"),
    ("vendor", "sys_vendor"),
    ("product", "product_name"),
    ("serial", "product_serial"),
)
CPU = re.compile(r"^(?:model name|cpu|Processor)\s*:\s*(.+)$", re.MULTILINE)
"""x86, SPARC and old ARM."""
SECTOR_BYTES = 512
"""/sys counts in these whatever a disk's own sectors are."""
READ_ONLY = ("squashfs", "iso9660", "udf")
MOST_NICS, MOST_DISKS, MOST_SPACES = 8, 12, 8
Words = tuple[tuple[str, str], ...]


def facts(kernel: Kernel, *, sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> Words:
    """Word and value; sizes in octets, times in seconds. Of a word that may come more often it names which.

    mac, firmware, memory, cpu, cpus, arch, uuid, vendor, product, serial   as the installer says them
    disk /dev/NAME   SIZE TRANSPORT REMOVABLE SERIAL MODEL                  as the installer says it
    nic NAME         MAC STATE SPEED (in Mbit/s, or -)
    kernel           `uname -r` and `uname -v`
    uptime           since it started
    space PLACE      FREE SIZE TYPE
    """
    nics = [name for name in _names(sys / "class/net") if (sys / "class/net" / name / "device").exists()]
    cpuinfo = _text(proc / "cpuinfo")
    model = CPU.search(cpuinfo)
    said = [("mac", _line(sys / "class/net" / nics[0] / "address"))] if nics else []
    said += [
        ("firmware", _firmware(sys, proc)),
        ("memory", _memory(_text(proc / "meminfo"))),
        ("cpu", _clean(model[1]) if model else ""),
        ("cpus", str(os.cpu_count() or "")),
        ("arch", os.uname().machine),
        *((word, _line(sys / "class/dmi/id" / name)) for word, name in DMI),
        *((f"disk /dev/{name}", _disk(sys, name)) for name in _disks(sys)[:MOST_DISKS]),
        *((f"nic {name}", _nic(sys / "class/net" / name)) for name in nics[:MOST_NICS]),
        ("kernel", f"{kernel.release} {kernel.version}".strip()),
        ("uptime", _text(proc / "uptime").partition(".")[0]),
        *_spaces(proc),
    ]
    return tuple((word, value) for word, value in said if value)


def _firmware(sys: Path, proc: Path) -> str:
    if (proc / "device-tree/openprom").exists() or (proc / "openprom").exists():
        return "openfirmware"
    return "uefi" if (sys / "firmware/efi").is_dir() else "bios"


def _memory(meminfo: str) -> str:
    found = re.search(r"^MemTotal:\s*([0-9]+)", meminfo, re.MULTILINE)
    return str(int(found[1]) * 1024) if found else ""


def _disks(sys: Path) -> list[str]:
    names = [name for name in _names(sys / "block") if not NO_DISKS.fullmatch(name)]
    return [name for name in names if _line(sys / "block" / name / "size") not in ("", "0")]


def _disk(sys: Path, name: str) -> str:
    place = sys / "block" / name
    size = int(_line(place / "size") or "0") * SECTOR_BYTES
    removable = _line(place / "removable") or "0"
    return f"{size} {_transport(place)} {removable} {_serial(place)} {_line(place / 'device/model')}".strip()


def _transport(place: Path) -> str:
    for begin, word in TRANSPORTS:
        if re.match(begin, place.name):
            return word
    path = str(place.resolve())
    return next((word for pattern, word in BUSES if re.search(pattern, path)), "-")


def _serial(place: Path) -> str:
    for name in ("serial", "device/serial"):
        if text := _line(place / name):
            return text.replace(" ", "_")
    # SCSI's "unit serial number" page: 4 octets of header, then text (SPC-4, 7.8.15).
    page = _clean(_bytes(place / "device/vpd_pg80")[4:].decode("latin-1"))
    return page.replace(" ", "_") or "-"


def _nic(place: Path) -> str:
    speed = _line(place / "speed")
    return (
        f"{_line(place / 'address')} {_line(place / 'operstate') or '-'} {speed if speed.isdigit() else '-'}"
    )


def _spaces(proc: Path) -> Iterator[tuple[str, str]]:
    """Of the file systems that can be written, each once, those with short names first."""
    found: dict[int, tuple[Path, str]] = {}
    for line in _text(proc / "self/mounts").splitlines():
        source, place, kind = [octal(word) for word in line.split(" ")[:3]]
        if kind in READ_ONLY or not source.startswith(("/dev/", "overlay")):
            continue
        with contextlib.suppress(OSError):
            status, about = os.statvfs(place), Path(place).stat()
            size = f"{status.f_bavail * status.f_frsize} {status.f_blocks * status.f_frsize} {kind}"
            shorter = about.st_dev not in found or len(place) < len(str(found[about.st_dev][0]))
            if status.f_blocks and stat.S_ISDIR(about.st_mode) and shorter:
                found[about.st_dev] = Path(place), size
    shown = sorted(found.values(), key=lambda one: (len(str(one[0])), one[0]))[:MOST_SPACES]
    yield from ((f"space {place}", size) for place, size in shown)


def _names(place: Path) -> list[str]:
    return sorted(one.name for one in place.iterdir()) if place.is_dir() else []


def _bytes(place: Path) -> bytes:
    try:
        with place.open("rb") as source:
            return source.read(1 << 20)
    except OSError:  # some cannot be read while a card is down
        return b""


def _text(place: Path) -> str:
    return _bytes(place).decode("ascii", "replace")


def _line(place: Path) -> str:
    return _clean(_bytes(place)[:4096].replace(b"\0", b"").decode("ascii", "replace"))


def _clean(text: str) -> str:
    """Printable, without blanks at the ends."""
    return " ".join("".join(one if " " <= one <= "~" else " " for one in text).split())[:LONGEST]
