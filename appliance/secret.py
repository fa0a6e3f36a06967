"""Passwords and secrets in files that nobody else may read."""

import os
import secrets
import stat
from pathlib import Path

from appliance.errors import Problem

SECRET_BYTES = 32


def make_secret(file: Path) -> None:
    """A new secret that only its owner may read, unless there is one; it appears whole."""
    if file.exists():
        return
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.touch(mode=0o600)
    part.write_text(secrets.token_hex(SECRET_BYTES) + "\n")
    try:
        file.hardlink_to(part)
    except FileExistsError:
        return
    finally:
        part.unlink()


def check_secret(path: Path) -> None:
    """Raises Problem when a file with a password is not there, or when others may read it."""
    try:
        status = path.stat()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}", hint="it holds a password") from error
    if not stat.S_ISREG(status.st_mode):
        raise Problem(f"{path} is no file, expected one with a password")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise Problem(f"others may read the password in {path} (mode {mode:04o})", hint=f"chmod 600 {path}")


def read_secret(path: Path) -> str:
    """The first line of a file that only its owner may read. Raises Problem."""
    check_secret(path)
    try:
        first, _, _ = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{path} cannot be read: {error}", hint="it holds a password") from error
    if not first:
        raise Problem(f"{path} is empty, expected a password in its first line")
    return first
