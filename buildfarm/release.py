"""Seals a release: one directory, one signed manifest, one rename."""

import bz2
import errno
import gzip
import hashlib
import logging
import lzma
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.durable import sync
from appliance.errors import Problem
from appliance.farm_model import Package, Release
from appliance.install import STORAGE
from appliance.run import run
from appliance.secure_boot import MOK_MANAGER, SHIM, SIGNED_KERNEL, SIGNED_LOADER
from buildfarm import manifest
from buildfarm.inspection import Inspector
from buildfarm.manifest import Item, Manifest
from buildfarm.pool import link_or_copy

log = logging.getLogger(__name__)

FILES = ("Packages", "bases", "client.tar", "installer", "kernel", "portage.sqfs", "portage.tar", "stage")
OPEN_FIRMWARE = "sparc64.img"
"""Of a release for SPARC: what its firmware loads by TFTP, kernel and installer in one."""
OPTIONAL = (STORAGE,)
"""Of profiles whose disks need more than every installer has."""
SIGNED = (SIGNED_KERNEL, SIGNED_LOADER)
"""Both or none: whether the site had Secure Boot keys when the release was made."""
SHIMMED = (*SIGNED, SHIM, MOK_MANAGER)
"""And whether it wanted a shim before the loader."""
PARTIAL, DAMAGED = ".partial", ".damaged"
"""Endings of directories that are no release, or none any more: no URL leads to them."""
FULL = (errno.ENOSPC, errno.EDQUOT)
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class Content:
    """All that a release is made of."""

    profile: str
    arch: str
    snapshot: str
    """`NAME:REVISION` of each repository, the main one first, with spaces between."""
    files: Mapping[str, Path]
    """Name in the release -> the file; large ones are hard links of it."""
    packages: tuple[Package, ...]


def describe(content: Content, at: float) -> Manifest:
    """The manifest, the id from the day of `at` and everything in it."""
    signed = (SHIMMED if SHIM in content.files else SIGNED) if SIGNED_KERNEL in content.files else ()
    own = (OPEN_FIRMWARE,) if content.arch == "sparc" else ()
    more = [name for name in OPTIONAL if name in content.files]
    wanted = (
        *FILES,
        *more,
        *signed,
        *own,
        *(tree_file(word.partition(":")[0]) for word in content.snapshot.split()),
    )
    if sorted(content.files) != sorted(wanted):
        raise ValueError(f"a release has the files {wanted}, not {sorted(content.files)}")
    files = tuple(_item(name, path) for name, path in sorted(content.files.items()))
    packages = tuple(sorted(Item(f"{p.cpv}-{p.build_id}", p.size_bytes, p.sha256) for p in content.packages))
    created = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    plain = Manifest(content.profile, content.arch, created, content.snapshot, files, packages)
    return manifest.identify(plain)


def tree_file(repository: str) -> str:
    """The name of a repository's image in a release; the installer's plan names it, too."""
    return f"tree-{repository}.sqfs"


def find(releases: Path, wanted: Manifest, inspector: Inspector) -> Manifest | None:
    """A sealed release with the same content, of whatever day, that is whole."""
    for place in sorted(releases.glob(f"*-{wanted.content}")):
        reasons = inspector.reasons(place)
        if not reasons:
            os.utime(place)  # gc leaves what is young: it is about to be published again
            return manifest.parse((place / "manifest").read_text())
        log.error("release %s is not used again: %s", place.name, "; ".join(reasons))
    return None


def seal(content: Content, wanted: Manifest, *, releases: Path, inspector: Inspector) -> Manifest:
    """Publish the directory of a release; a release with the same content is returned as it is.

    Everything is on the disk before the name is: no reader and no crash can see half a release. Raises
    Problem, and leaves nothing, when the disk is full.
    """
    with inspector.pool.in_use():
        if sealed := find(releases, wanted, inspector):
            return sealed
        part = releases / f"{wanted.id}{PARTIAL}"
        _remove(part)
        try:
            _fill(part, content, wanted, inspector)
            _set_aside(releases / wanted.id)
            part.rename(releases / wanted.id)
        except OSError as failed:
            _remove(part)
            if failed.errno not in FULL:
                raise
            raise Problem(
                f"release {wanted.id} does not fit on the disk of {releases}",
                hint="`distserver gc` removes what nothing names; nothing was published",
            ) from failed
        sync(releases)
    return wanted


def _fill(part: Path, content: Content, wanted: Manifest, inspector: Inspector) -> None:
    part.mkdir(mode=0o755)
    for name, source in content.files.items():
        link_or_copy(source, part / name)
    (part / "manifest").write_text(manifest.write(wanted))
    inspector.notary.sign(part / "manifest", part / "manifest.sig")
    for path in sorted(part.iterdir()):
        path.chmod(0o644)
        sync(path)
    sync(part)
    missing = [item.name for item in wanted.packages if not inspector.pool.holds(item.sha256)]
    if missing:
        _remove(part)
        raise Problem(f"the pool no longer has {', '.join(missing[:5])}", hint="build the profile again")


def _set_aside(place: Path) -> None:
    """A release that does not verify gives its name to the one that does."""
    if place.exists():
        aside = place.with_name(f"{place.name}{DAMAGED}")
        _remove(aside)
        place.rename(aside)


def _remove(place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)


def summary(sealed: Manifest) -> Release:
    return Release(
        id=sealed.id,
        profile=sealed.profile,
        created_at=manifest.created_at(sealed),
        snapshot=sealed.snapshot,
        packages=len(sealed.packages),
        size_bytes=sum(item.size_bytes for item in (*sealed.files, *sealed.packages)),
    )


def stage_archive(archive: Path) -> Path:
    """The install stage as a zstd tar, which is all the installer unpacks; made once beside the original."""
    with archive.open("rb") as source:
        magic = source.read(6)
    if magic.startswith(ZSTD_MAGIC):
        return archive
    packed = archive.with_name("archive.zst")
    if packed.exists():
        return packed
    openers = ((b"\xfd7zXZ", lzma.LZMAFile), (b"\x1f\x8b", gzip.GzipFile), (b"BZh", bz2.BZ2File))
    for start, open_packed in openers:
        if magic.startswith(start):
            with tempfile.TemporaryDirectory(prefix=".zstd-", dir=archive.parent) as scratch:
                plain = Path(scratch) / "stage.tar"
                with open_packed(archive) as source, plain.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                run(["zstd", "--quiet", "-10", "-T0", plain, "-o", plain.with_suffix(".zst")])
                plain.with_suffix(".zst").rename(packed)
            return packed
    raise Problem(f"the stage {archive} is compressed in an unknown way", hint="use zstd, xz, gzip or bzip2")


def _item(name: str, path: Path) -> Item:
    with path.open("rb") as source:
        return Item(name, path.stat().st_size, hashlib.file_digest(source, "sha256").hexdigest())
