"""The content-addressed store of binary packages: pool/ab/<sha256>.gpkg.tar."""

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.durable import sync
from appliance.errors import Problem
from buildfarm import gpkg
from buildfarm.index import pool_path

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Sums:
    """What an index says of a file."""

    size_bytes: int
    md5: str
    sha1: str
    sha256: str

    def fields(self) -> dict[str, str]:
        return {"SIZE": str(self.size_bytes), "MD5": self.md5, "SHA1": self.sha1, "SHA256": self.sha256}


def sums(path: Path) -> Sums:
    digests = [hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha1", "sha256")]
    size = 0
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            for digest in digests:
                digest.update(chunk)
    md5, sha1, sha256 = (digest.hexdigest() for digest in digests)
    return Sums(size, md5, sha1, sha256)


@dataclass(frozen=True)
class Pool:
    """Files never change once they are here; two names for the same bytes are one file."""

    path: Path
    """The directory called pool."""

    def file(self, sha256: str) -> Path:
        return self.path.parent / pool_path(sha256)

    def holds(self, sha256: str) -> bool:
        return self.file(sha256).is_file()

    def whole(self, sha256: str, size_bytes: int) -> bool:
        """Is it there with its full size? Cheap; the hash is checked before anything is published."""
        place = self.file(sha256)
        return place.is_file() and place.stat().st_size == size_bytes

    def sound(self, sha256: str) -> bool:
        """Is it there with the bytes that its name says?"""
        if not self.holds(sha256):
            return False
        with self.file(sha256).open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest() == sha256

    def set_aside(self, sha256: str) -> None:
        """Take a damaged file out of reach, to pool/damaged: nobody is served it, a person may look at it."""
        place = self.file(sha256)
        if place.exists():
            damaged = self.path / "damaged"
            damaged.mkdir(parents=True, exist_ok=True)
            place.replace(damaged / place.name)

    def add(self, source: Path) -> Sums:
        """Take a finished gpkg in by a hard link; Problem when it is not whole.

        The bytes are on the disk before the name is: a name in the pool always has its content.
        """
        why = gpkg.check(source)
        if why:
            raise Problem(f"{source} {why}", hint="a killed build leaves such files; they are not packages")
        found = sums(source)
        place = self.file(found.sha256)
        if place.exists():
            return found
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.{os.getpid()}")
        part.unlink(missing_ok=True)
        try:
            link_or_copy(source, part)
            part.chmod(0o644)
            sync(part)
            part.rename(place)
        finally:
            part.unlink(missing_ok=True)
        sync(place.parent)
        return found

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Nothing leaves pool, releases or snapshots while this is held.

        For who looks into the pool and then names what it found there. Locks are taken in this order: a
        profile's root, this one, the channels', a transaction of the store.
        """
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def cleaning(self) -> Iterator[None]:
        """For who removes: waits for all who hold in_use()."""
        with self._locked(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("a") as handle:
            fcntl.flock(handle, how)
            yield


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link; a copy where there cannot be one: on another file system, or of too many links."""
    try:
        target.hardlink_to(source)
    except OSError as failed:
        if failed.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        shutil.copyfile(source, target)
