"""Adds variables to a file of them, as a machine's own programs or a person would have before."""

import shutil
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path

# edk2 MdeModulePkg/Include/Guid/VariableFormat.h: a store's header, then variables that begin with 0x55aa.
AUTHENTICATED_STORE = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le
STORE_HEADER = struct.Struct("<16sIBBHI")
VARIABLE_HEADER = struct.Struct("<HBBIQ16sIII16s")
ADDED = 0x3F
NON_VOLATILE, BOOT_SERVICES, RUNTIME, AUTHENTICATED_BY_TIME = 1, 2, 4, 0x20
# UEFI 2.10, 8.2 and 32.4: whose each of the variables is that Secure Boot looks at.
GLOBAL, IMAGES = "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
ENROLLED = (("db", IMAGES), ("KEK", GLOBAL), ("PK", GLOBAL))
EFI_TIME = struct.Struct("<HBBBBBBIhBB")
LONG_AGO = EFI_TIME.pack(2020, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0)
"""When the keys were enrolled: an update has to be newer."""


def enroll(template: Path, lists: Path, file: Path) -> None:
    """Make variables as those of a machine on which somebody enrolled keys, which so has Secure Boot on.

    `template` holds no keys; `lists` is a directory with PK.esl, KEK.esl and db.esl.
    """
    shutil.copyfile(template, file)
    attributes = NON_VOLATILE | BOOT_SERVICES | RUNTIME | AUTHENTICATED_BY_TIME
    for name, vendor in ENROLLED:
        data = (lists / f"{name}.esl").read_bytes()
        add_variable(file, name, vendor, data, attributes=attributes, time=LONG_AGO)


def add_variable(
    file: Path,
    name: str,
    vendor: str,
    data: bytes,
    *,
    attributes: int = NON_VOLATILE | BOOT_SERVICES,
    time: bytes = bytes(EFI_TIME.size),
) -> None:
    """Write a variable behind the last one of the file's store; `time` is an EFI_TIME."""
    store = bytearray(file.read_bytes())
    end, place = _end(store), _start(store)
    for _, behind in _walk(store):
        place = behind
    text = name.encode("utf-16-le") + b"\0\0"
    header = (0x55AA, ADDED, 0, attributes, 0, time, 0, len(text), len(data), uuid.UUID(vendor).bytes_le)
    variable = VARIABLE_HEADER.pack(*header) + text + data
    assert place + len(variable) <= end
    assert store[place : place + len(variable)] == b"\xff" * len(variable)
    store[place : place + len(variable)] = variable
    file.write_bytes(store)


def variables(file: Path) -> dict[tuple[str, str, int], bytes]:
    """What is in the file's store, by name, vendor and attributes."""
    store = file.read_bytes()
    found = {}
    for place, _ in _walk(store):
        fields = VARIABLE_HEADER.unpack_from(store, place)
        text = place + VARIABLE_HEADER.size
        data = text + fields[7]
        if fields[1] == ADDED:
            name = store[text:data].decode("utf-16-le").rstrip("\0")
            key = (name, str(uuid.UUID(bytes_le=fields[9])), fields[3])
            found[key] = bytes(store[data : data + fields[8]])
    return found


def _start(store: bytes | bytearray) -> int:
    return _aligned(store.index(AUTHENTICATED_STORE) + STORE_HEADER.size)


def _end(store: bytes | bytearray) -> int:
    start = store.index(AUTHENTICATED_STORE)
    size: int = STORE_HEADER.unpack_from(store, start)[1]
    return start + size


def _walk(store: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Where each variable begins, and where the next one would."""
    place = _start(store)
    while store[place : place + 2] == b"\xaa\x55":
        fields = VARIABLE_HEADER.unpack_from(store, place)
        behind = _aligned(place + VARIABLE_HEADER.size + fields[7] + fields[8])
        yield place, behind
        place = behind


def _aligned(place: int) -> int:
    return -(-place // 4) * 4
