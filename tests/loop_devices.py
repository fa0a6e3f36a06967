"""Loop devices that stand in for sticks: real block devices, backed by files that tests may look into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance import enter


@contextmanager
def loop_device(file: Path, *, read_only: bool = False, sector_bytes: int = 512) -> Iterator[Path]:
    """The node of a loop device on a file, with its partitions; also where /dev has no such node."""
    flags = enter.LO_PARTITIONS | (enter.LO_READ_ONLY if read_only else 0)
    backing = os.open(file, os.O_RDONLY if read_only else os.O_RDWR)
    with TemporaryDirectory() as room:
        access = os.O_RDONLY if read_only else os.O_RDWR
        try:
            device, node = enter.attach(backing, room, flags=flags, access=access, sector_bytes=sector_bytes)
        finally:
            os.close(backing)
        try:
            yield Path(node)
        finally:
            os.close(device)


def blank(file: Path, size_bytes: int) -> Path:
    """A file of zeros that takes no room."""
    file.touch()
    os.truncate(file, size_bytes)
    return file
