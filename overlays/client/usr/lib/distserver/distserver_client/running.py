"""Reads what runs on this machine and which kernel its release installed."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from distserver_client.contents import Kind, parse
from distserver_client.manifest import Item
from distserver_client.pending import Kernel, Process, kernel_of, modules_of

IMAGES = ("boot/vmlinuz*", "boot/kernel*", "boot/vmlinux*")
BEGIN_BYTES = 1 << 16
MOST_BYTES = 4 << 20
"""Of one process' maps."""


def kernel() -> Kernel:
    said = os.uname()
    return Kernel(said.release, said.version)


def installed_kernel(root: Path, wanted: Item | None) -> Kernel | None:
    """The release's own kernel in /boot; None when it is not there or does not say which one it is."""
    for pattern in IMAGES if wanted else ():
        for path in sorted(root.glob(pattern)):
            if wanted and _is(path, wanted):
                with path.open("rb") as source:
                    return kernel_of(source.read(BEGIN_BYTES), path.name)
    return None


def modules(root: Path) -> frozenset[str]:
    """The kernels for which installed packages have modules."""
    found: set[str] = set()
    for place in (root / "var/db/pkg").glob("*/*/CONTENTS"):
        with contextlib.suppress(OSError):
            text = place.read_bytes().decode(errors="surrogateescape")
            if "/lib/modules/" in text:
                found |= modules_of(one.path for one in parse(text) if one.kind is Kind.FILE)
    return frozenset(found)


def processes(proc: Path) -> Iterator[Process]:
    """Those that see the same files as this one: what runs in containers is not of its packages."""
    own = _world(proc / "self")
    for place in sorted(proc.glob("[0-9]*")):
        # Any of them may end while it is looked at.
        with contextlib.suppress(OSError):
            world = _world(place)
            if world[0] == own[0] or world[1] == own[1]:
                texts = [(place / name).read_bytes()[:MOST_BYTES] for name in ("comm", "cgroup", "maps")]
                name, group, maps = (text.decode(errors="surrogateescape") for text in texts)
                yield Process(int(place.name), name.strip(), group, maps)


def _world(process: Path) -> tuple[str, tuple[int, int]]:
    """Its mount namespace and its root directory."""
    root = (process / "root").stat()
    return str((process / "ns/mnt").readlink()), (root.st_dev, root.st_ino)


def _is(path: Path, item: Item) -> bool:
    if not path.is_file() or path.is_symlink() or path.stat().st_size != item.size_bytes:
        return False
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest() == item.sha256
