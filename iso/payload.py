"""Copies the files of a medium into its image, by the kernel, and hashes the image meanwhile."""

import errno
import hashlib
import io
import os
import stat
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem

PIECE_BYTES = 8 << 20
WINDOW_BYTES = 256 << 10
PIECES_BEHIND = 4
NOT_BY_RANGE = {errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True)
class Content:
    """What one or more files of the medium hold, as it was when the image was laid out.

    `seen` is device, inode and time of change of a file, None for bytes.
    """

    source: Path | bytes
    size: int
    seen: tuple[int, int, int] | None


def survey(files: Mapping[str, Path | bytes]) -> dict[str, Content]:
    """What each path of the medium holds; equal files (by inode, or else by sha256) are one Content.

    Only files of one size are read for that. Problem names a file that is not there.
    """
    looked = {path: _look(source) for path, source in files.items()}
    one_of: dict[object, Content] = {}
    sizes: dict[int, set[object]] = defaultdict(set)
    for content in looked.values():
        one_of.setdefault(_identity(content), content)
        sizes[content.size].add(_identity(content))
    alike = {identity for group in sizes.values() if len(group) > 1 for identity in group}
    names = {identity: _digest(one_of[identity]) if identity in alike else identity for identity in one_of}
    chosen: dict[object, Content] = {}
    return {path: chosen.setdefault(names[_identity(content)], content) for path, content in looked.items()}


class Copier:
    """Fills an image from its front to its end; the digest is that of all bytes up to `finish`."""

    def __init__(self, image: int, total_bytes: int, progress: Callable[[int, int], None]) -> None:
        self._image = image
        self._total_bytes = total_bytes
        self._progress = progress
        self._digest = hashlib.sha256()
        self._window = bytearray(WINDOW_BYTES)
        self._given_bytes = 0

    def fill(self, placed: Iterable[tuple[int, Content]]) -> str:
        """Put every content at its offset, in rising order; returns the sha256 of the whole image.

        What was copied is hashed by a second thread from the page cache, so nothing is read from a disk
        twice and copying does not wait. Problem names a file that is not what was laid out any more.
        """
        behind: deque[Future[None]] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="image digest") as hasher:

            def written(end: int) -> None:
                start = self._given_bytes
                if end - start >= PIECE_BYTES or end == self._total_bytes:
                    # Starts writing to the disk (mm/fadvise.c): else all of it would wait for the fsync.
                    os.posix_fadvise(self._image, start, end - start, os.POSIX_FADV_DONTNEED)
                    behind.append(hasher.submit(self._hash, start, end))
                    self._given_bytes = end
                while len(behind) > (PIECES_BEHIND if end < self._total_bytes else 0):
                    behind.popleft().result()
                self._progress(end, self._total_bytes)

            for offset, content in placed:
                if isinstance(content.source, bytes):
                    put(self._image, content.source, offset)
                    written(offset + content.size)
                else:
                    self._copy(content.source, content, offset, written)
            written(self._total_bytes)
        return self._digest.hexdigest()

    def _copy(self, path: Path, content: Content, offset: int, written: Callable[[int], None]) -> None:
        with _opened(path) as source:
            done = 0
            while done < content.size:
                count = _move(source.fileno(), self._image, done, offset + done, content.size - done)
                if not count:
                    raise _changed(path)
                done += count
                written(offset + done)
            if _look_at(path, os.fstat(source.fileno())) != content:
                raise _changed(path)

    def _hash(self, start: int, end: int) -> None:
        while start < end:
            with memoryview(self._window)[: min(WINDOW_BYTES, end - start)] as view:
                count = os.preadv(self._image, [view], start)
                if not count:
                    raise OSError(errno.EIO, "the image became shorter while it was written")
                self._digest.update(view[:count])
            start += count


def put(image: int, data: bytes, offset: int) -> None:
    """Write all of `data`, wherever the file stands."""
    view = memoryview(data)
    while view:
        count = os.pwrite(image, view, offset)
        view, offset = view[count:], offset + count


def _move(source: int, image: int, start: int, offset: int, size: int) -> int:
    """Let the kernel copy a piece; returns its bytes, 0 at the end of the source."""
    count = min(size, PIECE_BYTES)
    try:
        return os.copy_file_range(source, image, count, start, offset)
    except OSError as no:
        if no.errno not in NOT_BY_RANGE:
            raise
    # Between file systems of two kinds: splice instead of copy_file_range, at the price of a shared position.
    os.lseek(image, offset, os.SEEK_SET)
    return os.sendfile(image, source, start, count)


def _look(source: Path | bytes) -> Content:
    if isinstance(source, bytes):
        return Content(source, len(source), None)
    try:
        return _look_at(source, source.stat())
    except OSError as no:
        raise _unreadable(source, no) from no


def _look_at(path: Path, status: os.stat_result) -> Content:
    if not stat.S_ISREG(status.st_mode):
        raise Problem(f"{path} cannot be put on the medium: it is no plain file")
    return Content(path, status.st_size, (status.st_dev, status.st_ino, status.st_mtime_ns))


def _identity(content: Content) -> object:
    return content.source if content.seen is None else content.seen


def _digest(content: Content) -> str:
    if isinstance(content.source, bytes):
        return hashlib.sha256(content.source).hexdigest()
    with _opened(content.source) as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _opened(path: Path) -> io.FileIO:
    try:
        return path.open("rb", buffering=0)
    except OSError as no:
        raise _unreadable(path, no) from no


def _unreadable(path: Path, no: OSError) -> Problem:
    return Problem(f"{path} cannot be put on the medium: {no.strerror}")


def _changed(path: Path) -> Problem:
    return Problem(
        f"{path} changed while it was being put on the medium", hint="try again when nobody writes to it"
    )
