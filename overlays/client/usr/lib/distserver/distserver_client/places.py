"""Files of a root as programs inside it see them: links, kinds, metadata, durable writes."""

import base64
import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distserver_client.triples import ABSENT, Kind, Version

MOST_LINKS = 40
MOST_BYTES = 64 << 20
"""More than that is no configuration file."""


@dataclass(frozen=True)
class Metadata:
    """What a file has besides its content; ACLs and capabilities are extended attributes, too."""

    mode: int
    uid: int
    gid: int
    attributes: Mapping[str, bytes] = field(default_factory=dict)

    def json(self) -> dict[str, object]:
        attributes = {name: base64.b64encode(value).decode() for name, value in self.attributes.items()}
        return {"mode": self.mode, "uid": self.uid, "gid": self.gid, "attributes": attributes}


def metadata(said: Mapping[str, object]) -> Metadata:
    """What Metadata.json() wrote."""
    attributes = said["attributes"]
    assert isinstance(attributes, Mapping)
    mode, uid, gid = (int(str(said[name])) for name in ("mode", "uid", "gid"))
    return Metadata(mode, uid, gid, {str(key): base64.b64decode(value) for key, value in attributes.items()})


def inside(root: Path, path: str) -> Path:
    """Where a path of the root is for us; links are not followed."""
    return root / path.lstrip("/")


def resolve(root: Path, path: str) -> str:
    """The path with every link followed as inside the root, whether or not its end exists.

    Raises OSError (ELOOP) for links that go round.
    """
    todo = [part for part in reversed(path.split("/")) if part]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part in (".", ".."):
            done = done[:-1] if part == ".." else done
            continue
        place = inside(root, "/".join([*done, part]))
        if not place.is_symlink():
            done.append(part)
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = str(place.readlink())
        done = [] if target.startswith("/") else done
        todo += [one for one in reversed(target.split("/")) if one]
    return "/" + "/".join(done)


def version(place: Path) -> Version:
    """What is there, links not followed; raises OSError when it cannot be read."""
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    if stat.S_ISLNK(found.st_mode):
        return Version(Kind.LINK, os.fsencode(place.readlink()))
    if stat.S_ISDIR(found.st_mode):
        return Version(Kind.DIRECTORY)
    if not stat.S_ISREG(found.st_mode):
        return Version(Kind.OTHER)
    if found.st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MOST_BYTES} bytes", str(place))
    return Version(Kind.FILE, place.read_bytes(), stat.S_IMODE(found.st_mode))


def describe(place: Path) -> Metadata:
    """Of a file or link."""
    found = place.lstat()
    names = sorted(os.listxattr(place, follow_symlinks=False))
    attributes = {name: os.getxattr(place, name, follow_symlinks=False) for name in names}
    return Metadata(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, attributes)


def write(place: Path, content: bytes, like: Metadata) -> None:
    """A new file with that metadata, on the disk when this returns; nobody else can read it before."""
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as sink:
        left = memoryview(content)
        while left:
            left = left[sink.write(left) :]
        # The owner first: to change it takes set-user-ID bits and capabilities away.
        os.fchown(descriptor, like.uid, like.gid)
        for name, value in like.attributes.items():
            os.setxattr(descriptor, name, value)
        os.fchmod(descriptor, like.mode)
        os.fsync(descriptor)


def publish(place: Path, content: bytes) -> None:
    """A name that has all of its content whatever is killed; for files of our own, 0600."""
    part = place.with_name(f".part-{place.name}")
    part.unlink(missing_ok=True)
    write(part, content, Metadata(0o600, os.geteuid(), os.getegid()))
    part.rename(place)
    sync(place.parent)


def sync(directory: Path) -> None:
    """Force names of a directory to the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def beside(place: Path, suffix: str, content: bytes) -> Iterator[Path]:
    """A file in the directory of `place` for as long as the block: 0600, hidden from patterns by its dot."""
    candidate = place.with_name(f".{place.name}.{suffix}")
    candidate.unlink(missing_ok=True)
    try:
        write(candidate, content, Metadata(0o600, os.geteuid(), os.getegid()))
        yield candidate
    finally:
        candidate.unlink(missing_ok=True)
