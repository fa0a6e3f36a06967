"""Seals a release: one directory, one signed manifest, one rename."""

import bz2
import gzip
import hashlib
import lzma
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Package, Release
from appliance.run import run
from buildfarm import manifest
from buildfarm.manifest import Item, Manifest
from buildfarm.pool import sync
from buildfarm.signing import Signer

FILES = ("Packages", "client.tar", "installer", "kernel", "portage.tar", "stage")
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
    wanted = (*FILES, *(tree_file(word.partition(":")[0]) for word in content.snapshot.split()))
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


def find(releases: Path, wanted: Manifest) -> Manifest | None:
    """A sealed release with the same content, of whatever day."""
    for place in sorted(releases.glob(f"*-{wanted.content}")):
        found = manifest.parse((place / "manifest").read_text())
        if found.content == wanted.content:
            return found
    return None


def seal(content: Content, wanted: Manifest, *, releases: Path, signer: Signer) -> Manifest:
    """Publish the directory of a release; a release with the same content is returned as it is.

    Everything is on the disk before the name is: no reader and no crash can see half a release.
    """
    sealed = find(releases, wanted)
    if sealed:
        return sealed
    part = releases / f"{wanted.id}.partial"
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(mode=0o755)
    for name, source in content.files.items():
        _link_or_copy(source, part / name)
    (part / "manifest").write_text(manifest.write(wanted))
    signer.sign(part / "manifest", part / "manifest.sig")
    for path in sorted(part.iterdir()):
        path.chmod(0o644)
        sync(path)
    sync(part)
    part.rename(releases / wanted.id)
    sync(releases)
    return wanted


def summary(sealed: Manifest) -> Release:
    created = datetime.strptime(sealed.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return Release(
        id=sealed.id,
        profile=sealed.profile,
        created_at=created.timestamp(),
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


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)
