"""Lists in parts that fit on a page. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

SIZE = 50
WORD = "page"


@dataclass(frozen=True)
class Sheet:
    """One part of a list, counted from 1."""

    number: int
    count: int
    """Of the parts; an empty list has one."""
    total: int
    """Of what is listed."""
    asked: Mapping[str, str]
    """The words of its address."""
    size: int = SIZE

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size

    @property
    def before(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def after(self) -> int | None:
        return self.number + 1 if self.number < self.count else None

    def words(self, number: int) -> dict[str, str]:
        """Those of the address of another part."""
        return {**{name: value for name, value in self.asked.items() if value}, WORD: str(number)}

    def others(self, name: str) -> dict[str, str]:
        """The words of its own address without one of them."""
        return {word: value for word, value in self.asked.items() if value and word != name}


def sheet_of(asked: Mapping[str, str], total: int, size: int = SIZE) -> Sheet:
    """The part that an address asks for; the nearest one there is when that is none."""
    count = max(1, -(-total // size))
    text = asked.get(WORD, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1
    # url_for() takes these words for its own.
    words = {name: value for name, value in asked.items() if name != "endpoint" and name[:1] != "_"}
    return Sheet(min(max(number, 1), count), count, total, words, size)
