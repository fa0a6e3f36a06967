"""Reads the directories of an ISO 9660 image by their Rock Ridge names, from any source of bytes. Pure."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""(offset, size) -> bytes; fewer at the end."""
BLOCK = 2048
FIRST_DESCRIPTOR = 16
PRIMARY, BOOT, TERMINATOR = 1, 0, 255
DIRECTORY, MORE_EXTENTS = 2, 128
MOST_DESCRIPTORS = 64
MOST_DIRECTORY_BYTES = 64 * 1024 * 1024
MOST_CONTINUED = 16
"""How often the entries of one record may go on elsewhere."""


@dataclass(frozen=True)
class Node:
    """A file or directory: where its bytes are, in one piece or several."""

    name: str
    directory: bool
    pieces: tuple[tuple[int, int], ...]
    """(offset, size) in bytes."""

    @property
    def size_bytes(self) -> int:
        return sum(size for _, size in self.pieces)


@dataclass(frozen=True)
class Volume:
    """What the first descriptors say (ECMA-119, 8.4)."""

    label: str
    size_bytes: int
    root: Node
    boots: bool
    """It has an El Torito boot record."""


def read_volume(read: Read) -> Volume | None:
    """None when there is no ISO 9660 file system that can be made sense of."""
    primary, boots = None, False
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MOST_DESCRIPTORS):
        block = read(number * BLOCK, BLOCK)
        if len(block) < BLOCK or block[1:6] != b"CD001" or block[0] == TERMINATOR:
            break
        boots = boots or (block[0] == BOOT and block[7:30] == b"EL TORITO SPECIFICATION")
        if block[0] == PRIMARY and primary is None:
            primary = block
    if primary is None:
        return None
    blocks, block_bytes = struct.unpack_from("<I", primary, 80)[0], struct.unpack_from("<H", primary, 128)[0]
    extent, size = struct.unpack_from("<I4xI", primary, 158)
    if block_bytes != BLOCK:
        return None
    label = primary[40:72].decode("ascii", errors="replace").rstrip(" \0")
    return Volume(label, blocks * BLOCK, Node("", True, ((extent * BLOCK, size),)), boots)


def find(read: Read, root: Node, path: str) -> Node | None:
    """A file or directory below `root`."""
    here = root
    for word in path.split("/"):
        found = next((one for one in entries(read, here) if one.name == word), None)
        if found is None:
            return None
        here = found
    return here


def walk(read: Read, root: Node) -> Iterator[tuple[str, Node]]:
    """Every file with its path. A directory that is met again, in a damaged image, is not read again."""
    seen = {root.pieces}
    waiting = [("", root)]
    while waiting:
        above, directory = waiting.pop()
        for one in entries(read, directory):
            path = f"{above}{one.name}"
            if not one.directory:
                yield path, one
            elif one.pieces not in seen:
                seen.add(one.pieces)
                waiting.append((f"{path}/", one))


def content(read: Read, node: Node) -> bytes:
    return b"".join(read(offset, size) for offset, size in node.pieces)


def entries(read: Read, directory: Node) -> list[Node]:
    """What is in a directory; nothing where it is not readable."""
    if not directory.directory or directory.size_bytes > MOST_DIRECTORY_BYTES:
        return []
    data = content(read, directory)
    found: list[Node] = []
    pieces: tuple[tuple[int, int], ...] = ()
    for record in _records(data):
        extent, size = struct.unpack_from("<I4xI", record, 2)
        pieces += ((extent * BLOCK, size),)
        if record[25] & MORE_EXTENTS:
            continue
        name = _name(read, record)
        if name not in ("", ".", ".."):
            found.append(Node(name, bool(record[25] & DIRECTORY), pieces))
        pieces = ()
    return found


def _records(data: bytes) -> Iterator[bytes]:
    """Records do not cross blocks: a length of 0 means that the rest of the block is empty (6.8.1.1)."""
    place = 0
    while place < len(data):
        length = data[place]
        if length == 0:
            place = (place // BLOCK + 1) * BLOCK
            continue
        record = data[place : place + length]
        if length < 34 or len(record) < length or 33 + record[32] > length:
            return
        yield record
        place += length


def _name(read: Read, record: bytes) -> str:
    """The name of Rock Ridge (NM), else that of ISO 9660 without its version."""
    plain = record[33 : 33 + record[32]]
    if plain in (b"\0", b"\1"):
        return "."
    named = b""
    for kind, body in _system_use(read, record[33 + record[32] + (record[32] + 1) % 2 :]):
        if kind == b"NM" and body:
            named += body[1:]
    if named:
        return named.decode(errors="replace")
    return plain.decode("ascii", errors="replace").partition(";")[0].rstrip(".").lower()


def _system_use(read: Read, area: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Entries of the System Use Sharing Protocol (IEEE P1281): two letters, length, version, body."""
    for _ in range(MOST_CONTINUED):
        more = b""
        while len(area) >= 4 and 4 <= area[2] <= len(area):
            kind, body, area = area[:2], area[4 : area[2]], area[area[2] :]
            if kind == b"ST":
                break
            if kind == b"CE" and len(body) >= 24:
                block, offset, size = struct.unpack_from("<I4xI4xI", body)
                more = read(block * BLOCK + offset, min(size, BLOCK))
            else:
                yield kind, body
        if not more:
            return
        area = more
