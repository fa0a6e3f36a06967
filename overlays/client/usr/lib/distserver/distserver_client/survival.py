"""Judges a merge without the engine that made it: is every change of both sides in the result."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher

from distserver_client import keyvalue
from distserver_client.keyvalue import Dialect, Map
from distserver_client.threeway import lines_of

MOST_LINES = 6000
"""Between the first and the last change: what is compared here takes time with the square of it."""
LOOSE = re.compile(rb"^[ \t]*\"?([A-Za-z_$@][\w.$@-]*)\"?[ \t]*(?:[=:]|[ \t])[ \t]*\S")
ASSIGNMENT = re.compile(rb"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)=")


def complaint(path: str, base: bytes, ours: bytes, theirs: bytes, merged: bytes) -> str:
    """Why a merge is not to be trusted, one sentence; empty when it is."""
    was, mine, new, done = (lines_of(one) for one in (base, ours, theirs, merged))
    if max(_span(was, mine), _span(was, new)) > MOST_LINES:
        return "the changes reach over too many lines to be compared"
    return (
        _count(was, mine, new, done)
        or _order("ours", was, mine, done)
        or _order("theirs", was, new, done)
        or _keys(path, base, ours, theirs, merged)
    )


def changed_lines(base: Sequence[bytes], other: Sequence[bytes]) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """What was removed and what was added, change by change."""
    for code, first, last, begin, end in SequenceMatcher(None, base, other, autojunk=False).get_opcodes():
        if code != "equal":
            yield list(base[first:last]), list(other[begin:end])


def _span(base: Sequence[bytes], other: Sequence[bytes]) -> int:
    """Lines between the first and the last difference."""
    start, end = 0, 0
    shorter = min(len(base), len(other))
    while start < shorter and base[start] == other[start]:
        start += 1
    while end < shorter - start and base[-1 - end] == other[-1 - end]:
        end += 1
    return max(len(base), len(other)) - start - end


def _count(
    base: Sequence[bytes], ours: Sequence[bytes], theirs: Sequence[bytes], merged: Sequence[bytes]
) -> str:
    """Each line is there as often as the two changes together say."""
    was, mine, new, done = (Counter(one) for one in (base, ours, theirs, merged))
    for line in sorted({*was, *mine, *new, *done}):
        by_us, by_them = mine[line] - was[line], new[line] - was[line]
        both = by_us + by_them
        if by_us * by_them > 0:
            # Both added or both removed it: once for both, or each for itself.
            low, high = (max(by_us, by_them), both) if both > 0 else (both, min(by_us, by_them))
        else:
            low = high = both
        if not low <= done[line] - was[line] <= high:
            return f"the line {_shown(line)} is there {done[line]} times after the merge"
    return ""


def _order(who: str, base: Sequence[bytes], other: Sequence[bytes], merged: Sequence[bytes]) -> str:
    """What a side added is in the result, in its order."""
    place = iter(merged)
    for _, added in changed_lines(base, other):
        for line in added:
            if not any(one == line for one in place):
                return f"the line {_shown(line)} of {who} is not where it was after the merge"
    return ""


def _keys(path: str, base: bytes, ours: bytes, theirs: bytes, merged: bytes) -> str:
    """No setting was changed by both sides in two ways, wherever in the file."""
    how = keyvalue.dialect(path, base, ours, theirs, merged)
    was, mine, new, done = (_settings(one, how) for one in (base, ours, theirs, merged))
    for key in sorted({*mine, *new, *was}):
        before, us, them = was.get(key, ()), mine.get(key, ()), new.get(key, ())
        if us == them or before in (us, them):
            expected = us if before == them else them
            if how and done.get(key, ()) != expected:
                return f"{_shown(key)} is set to something else after the merge"
        elif how or len(before) <= 1:
            # A word that begins several lines of the base is a list, or no setting at all.
            return f"both sides changed {_shown(key)}"
    return ""


def _settings(content: bytes, how: Dialect | None) -> Map:
    read = keyvalue.settings(content, how) if how else None
    if read is not None:
        return read
    pattern = ASSIGNMENT if content.startswith(b"#!") else LOOSE
    found: dict[bytes, tuple[bytes, ...]] = {}
    for line in _code(lines_of(content)):
        if match := pattern.match(line):
            found[match[1]] = (*found.get(match[1], ()), line.strip())
    return found


def _code(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (line for line in lines if not line.lstrip().startswith((b"#", b";", b"//", b"<", b"--")))


def _shown(line: bytes) -> str:
    return repr(line.decode(errors="replace").strip()[:60])
