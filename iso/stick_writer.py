"""Writes an image on a stick and reads it back past the page cache; one that is half-written never boots."""

import errno
import fcntl
import hashlib
import mmap
import os
import signal
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from appliance.deadline import DeadlinePassed, wait_until
from appliance.errors import Problem
from iso.sticks import amount

BLOCK_BYTES = 1024 * 1024
"""One write and one comparison. The first block holds all that firmware begins with: MBR, GPT, the ISO's
descriptors at 32 KiB, the superblocks of ext4 (1 KiB) and btrfs (64 KiB)."""
TAIL_BYTES = 1024 * 1024
"""Of the stick's end, which is cleared: backup GPT, md 0.90 and 1.0, firmware RAID, the second labels of ZFS.
Left there, an older owner of the stick would be found again."""
BLKRRPART, BLKROGET, BLKGETSIZE64 = 0x125F, 0x125E, 0x80081272
"""linux/fs.h"""
LOCK_SECONDS = 10.0
GONE_SECONDS = 3.0
AGAIN = "put it in and write it again"
BROKEN = "take another stick: this one is worn out, or smaller than it says"


class Phase(Enum):
    WRITE = "writing"
    READ = "reading back"


Progress = Callable[[Phase, int, int], None]
"""What is done, bytes done, bytes in all."""


@dataclass(frozen=True)
class Written:
    size_bytes: int
    sha256: str
    """Of all that was read back, which is the image."""
    table_read: bool
    """Whether the kernel took notice of the new partition table."""


class Interrupted(Problem):
    """A person or a signal ended the writing in the middle."""


class _Failed(Exception):
    """The stick did not do what it was asked; errors of all else (a closed pipe) are no fault of its."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        super().__init__(str(error))


def write_stick(
    node: Path,
    image: Path,
    *,
    name: str,
    check: Callable[[], None],
    gone: Callable[[float], bool],
    progress: Progress = lambda phase, done, total: None,
) -> Written:
    """Put an image on the block device `node`; `name` is what messages call it.

    `check` is asked once more when nobody else can take the device any more and nothing is changed yet: it
    raises when that is not the stick that was meant. `gone(seconds)`: whether the stick was pulled.
    Raises Problem; Interrupted after a Ctrl-C, and KeyboardInterrupt when nothing had been changed by then.
    """
    with image.open("rb", buffering=0) as source, _opened(node, name) as device:
        check()
        size, capacity = os.fstat(source.fileno()).st_size, _capacity(device)
        if size > capacity:
            raise Problem(f"{name} holds {amount(capacity)} and the image has {amount(size)}")
        job = _Job(device, source, size, capacity, name, progress)
        try:
            return _run(job, gone)
        except KeyboardInterrupt as stopped:
            if not job.changed:
                raise
            raise Interrupted(f"interrupted while {job.where}: {_unusable(name)}", hint=AGAIN) from stopped


def _run(job: "_Job", gone: Callable[[float], bool]) -> Written:
    try:
        return job.run()
    except _Failed as failed:
        problem = _explained(failed.error, job, gone)
        job.spoil()
        raise problem from failed
    except BaseException:
        job.spoil()
        raise


def _unusable(name: str) -> str:
    return f"{name} is not usable and does not boot"


def _explained(error: OSError, job: "_Job", gone: Callable[[float], bool]) -> Problem:
    if error.errno in (errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM) or gone(GONE_SECONDS):
        text = f"{job.name} was pulled out while {job.where}: it is not usable and does not boot"
        return Problem(text, hint=AGAIN)
    text = f"{job.name} failed at byte {job.place} while {job.where}: {error.strerror}. {_unusable(job.name)}"
    return Problem(text, hint=BROKEN)


@contextmanager
def _opened(node: Path, name: str) -> Iterator[int]:
    """The device, for us alone.

    O_EXCL is what mounts, swap, RAID and device mapper ask for, too, in whatever namespace they are (bdev.c:
    bd_prepare_to_claim). The lock keeps udevd from looking at it meanwhile (systemd.io/BLOCK_DEVICE_LOCKING).
    """
    try:
        device = os.open(node, os.O_RDWR | os.O_EXCL | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        raise _not_opened(error, name) from error
    try:
        _lock(device, name)
        if struct.unpack("i", fcntl.ioctl(device, BLKROGET, bytes(4)))[0]:
            raise _not_opened(OSError(errno.EROFS, ""), name)
        yield device
    finally:
        # Of a stick that was pulled nothing can be said any more.
        with suppress(OSError):
            os.close(device)


def _not_opened(error: OSError, name: str) -> Problem:
    match error.errno:
        case errno.EBUSY:
            hint = f"`lsblk /dev/{name}` and `fuser -v /dev/{name}` show what holds it"
            return Problem(f"{name} is in use: mounted, or held by another program", hint=hint)
        case errno.EROFS:
            return Problem(f"{name} is read-only", hint="look for a switch at its side")
        case errno.EACCES | errno.EPERM:
            return Problem(f"{name} may not be written by this user", hint="run it as root")
        case errno.ENOMEDIUM | errno.ENXIO | errno.ENODEV | errno.ENOENT:
            return Problem(f"{name} is not there any more", hint="`distserver usb list` shows what is")
        case _:
            return Problem(f"{name} cannot be opened: {error.strerror}", hint=BROKEN)


def _lock(device: int, name: str) -> None:
    def take() -> bool | None:
        try:
            fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return True

    try:
        wait_until(take, seconds=LOCK_SECONDS, what=f"a lock of {name}")
    except DeadlinePassed as passed:
        raise _not_opened(OSError(errno.EBUSY, ""), name) from passed


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Failed(error) from error


def _capacity(device: int) -> int:
    (size,) = struct.unpack("Q", fcntl.ioctl(device, BLKGETSIZE64, bytes(8)))
    return int(size)


class _Job:
    """One writing: what is where, and how far it is."""

    def __init__(
        self, device: int, source: BinaryIO, size: int, capacity: int, name: str, progress: Progress
    ) -> None:
        self.name = name
        self.phase = Phase.WRITE
        self.done = 0
        """Bytes of this phase."""
        self.place = 0
        """Where on the stick it is at work."""
        self.changed = False
        self._device, self._source, self._size, self._capacity = device, source, size, capacity
        self._progress = progress
        self._begun = False
        """Whether the first or the last block may be on the stick."""
        self._digests: dict[int, bytes] = {}
        # O_DIRECT wants memory that begins with a page (open(2)).
        self._memory = memoryview(mmap.mmap(-1, BLOCK_BYTES))

    @property
    def where(self) -> str:
        """How far it has come, in the middle of a sentence."""
        return f"{self.phase.value} it ({amount(self.done)} of {amount(self._size)})"

    def run(self) -> Written:
        """The middle, and is it right? Then the last block and, as the very last, the first.

        On a stick as large as the image the last block is a backup GPT where firmware looks for one (UEFI
        2.10, 5.3.2), so it must not be there before the rest is known to be right.
        """
        blocks = range(0, self._size, BLOCK_BYTES)
        head, middle = self._load(0), blocks[1:-1]
        ends = [one for one in (*blocks[1:][-1:], 0) if one in blocks]
        whole = hashlib.sha256(head)
        self._erase()
        for place in middle:
            self._write(place, whole)
        self._flush()
        self._compare_all(middle, already=0)
        for place in ends:
            self._begun = True
            self._write(place, whole if place else None)
            self._flush()
        self._compare_all(ends, already=len(middle) * BLOCK_BYTES)
        return Written(self._size, whole.hexdigest(), self._read_table())

    def spoil(self) -> None:
        """Take beginning and end away again, if they were there already; no signal ends this."""
        if self._begun:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            try:
                with suppress(_Failed):
                    self._clear_ends()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _erase(self) -> None:
        """Make the beginning and the end mean nothing, and let the kernel forget the partitions."""
        self.changed = True
        self._clear_ends()
        self._read_table()

    def _clear_ends(self) -> None:
        self._clear(0, min(BLOCK_BYTES, self._capacity))
        tail = max(self._capacity - TAIL_BYTES, 0)
        self._clear(tail, self._capacity - tail)
        self._flush()

    def _clear(self, place: int, size: int) -> None:
        self._memory[:size] = bytes(size)
        self._put(place, size)

    def _load(self, place: int) -> bytes:
        """A block of the image, also in memory for the stick."""
        size = min(BLOCK_BYTES, self._size - place)
        try:
            data = os.pread(self._source.fileno(), size, place)
        except OSError as error:
            raise Problem(f"the image cannot be read at byte {place}: {error.strerror}") from error
        if len(data) < size:
            raise Problem(f"the image became shorter: {_unusable(self.name)}", hint=AGAIN)
        self._memory[:size] = data
        return data

    def _write(self, place: int, whole: "hashlib._Hash | None") -> None:
        data = self._load(place)
        if whole:
            whole.update(data)
        self._digests[place] = hashlib.sha256(data).digest()
        self._put(place, len(data))
        self._step(Phase.WRITE, self.done + len(data))

    def _put(self, place: int, size: int) -> None:
        self.place = place
        while self.place < place + size:
            with _answering():
                wrote = os.pwrite(self._device, self._memory[self.place - place : size], self.place)
                if wrote == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.place += wrote

    def _flush(self) -> None:
        with _answering():
            os.fsync(self._device)

    def _compare_all(self, places: Iterable[int], *, already: int) -> None:
        self.phase, self.done = Phase.READ, already
        for place in places:
            size = min(BLOCK_BYTES, self._size - place)
            self._get(place, size)
            if hashlib.sha256(self._memory[:size]).digest() != self._digests[place]:
                raise self._other(place, bytes(self._memory[:size]))
            self._step(Phase.READ, self.done + size)

    def _get(self, place: int, size: int) -> None:
        self.place = place
        while self.place < place + size:
            with _answering():
                got = os.preadv(self._device, [self._memory[self.place - place : size]], self.place)
                if got == 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            self.place += got

    def _other(self, place: int, seen: bytes) -> Problem:
        """What differs first."""
        wanted = self._load(place)
        if hashlib.sha256(wanted).digest() != self._digests[place]:
            return Problem(f"the image was changed meanwhile: {_unusable(self.name)}", hint=AGAIN)
        offset = next(
            number for number, (one, other) in enumerate(zip(seen, wanted, strict=True)) if one != other
        )
        was, should = seen[offset], wanted[offset]
        text = f"byte {place + offset} of {self.name} reads 0x{was:02x}, expected 0x{should:02x}"
        return Problem(f"{text}: {_unusable(self.name)}", hint=BROKEN)

    def _step(self, phase: Phase, done: int) -> None:
        self.phase, self.done = phase, done
        self._progress(phase, done, self._size)

    def _read_table(self) -> bool:
        """A loop device without partitions refuses it (EINVAL); the stick is right all the same."""
        try:
            fcntl.ioctl(self._device, BLKRRPART)
        except OSError:
            return False
        return True
