"""Makes the installer: an initramfs of busybox, disk tools and the scripts of overlays/installer."""

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from appliance.errors import Problem
from appliance.overlays import overlay
from appliance.run import run
from buildfarm import openpgp
from buildfarm.cpio import Entry, cpio, directory, file, link, node
from buildfarm.elf import linkage
from buildfarm.view import Trail, View

BUSYBOX = "busybox"
PROGRAMS = (
    "blkid", "gpgv", "mkfs.ext4", "mkfs.vfat", "mkswap", "sfdisk", "tar", "wipefs", "zstd",
)  # fmt: skip
LIBRARIES = "usr/lib/installer"
KEY = "etc/distserver/release-key.gpg"
ENROLMENT = "etc/distserver/secure-boot"
AGENT = "lib/installer/compile-host"
HOST = Path("/")
MODULES = "lib/modules"
# A root whose /lib is not merged into /usr may have them in either place.
MODULE_PLACES = ("usr/lib/modules", "lib/modules")
# What an installation never needs of a modular kernel, and most of its size.
LEFT_OUT = (
    "drivers/accel", "drivers/bluetooth", "drivers/gpu", "drivers/iio", "drivers/infiniband", "drivers/input",
    "drivers/isdn", "drivers/media", "drivers/net/can", "drivers/net/wireless", "drivers/staging",
    "drivers/usb/gadget", "net/bluetooth", "net/mac80211", "net/netfilter", "net/wireless", "sound",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """An initramfs and what it weighs."""

    path: Path
    unpacked_bytes: int
    packed_bytes: int


def build_installer(
    build_root: Path,
    target_root: Path | None,
    public_key: bytes,
    output: Path,
    shelf: Path,
    enrolment: Mapping[str, bytes] = MappingProxyType({}),
    progress: Callable[[str], None] = lambda text: None,
    *,
    host: Path | None = HOST,
) -> Built:
    """Write the initramfs to `output`; the same roots, key and overlay give the same bytes.

    `shelf` keeps packed ones by what they hold: packing costs more than all the rest of sealing a release.

    Programs and their libraries come from `build_root`; busybox (static) and the kernel's modules from
    `target_root`, the profile's own root, when it has them. A stage3 has no mkfs.vfat and no static busybox:
    what it lacks comes from `host`, where setup installs all of it, unless that is another architecture.
    `enrolment` are the site's Secure Boot keys for machines in setup mode (SiteKeys.enrolment).
    `public_key` is the OpenPGP key that signs manifests, armored or binary. Raises Problem when a program or
    library is missing.
    """
    spare = [host] if host is not None and same_machine(host, build_root) else []
    roots = [root for root in (target_root, build_root, *spare) if root is not None]
    # All from one root, since their libraries share one directory.
    source = next((root for root in (build_root, *spare) if has_programs(root)), build_root)
    entries = [
        *_skeleton(public_key),
        *overlay_entries(overlay("installer")),
        *(file(f"{ENROLMENT}/{name}", content) for name, content in sorted(enrolment.items())),
        file(AGENT, (overlay("compile-host") / "usr/lib/distserver/compile-host").read_bytes(), 0o755),
        *_busybox(roots),
        *_programs(source),
        *(modules(target_root) if target_root else ()),
    ]
    archive = cpio(entries)
    kept = shelf / f"{hashlib.sha256(archive).hexdigest()}.zst"
    if not kept.exists():
        partial = kept.with_name(f".{kept.name}.{os.getpid()}")
        partial.write_bytes(compress(archive))
        partial.replace(kept)
    output.unlink(missing_ok=True)
    output.hardlink_to(kept)
    size = kept.stat().st_size
    progress(f"installer: {len(entries)} entries, {len(archive)} bytes, {size} compressed")
    return Built(output, len(archive), size)


def overlay_entries(tree: Path) -> Iterator[Entry]:
    """The overlay's own files; names that begin with a dot are for its editors only."""
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        # An installed distribution has its Python files compiled, each with its time inside.
        if path.is_file() and not path.name.startswith(".") and path.parent.name != "__pycache__":
            yield file(name, path.read_bytes(), 0o755 if path.stat().st_mode & 0o100 else 0o644)


def compress(archive: bytes, level: int = 19) -> bytes:
    """zstd: of the formats a kernel can read, the quickest to unpack at nearly xz's size."""
    with TemporaryDirectory() as scratch:
        plain, packed = Path(scratch) / "initramfs", Path(scratch) / "initramfs.zst"
        plain.write_bytes(archive)
        run(["zstd", "-q", f"-{level}", "--single-thread", "-o", packed, plain])
        return packed.read_bytes()


def decompress(packed: bytes) -> bytes:
    """An archive that compress() or gzip made."""
    if packed[:2] == b"\x1f\x8b":
        return gzip.decompress(packed)
    with TemporaryDirectory() as scratch:
        plain, source = Path(scratch) / "initramfs", Path(scratch) / "initramfs.zst"
        source.write_bytes(packed)
        run(["zstd", "-q", "-d", "-o", plain, source])
        return plain.read_bytes()


def binary_key(key: bytes) -> bytes:
    """An OpenPGP key without its armor (RFC 4880, 6.2): gpgv reads only binary keyrings."""
    if not key.lstrip().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        return key
    return openpgp.dearmor(key)


def _skeleton(public_key: bytes) -> list[Entry]:
    places = ("dev", "mnt/target", "proc", "root", "run", "sys", "tmp")
    return [
        *(directory(name, 0o1777 if name == "tmp" else 0o755) for name in places),
        # The kernel opens it for the first process before anything is mounted (init/main.c).
        node("dev/console", 5, 1),
        node("dev/null", 1, 3, 0o666),
        file(KEY, binary_key(public_key)),
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        file("etc/group", b"root:x:0:\n"),
    ]


def _busybox(roots: Sequence[Path]) -> list[Entry]:
    root, program = _program(roots, BUSYBOX)
    data = program.path.read_bytes()
    about = linkage(data)
    if about is None or about.interpreter:
        raise Problem(
            f"busybox of {root} needs shared libraries, expected a static one",
            hint="build sys-apps/busybox with USE=static",
        )
    return [file("bin/busybox", data, 0o755), link("bin/sh", "busybox")]


def _programs(root: Path) -> list[Entry]:
    found: dict[str, Entry] = {}
    for name in PROGRAMS:
        view, program = _program([root], name)
        data = program.path.read_bytes()
        if linkage(data) is None:
            raise Problem(f"{name} of {root} is not an ELF program")
        found[f"usr/bin/{name}"] = file(f"usr/bin/{name}", data, 0o755)
        found |= {entry.name: entry for entry in _libraries(view, program)}
    return list(found.values())


def has_programs(root: Path) -> bool:
    """Are all of PROGRAMS in a root?"""
    return all(View((root,)).program(name) for name in PROGRAMS)


def same_machine(host: Path, root: Path) -> bool:
    """Do programs of both run on the same processors? A root without a shell does not say: then they may."""
    shells = [View((place,)).program("sh") for place in (host, root)]
    machines = {about.machine for one in shells if one and (about := linkage(one.path.read_bytes()))}
    return len(machines) < 2


def _program(roots: Sequence[Path], name: str) -> tuple[View, Trail]:
    for root in roots:
        if found := View((root,)).program(name):
            return View((root,)), found
    raise Problem(f"{name} is in none of {', '.join(map(str, roots))}", hint="the installer needs it")


def _libraries(root: View, program: Trail) -> Iterator[Entry]:
    """The loader at its own path and every library below one directory, by the name it is asked for."""
    for needed in root.needs(program):
        name = needed.name.lstrip("/") if needed.name.startswith("/") else f"{LIBRARIES}/{needed.name}"
        yield file(name, needed.trail.path.read_bytes(), 0o755)


def modules(root: Path) -> Iterator[Entry]:
    """Drivers of a modular kernel; a kernel with everything built in has none."""
    found: dict[str, Path] = {}
    for place in MODULE_PLACES:
        base = View((root,)).find(place)
        for path in base.rglob("*") if base else ():
            name = path.relative_to(base).as_posix() if base else ""
            below = "/".join(name.split("/")[2:])
            if not path.is_symlink() and path.is_file() and not below.startswith(LEFT_OUT):
                found[name] = path
    for name, path in sorted(found.items()):
        yield file(f"{MODULES}/{name}", path.read_bytes())
