"""Finds kernels and what belongs to them in a root, and keeps copies that no package owns."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from distserver_client import durable
from distserver_client.errors import Problem
from distserver_client.manifest import Item

INITRAMFS = ("initramfs-{}.img", "initrd-{}", "initrd.img-{}", "initramfs-{}")
"""Beside a kernel, as installkernel and dracut name it."""
MACHINE_PART = "etc/distserver/initramfs.cpio"
"""What the installer left of an initramfs: which arrays, groups and containers there are."""
PLACES = (
    "boot/vmlinuz*",
    "boot/kernel*",
    "lib/modules/*/vmlinuz",
    "usr/lib/modules/*/vmlinuz",
    "usr/src/linux-*/arch/*/boot/*",
)
"""Where packages put kernels; Gentoo's have theirs beside the modules or in the build tree."""
MODULES = ("lib/modules", "usr/lib/modules")
HEADER, VERSION_AT = 0x202, 0x20E
"""Of a bzImage (Documentation/arch/x86/boot.rst): `HdrS`, and where its version's text begins, less 512."""


@dataclass(frozen=True)
class Image:
    """A kernel and its initramfs."""

    kernel: Path
    initramfs: Path | None = None

    @property
    def id(self) -> str:
        """12 hexadecimal digits of both: with another initramfs it is another start."""
        digest = hashlib.sha256()
        for path in filter(None, (self.kernel, self.initramfs)):
            with path.open("rb") as source:
                digest.update(hashlib.file_digest(source, "sha256").digest())
        return digest.hexdigest()[:12]

    @property
    def version(self) -> str:
        """What `uname -r` will say: from the kernel itself, or from its name."""
        with self.kernel.open("rb") as source:
            head = source.read(1 << 16)
        if head[HEADER : HEADER + 4] == b"HdrS":
            start = int.from_bytes(head[VERSION_AT : VERSION_AT + 2], "little") + 512
            words = head[start : start + 256].split(b"\0")[0].split()
            if words and re.fullmatch(rb"[\w.+~-]+", words[0]):
                return words[0].decode()
        return re.sub(r"[^\w.+~-]", "", _named(self.kernel))


def of_release(root: Path, kernel: Item | None) -> Image | None:
    """The release's kernel where its package put it."""
    if kernel is None:
        return None
    for path in _candidates(root):
        if path.stat().st_size == kernel.size_bytes and _sha256(path) == kernel.sha256:
            return Image(path, initramfs(root, path))
    return None


def initramfs(root: Path, kernel: Path) -> Path | None:
    """In /boot, whatever directory the kernel is in."""
    names = (name.format(_named(kernel)) for name in INITRAMFS)
    return next((path for name in names if (path := root / "boot" / name).is_file()), None)


def has_own_initramfs(root: Path) -> bool:
    """Whether the installer made an initramfs that puts this machine's disks together."""
    return (root / MACHINE_PART).is_file()


def with_own_initramfs(root: Path, kernel: Path, programs: Path) -> Image:
    """A kernel, and beside it the machine's part followed by the release's programs; for root's eyes alone.

    The part may hold what the machine asks for the keys of its disks with. Raises Problem without programs.
    """
    if not programs.is_file():
        raise Problem(
            "the release has no programs that put this machine's disks together",
            hint="its profile says other disks now: install the machine anew, or give the profile these",
        )
    place = root / "boot" / INITRAMFS[0].format(_named(kernel))
    content = (root / MACHINE_PART).read_bytes() + programs.read_bytes()
    if not place.is_file() or place.read_bytes() != content:
        durable.replace(place, content, mode=0o600)
    return Image(kernel, place)


def keep(image: Image, place: Path) -> Image:
    """Copies of both in a directory of their own, which is whole when it is there."""
    kept = Image(place / image.kernel.name, place / image.initramfs.name if image.initramfs else None)
    if not place.is_dir():
        part = place.with_name(f"{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for path in filter(None, (image.kernel, image.initramfs)):
            shutil.copyfile(path, part / path.name)
            # FAT has no modes.
            with suppress(PermissionError):
                shutil.copymode(path, part / path.name)
            durable.sync(part / path.name)
        durable.sync(part)
        part.rename(place)
        durable.sync(place.parent)
    return kept


def keep_modules(root: Path, kept: Path, version: str) -> None:
    """Remember the modules of a kernel that is to stay, before its package is removed; they take no room."""
    source = next((path for place in MODULES if (path := root / place / version).is_dir()), None)
    if not version or source is None or kept.is_dir():
        return
    part = kept.with_name(f"{kept.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    skipped = shutil.ignore_patterns("build", "source")
    shutil.copytree(source, part / version, symlinks=True, copy_function=_link, ignore=skipped)
    durable.sync(part)
    part.rename(kept)
    durable.sync(kept.parent)


def restore_modules(root: Path, shelf: Path, packages: Path) -> list[str]:
    """Put back what is missing of kernels that stay; the versions of which something was.

    A version that some package owns has the modules of that one: two kernels with one name have one place.
    """
    found = []
    for kept in sorted(shelf.glob("*/*")):
        place = root / MODULES[0] / kept.name
        inner = [(path, place / path.relative_to(kept)) for path in sorted(kept.rglob("*"))]
        missing = [(path, target) for path, target in inner if not os.path.lexists(target)]
        if not missing or kept.parent.suffix == ".part" or _is_owned(packages, kept.name):
            continue
        for path, target in missing:
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir() and not path.is_symlink():
                target.mkdir(exist_ok=True)
            else:
                _link(str(path), str(target))
        found.append(kept.name)
    return found


def forget_modules(root: Path, shelf: Path, packages: Path, stay: Sequence[str]) -> None:
    """Those of kernels that are no entry any more: our copies, and what no package owns."""
    versions = {path.name for path in shelf.glob("*/*") if path.parent.name in stay}
    for kept in sorted(path for path in shelf.glob("*") if path.name not in stay):
        for inner in kept.iterdir():
            place = root / MODULES[0] / inner.name
            if inner.name not in versions and place.is_dir() and not _is_owned(packages, inner.name):
                shutil.rmtree(place)
        shutil.rmtree(kept)


def _is_owned(packages: Path, version: str) -> bool:
    needle = f"/lib/modules/{version}/".encode()
    for contents in packages.glob("*/*/CONTENTS"):
        with suppress(FileNotFoundError):
            if needle in contents.read_bytes():
                return True
    return False


def _link(source: str, target: str) -> str:
    """A hard link, or a copy on another file system."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
    return target


def _candidates(root: Path) -> Iterator[Path]:
    for pattern in PLACES:
        yield from (path for path in sorted(root.glob(pattern)) if path.is_file() and not path.is_symlink())


def _named(kernel: Path) -> str:
    """vmlinuz-6.6.1 in /boot, or a directory that is named after it."""
    if kernel.parent.name == "boot" and kernel.parent.parent.parent.name == "arch":
        return next(part for part in kernel.parts if part.startswith("linux-")).removeprefix("linux-")
    return kernel.parent.name if kernel.name == "vmlinuz" else kernel.name.partition("-")[2]


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
