"""Files that are whole or not there, also after the power failed."""

import os
from contextlib import suppress
from pathlib import Path


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file by one rename; it is on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    # FAT has no such modes and refuses (fs/fat/file.c, fat_sanitize_mode()).
    with suppress(PermissionError):
        part.chmod(mode)
    part.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Put a file, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
