"""Reads which libraries an ELF file needs, for any architecture, without running it."""

import struct
from dataclasses import dataclass
from mmap import mmap

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 14, 15, 29


@dataclass(frozen=True)
class Linkage:
    """What the dynamic loader has to find before a program runs."""

    machine: tuple[int, int, int]
    """Class, byte order and machine number: a library must have the same."""
    interpreter: str
    """Path of the loader; empty for libraries and static programs."""
    needed: tuple[str, ...]
    runpath: tuple[str, ...]
    soname: str = ""
    """What a library calls itself."""
    flags: int = 0
    """e_flags: on some machines the calling convention."""


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def linkage(data: bytes | mmap) -> Linkage | None:
    """None when the bytes are not an ELF file. Raises ValueError when one is cut off or damaged."""
    if data[:4] != b"\x7fELF":
        return None
    try:
        return _read(data)
    except (struct.error, IndexError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error


def _read(data: bytes | mmap) -> Linkage:
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{order}H", data, 18)
    (flags,) = struct.unpack_from(f"{order}I", data, 48 if wide else 36)
    segments = list(_segments(data, wide, order))
    interpreter = ""
    entries: list[tuple[int, int]] = []
    for segment in segments:
        if segment.kind == PT_INTERP:
            interpreter = data[segment.offset : segment.offset + segment.size].rstrip(b"\0").decode()
        elif segment.kind == PT_DYNAMIC:
            entries = _dynamic(data, segment, wide, order)
    table = dict(entries)
    base = _offset(segments, table[DT_STRTAB]) if DT_STRTAB in table else 0
    strings = data[base : base + table.get(DT_STRSZ, 0)]
    needed = tuple(_string(strings, value) for tag, value in entries if tag == DT_NEEDED)
    runpath = [_string(strings, value) for tag, value in entries if tag in (DT_RPATH, DT_RUNPATH)]
    places = tuple(place for text in runpath for place in text.split(":") if place)
    soname = _string(strings, table[DT_SONAME]) if DT_SONAME in table else ""
    return Linkage((data[4], data[5], machine), interpreter, needed, places, soname, flags)


def _segments(data: bytes | mmap, wide: bool, order: str) -> list[_Segment]:
    if wide:
        (start,) = struct.unpack_from(f"{order}Q", data, 32)
        size, count = struct.unpack_from(f"{order}HH", data, 54)
    else:
        (start,) = struct.unpack_from(f"{order}I", data, 28)
        size, count = struct.unpack_from(f"{order}HH", data, 42)
    found = []
    for number in range(count):
        at = start + number * size
        if wide:
            kind, _flags, offset, address, _physical, length = struct.unpack_from(f"{order}IIQQQQ", data, at)
        else:
            kind, offset, address, _physical, length = struct.unpack_from(f"{order}IIIII", data, at)
        found.append(_Segment(kind, offset, address, length))
    return found


def _dynamic(data: bytes | mmap, segment: _Segment, wide: bool, order: str) -> list[tuple[int, int]]:
    layout = struct.Struct(f"{order}{'qQ' if wide else 'iI'}")
    entries = []
    for at in range(segment.offset, segment.offset + segment.size, layout.size):
        tag, value = layout.unpack_from(data, at)
        if tag == DT_NULL:
            break
        entries.append((tag, value))
    return entries


def _offset(segments: list[_Segment], address: int) -> int:
    for segment in segments:
        if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    raise IndexError(f"address {address:#x} is in no segment")


def _string(strings: bytes, start: int) -> str:
    return strings[start : strings.index(b"\0", start)].decode()


def section(data: bytes, name: str) -> bytes:
    """The octets of a section; empty when there is none. Raises ValueError when it is no ELF file."""
    return next((content for found, content in sections(data) if found == name), b"")


def sections(data: bytes) -> list[tuple[str, bytes]]:
    """Every section's name and octets, in their order. Raises ValueError when it is no ELF file."""
    if data[:4] != b"\x7fELF":
        raise ValueError("no ELF file")
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    try:
        (start,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", data, 40 if wide else 32)
        size, count, names = struct.unpack_from(f"{order}HHH", data, 58 if wide else 46)
        # sh_name, sh_type, sh_flags, sh_addr, sh_offset, sh_size
        layout = struct.Struct(f"{order}{'IIQQQQ' if wide else 'IIIIII'}")
        rows = [layout.unpack_from(data, start + number * size) for number in range(count)]
        strings = data[rows[names][4] : rows[names][4] + rows[names][5]]
        return [(_string(strings, row[0]), data[row[4] : row[4] + row[5]]) for row in rows]
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error
