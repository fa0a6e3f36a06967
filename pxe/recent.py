"""Remembers the last values of many keys: strangers on the LAN can fill it but not make it grow."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """The last `limit` values set."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def put(self, key: Key, value: Value) -> None:
        values = self._values
        if key in values:
            values.move_to_end(key)
        elif len(values) >= self._limit:
            values.popitem(last=False)
        values[key] = value

    def get(self, key: Key) -> Value | None:
        return self._values.get(key)

    def pop(self, key: Key) -> None:
        self._values.pop(key, None)

    def items(self) -> list[tuple[Key, Value]]:
        """What is remembered now, the oldest first."""
        return list(self._values.items())

    def __len__(self) -> int:
        return len(self._values)
