"""What boot loaders can do with the file systems of a machine."""

import ctypes
import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

BLOCKS = Path("/sys/dev/block")
MOUNTS = Path("/proc/self/mountinfo")
WRITTEN_IN_PLACE = ("ext2", "ext3", "ext4", "vfat", "msdos", "xfs")
EXT4_IOC_CHECKPOINT = 0x4004662B
"""_IOW('f', 43, __u32), Documentation/filesystems/ext4/journal.rst; since Linux 5.15."""


def obstacle(directory: Path) -> str:
    """Why GRUB cannot write a file in this directory; empty when it can.

    GRUB manual, The GRUB environment block: only on a plain disk, on a file system without checksums.
    """
    device = directory.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    block = BLOCKS / name
    if not block.exists():
        return f"{directory} is on no single disk"
    for kind, what in (("dm", "LVM or encrypted"), ("md", "RAID")):
        if (block / kind).exists():
            return f"{directory} is on a disk that is {what}"
    found = kind_of(MOUNTS.read_text(), name)
    return "" if found in WRITTEN_IN_PLACE else f"{directory} is on {found or 'an unknown file system'}"


def kind_of(mountinfo: str, device: str) -> str:
    """The type of the file system on a device, `major:minor`; proc(5). Pure."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if before.split(" ")[2:3] == [device]:
            return after.split(" ")[0]
    return ""


def settle(directory: Path) -> None:
    """Put everything where a boot loader finds it, which reads no journal: a rename may be in that only."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        ctypes.CDLL(None, use_errno=True).syncfs(handle)
        # Other file systems, older kernels and machines in namespaces have no such thing.
        with suppress(OSError):
            fcntl.ioctl(handle, EXT4_IOC_CHECKPOINT, struct.pack("=I", 0))
    finally:
        os.close(handle)
