"""Reads and writes one file of a profile: no symbolic link is followed, and nothing outside is reached."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.edit_model import MOST_BYTES, Change, Changed, check_path, digest
from appliance.errors import Problem
from appliance.site_files import PROFILES

PART = ".distserver-part"
"""In the site's own directory: the reader would take it for a stray file in a profile's."""
PLACE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_file(site: Path, profile: str, name: str) -> bytes | None:
    """What a file holds; None when there is none. Raises Problem for what is no plain file of the profile."""
    check_path(profile, name)
    try:
        with _place(site, profile, name, make=False) as (_, place):
            return _read(place, name)
    except FileNotFoundError:
        return None
    except OSError as failed:
        raise _explained(failed, profile, name) from failed


def write_file(site: Path, change: Change) -> None:
    """Put a change in place by one rename. Raises Changed when the file is another one than it was."""
    check_path(change.profile, change.name)
    try:
        with _place(site, change.profile, change.name, make=change.content is not None) as (root, place):
            now = _read(place, change.name)
            if digest(now) != digest(change.base):
                raise Changed(
                    f"{change.name} of profile {change.profile} was changed by somebody else meanwhile"
                )
            last = change.name.split("/")[-1]
            if change.content is None:
                os.unlink(last, dir_fd=place)
            else:
                _write(root, place, last, change.content)
            os.fsync(place)
    except FileNotFoundError as gone:
        raise Changed(f"{change.name} of profile {change.profile} is not there any more") from gone
    except OSError as failed:
        raise _explained(failed, change.profile, change.name) from failed


@contextlib.contextmanager
def _place(site: Path, profile: str, name: str, *, make: bool) -> Iterator[tuple[int, int]]:
    """Descriptors of the site and of the directory that holds a file; `make` what is missing of it."""
    with contextlib.ExitStack() as stack:
        root = here = os.open(site, PLACE)
        stack.callback(os.close, root)
        for part in (PROFILES, profile, *name.split("/")[:-1]):
            if make:
                _make(here, part)
            here = os.open(part, PLACE | os.O_NOFOLLOW, dir_fd=here)
            stack.callback(os.close, here)
        yield root, here


def _make(above: int, name: str) -> None:
    """A directory of the same owner as the one above it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=above)
        status = os.fstat(above)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=above, follow_symlinks=False)


def _read(place: int, name: str) -> bytes | None:
    try:
        opened = os.open(name.split("/")[-1], FILE, dir_fd=place)
    except FileNotFoundError:
        return None
    with os.fdopen(opened, "rb") as file:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise Problem(f"{name} is no plain file")
        if status.st_size > MOST_BYTES:
            raise Problem(
                f"{name} has {status.st_size} bytes, more than {MOST_BYTES} are edited on the disk only"
            )
        return file.read(MOST_BYTES + 1)


def _write(root: int, place: int, name: str, content: bytes) -> None:
    """With the owner and the mode that the file had, or those of a new file beside it."""
    try:
        former = os.stat(name, dir_fd=place, follow_symlinks=False)
        mode = stat.S_IMODE(former.st_mode) & 0o777
    except FileNotFoundError:
        former, mode = os.fstat(place), 0o644
    with contextlib.suppress(FileNotFoundError):
        os.unlink(PART, dir_fd=root)  # of a process that was killed
    opened = os.open(PART, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=root)
    try:
        with os.fdopen(opened, "wb") as file:
            file.write(content)
            file.flush()
            os.fchown(opened, former.st_uid, former.st_gid)
            os.fchmod(opened, mode)
            os.fsync(opened)
        os.rename(PART, name, src_dir_fd=root, dst_dir_fd=place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(PART, dir_fd=root)
        raise


def _explained(failed: OSError, profile: str, name: str) -> Problem:
    if failed.errno in (errno.ELOOP, errno.ENOTDIR):
        said = f"{name} of profile {profile} is reached through a symbolic link or a file"
        return Problem(said, hint="it is edited on the disk only")
    if failed.errno == errno.EISDIR:
        return Problem(f"{name} of profile {profile} is a directory", hint="name a file in it")
    return Problem(f"{name} of profile {profile}: {failed.strerror}")
