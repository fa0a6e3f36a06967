"""Adds a variable to a file of UEFI variables, as a machine's own programs would have done before."""

import struct
import uuid
from pathlib import Path

# edk2 MdeModulePkg/Include/Guid/VariableFormat.h: a store's header, then variables that begin with 0x55aa.
AUTHENTICATED_STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
STORE_HEADER = struct.Struct("<16sIBBHI")
VARIABLE_HEADER = struct.Struct("<HBBIQ16sIII16s")
ADDED = 0x3F
NON_VOLATILE, BOOT_SERVICES = 1, 2


def add_variable(file: Path, name: str, vendor: str, data: bytes) -> None:
    """Write a non-volatile variable of boot services behind the last one of the file's store."""
    store = bytearray(file.read_bytes())
    start = store.index(AUTHENTICATED_STORE)
    end = start + STORE_HEADER.unpack_from(store, start)[1]
    place = _aligned(start + STORE_HEADER.size)
    while store[place : place + 2] == b"\xaa\x55":
        fields = VARIABLE_HEADER.unpack_from(store, place)
        place = _aligned(place + VARIABLE_HEADER.size + fields[7] + fields[8])
    text = name.encode("utf-16-le") + b"\0\0"
    attributes = NON_VOLATILE | BOOT_SERVICES
    header = (0x55AA, ADDED, 0, attributes, 0, bytes(16), 0, len(text), len(data), uuid.UUID(vendor).bytes_le)
    variable = VARIABLE_HEADER.pack(*header) + text + data
    assert place + len(variable) <= end
    assert store[place : place + len(variable)] == b"\xff" * len(variable)
    store[place : place + len(variable)] = variable
    file.write_bytes(store)


def _aligned(place: int) -> int:
    return -(-place // 4) * 4
