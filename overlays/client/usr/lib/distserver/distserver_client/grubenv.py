"""GRUB's environment block, the one file that GRUB writes: in place, so that its size and blocks stay."""

import os
from collections.abc import Mapping
from pathlib import Path

from distserver_client import durable
from distserver_client.errors import Problem

HEAD = b"# GRUB Environment Block\n"
SIZE_BYTES = 1024
"""GRUB manual, The GRUB environment block: a preallocated file; what is left of it is filled with `#`."""


def parse(content: bytes) -> dict[str, str]:
    """The variables; none for what is no such block, of which GRUB takes nothing either."""
    if not content.startswith(HEAD):
        return {}
    # A value goes on after a backslash and the end of a line (grub-core/lib/envblk.c).
    found, line, escaped = {}, bytearray(), False
    for octet in content[len(HEAD) :]:
        if escaped:
            line.append(octet)
            escaped = False
        elif octet == ord("\\"):
            escaped = True
        elif octet == ord("\n"):
            name, equals, value = bytes(line).decode(errors="replace").partition("=")
            if equals and not name.startswith("#"):
                found[name] = value
            line.clear()
        else:
            line.append(octet)
    return found


def render(values: Mapping[str, str]) -> bytes:
    """A whole block; raises Problem when it does not hold all of them."""
    lines = [f"{name}={_escaped(value)}\n".encode() for name, value in sorted(values.items())]
    content = HEAD + b"".join(lines)
    if len(content) > SIZE_BYTES:
        raise Problem(f"GRUB's environment block holds {SIZE_BYTES} bytes, {len(content)} are needed")
    return content.ljust(SIZE_BYTES, b"#")


def read(path: Path) -> dict[str, str]:
    """Those of a file; none when there is no file."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return {}


def change(path: Path, **values: str) -> None:
    """Set variables, or with an empty value take them away; on the disk when this returns.

    A file that GRUB can use is written over: GRUB may have the place of its blocks, and wants no gaps in it.
    """
    now = read(path)
    content = render({name: value for name, value in (now | values).items() if value})
    if not path.is_file() or path.stat().st_size != SIZE_BYTES or path.stat().st_blocks == 0:
        durable.replace(path, content)
        return
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        if os.pread(handle, SIZE_BYTES, 0) != content:
            os.pwrite(handle, content, 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\\n")
