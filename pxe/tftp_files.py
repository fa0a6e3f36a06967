"""The bytes that TFTP sends: files below stated roots, mapped once for all who fetch them, and made ones."""

import mmap
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pxe.tftp import netascii

# Text is converted as a whole. What is larger is no text, and would only be memory that anybody can ask for.
MOST_NETASCII_BYTES = 4 << 20
# Files that nobody fetches any more, and that stay mapped for the next one.
IDLE_FILES = 16

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Refused(Exception):
    """A file that may not be sent, or not in this way; the message says why."""


@dataclass(eq=False)
class Content:
    """Bytes to send. Those of a mapped file must only be touched by the kernel: when the file was cut off
    meanwhile, `sendmsg` fails with EFAULT, and a read by this program would be its end (SIGBUS)."""

    view: memoryview
    key: tuple[object, ...] = ()
    """What the file was when it was opened; empty for what is in no file."""
    users: int = 0

    @property
    def size(self) -> int:
        return len(self.view)


class Files:
    """Contents by what a file is: a thousand machines that fetch one boot program share one mapping.

    Holds what is being fetched and IDLE_FILES more; a mapping is no copy, so it costs page cache only.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._kept: dict[tuple[object, ...], Content] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, path: Path, mode: str) -> Content:
        """The content of a file, to be given back with `give_back`. Raises Refused or OSError."""
        descriptor = open_beneath(self._roots, path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{path} is no regular file")
            times = status.st_mtime_ns, status.st_ctime_ns
            key = (status.st_dev, status.st_ino, status.st_size, *times, mode)
            content = self._kept.pop(key, None) or _load(descriptor, status.st_size, mode)
        finally:
            os.close(descriptor)
        content.key = key
        content.users += 1
        self._kept[key] = content  # the youngest is the last
        return content

    def give_back(self, content: Content) -> None:
        """Also takes what is in no file."""
        content.users -= 1
        idle = [key for key, kept in self._kept.items() if not kept.users]
        for key in idle[:-IDLE_FILES]:
            del self._kept[key]


def made(content: bytes, mode: str) -> Content:
    """Content that is in no file."""
    return Content(memoryview(netascii(content) if mode == "netascii" else content))


def _load(descriptor: int, size: int, mode: str) -> Content:
    if mode == "netascii":
        if size > MOST_NETASCII_BYTES:
            raise Refused(f"{size} bytes are no text, ask for them in mode octet")
        # Read, not mapped: it is touched here.
        return made(os.pread(descriptor, size, 0), mode)
    if not size:
        return made(b"", mode)
    mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
    # What is not in memory yet is read ahead, not one page at a time while a machine waits.
    mapped.madvise(mmap.MADV_WILLNEED)
    return Content(memoryview(mapped))


def open_beneath(roots: Sequence[Path], path: Path) -> int:
    """A descriptor of a file below one of the roots; no link is followed below it.

    A root itself may be reached through links: whoever runs the server laid it there. Raises Refused for a
    path outside of all roots, OSError when a part of it is missing or a link.
    """
    for root in roots:
        parts = path.parts[len(root.parts) :]
        if path.parts[: len(root.parts)] == root.parts and parts and ".." not in parts:
            break
    else:
        raise Refused(f"{path} is outside of what may be sent")
    place = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for number, part in enumerate(parts, 1):
        flags = _FILE if number == len(parts) else _STEP
        try:
            following = os.open(part, flags, dir_fd=place)
        finally:
            os.close(place)
        place = following
    return place
