"""Frozen values as JSON and back: what they are is in their types, so a new field needs nothing here."""

import base64
import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
LINK, BYTES = "link", "bytes"


def pack(value: Any) -> bytes:
    """One value, always the same bytes."""
    return json.dumps(plain(value), sort_keys=True).encode()


def unpack(kind: type[T], raw: bytes) -> T:
    """Raises ValueError when the bytes are no such value."""
    found: T = restore(kind, json.loads(raw))
    return found


def plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(plain(one) for one in value)
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return {BYTES: base64.b64encode(value).decode()}
    if isinstance(value, PurePath):
        return {LINK: str(value)}
    return value


def restore(kind: Any, found: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _restore_union(get_args(kind), found)
    if is_dataclass(kind) and isinstance(kind, type):
        return _restore_values(kind, found)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(found)
    if origin in (tuple, list, frozenset):
        inner = get_args(kind)[0]
        return origin(restore(inner, one) for one in _expect(found, list, kind))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        inner = get_args(kind)[1]
        return {key: restore(inner, one) for key, one in _expect(found, dict, kind).items()}
    if kind is bytes:
        return base64.b64decode(_expect(found, dict, kind)[BYTES], validate=True)
    if kind in (Path, PurePosixPath):
        return kind(_expect(found, dict, kind)[LINK])
    if kind is float and isinstance(found, int) and not isinstance(found, bool):
        return float(found)
    return _expect(found, kind, kind)


def _restore_union(kinds: tuple[Any, ...], found: Any) -> Any:
    if found is None and type(None) in kinds:
        return None
    for kind in kinds:
        try:
            return restore(kind, found)
        except (ValueError, KeyError):
            continue
    raise ValueError(f"expected one of {kinds}, got {type(found).__name__}")


def _restore_values(kind: type[Any], found: Any) -> Any:
    hints = get_type_hints(kind)
    known = {one.name for one in fields(kind) if one.init}
    table = _expect(found, dict, kind)
    if unknown := sorted(set(table) - known):
        names = ", ".join(unknown)
        raise ValueError(f"{kind.__name__} has no {names}: the two sides are of different versions")
    try:
        return kind(**{name: restore(hints[name], one) for name, one in table.items()})
    except TypeError as missing:
        raise ValueError(f"{kind.__name__}: {missing}") from missing


def _expect(found: Any, kind: type[Any], wanted: Any) -> Any:
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        name = getattr(wanted, "__name__", str(wanted))
        raise ValueError(f"expected {name}, got {type(found).__name__}")
    return found
