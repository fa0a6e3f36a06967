"""Texts line by line: what differs, three versions side by side, a merge to go on with. Pure."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum

CONTEXT = 3
"""Lines shown around those that differ."""
MOST_PAIRS = 10_000
"""A stretch without a line that is in both once is compared line by line up to this size, else as a whole."""
BUDGET = 500_000
"""Lines looked at and pairs compared in all; what is left then differs as a whole."""
MOST_LINES = 20_000
"""Of a text that is looked at; a larger one is said to differ as a whole."""

Lines = Sequence[str]


@dataclass(frozen=True)
class Block:
    """Lines that are the same in two texts."""

    left: int
    right: int
    size: int


class Mark(Enum):
    SAME = "same"
    GONE = "gone"
    NEW = "new"
    FOLD = "fold"
    """Stands for lines that are the same everywhere; the text says how many."""


@dataclass(frozen=True)
class Line:
    mark: Mark
    number: int
    """From 1."""
    text: str


@dataclass(frozen=True)
class Merged:
    text: str
    conflicts: int
    """Places where both changed the same; they are in the text between markers."""


def lines_of(text: str) -> list[str]:
    """With their ends, so that a missing last one is a difference; \\r, \\f and others are part of a line."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def blocks(left: Lines, right: Lines) -> list[Block]:
    """Anchored at lines that are in both once (patience), so that hostile texts cost no more than a sort."""
    if max(len(left), len(right)) > MOST_LINES:
        return []
    found: list[Block] = []
    spent = 0
    # Stretches that are still to be compared, so that deep ones need no recursion.
    stack = [(0, len(left), 0, len(right))]
    while stack:
        l0, l1, r0, r1 = stack.pop()
        while l0 < l1 and r0 < r1 and left[l0] == right[r0]:
            found.append(Block(l0, r0, 1))
            l0, r0 = l0 + 1, r0 + 1
        while l0 < l1 and r0 < r1 and left[l1 - 1] == right[r1 - 1]:
            l1, r1 = l1 - 1, r1 - 1
            found.append(Block(l1, r1, 1))
        spent += l1 - l0 + r1 - r0
        if l0 == l1 or r0 == r1 or spent > BUDGET:
            continue
        anchors = _anchors(left, right, (l0, l1, r0, r1))
        if anchors:
            ends = [*anchors, (l1, r1)]
            for left_end, right_end in ends:
                stack.append((l0, left_end, r0, right_end))
                if (left_end, right_end) != (l1, r1):
                    found.append(Block(left_end, right_end, 1))
                l0, r0 = left_end + 1, right_end + 1
        elif (pairs := (l1 - l0) * (r1 - r0)) <= MOST_PAIRS:
            spent += 10 * pairs
            matcher = SequenceMatcher(None, left[l0:l1], right[r0:r1], autojunk=False)
            for one in matcher.get_matching_blocks():
                found += [Block(l0 + one.a, r0 + one.b, one.size)] if one.size else []
    return _joined(found)


def panes(base: Lines, ours: Lines, theirs: Lines) -> tuple[list[Line], list[Line], list[Line]]:
    """The three versions with their differences to the base marked, long stretches without one folded."""
    of_ours, of_theirs = blocks(base, ours), blocks(base, theirs)
    kept = {one.left + n for one in of_ours for n in range(one.size)}
    kept &= {one.left + n for one in of_theirs for n in range(one.size)}
    same_ours = {one.right + n for one in of_ours for n in range(one.size) if one.left + n in kept}
    same_theirs = {one.right + n for one in of_theirs for n in range(one.size) if one.left + n in kept}
    # A line that only the other side dropped is no difference of this one.
    own_ours = {one.right + n for one in of_ours for n in range(one.size)}
    own_theirs = {one.right + n for one in of_theirs for n in range(one.size)}
    return (
        _fold(base, kept, kept, Mark.GONE),
        _fold(ours, own_ours, same_ours, Mark.NEW),
        _fold(theirs, own_theirs, same_theirs, Mark.NEW),
    )


def difference(before: Lines, after: Lines) -> list[Line]:
    """What goes and what comes, in the order of the text, with a little around it."""
    found: list[Line] = []
    left = right = 0
    for one in [*blocks(before, after), Block(len(before), len(after), 0)]:
        found += [Line(Mark.GONE, n + 1, _shown(before[n])) for n in range(left, one.left)]
        found += [Line(Mark.NEW, n + 1, _shown(after[n])) for n in range(right, one.right)]
        found += [Line(Mark.SAME, one.right + n + 1, _shown(before[one.left + n])) for n in range(one.size)]
        left, right = one.left + one.size, one.right + one.size
    return _folded(found, [one.mark is Mark.SAME for one in found])


def merge(base: str, ours: str, theirs: str) -> Merged:
    """Changes of both in one text (Khanna, Kunal, Pierce: A Formal Investigation of Diff3, 2007)."""
    b, o, t = lines_of(base), lines_of(ours), lines_of(theirs)
    out: list[str] = []
    conflicts = 0
    at = (0, 0, 0)
    for start, size in [*_shared(blocks(b, o), blocks(b, t)), ((len(b), len(o), len(t)), 0)]:
        chunk = b[at[0] : start[0]], o[at[1] : start[1]], t[at[2] : start[2]]
        if chunk[1] == chunk[0] or chunk[1] == chunk[2]:
            out += chunk[2]
        elif chunk[2] == chunk[0]:
            out += chunk[1]
        else:
            conflicts += 1
            out += _conflict(chunk[1], chunk[2])
        out += b[start[0] : start[0] + size]
        at = start[0] + size, start[1] + size, start[2] + size
    return Merged("".join(out), conflicts)


def _conflict(ours: Lines, theirs: Lines) -> list[str]:
    def ended(some: Lines) -> list[str]:
        return [*some[:-1], some[-1] if some[-1].endswith("\n") else some[-1] + "\n"] if some else []

    return ["<<<<<<< ours\n", *ended(ours), "=======\n", *ended(theirs), ">>>>>>> theirs\n"]


def _shared(ours: Sequence[Block], theirs: Sequence[Block]) -> list[tuple[tuple[int, int, int], int]]:
    """((base, ours, theirs), size) of what is the same in all three."""
    found = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        one, other = ours[i], theirs[j]
        start = max(one.left, other.left)
        end = min(one.left + one.size, other.left + other.size)
        if start < end:
            place = start, one.right + start - one.left, other.right + start - other.left
            found.append((place, end - start))
        if one.left + one.size <= other.left + other.size:
            i += 1
        else:
            j += 1
    return found


def _anchors(left: Lines, right: Lines, part: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """Places of lines that are once in both parts, the longest row of them that is in order in both."""
    l0, l1, r0, r1 = part
    once_left, once_right = Counter(left[l0:l1]), Counter(right[r0:r1])
    where = {right[n]: n for n in range(r0, r1) if once_right[right[n]] == 1}
    pairs = [(n, where[left[n]]) for n in range(l0, l1) if once_left[left[n]] == 1 and left[n] in where]
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, (_, place) in enumerate(pairs):
        at = bisect_left(tails, place)
        before.append(ends[at - 1] if at else -1)
        tails[at : at + 1], ends[at : at + 1] = [place], [index]
    row: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        row.append(pairs[index])
        index = before[index]
    return row[::-1]


def _joined(found: Sequence[Block]) -> list[Block]:
    joined: list[Block] = []
    for one in sorted(found, key=lambda block: block.left):
        last = joined[-1] if joined else None
        if last and (last.left + last.size, last.right + last.size) == (one.left, one.right):
            joined[-1] = Block(last.left, last.right, last.size + one.size)
        else:
            joined.append(one)
    return joined


def _fold(text: Lines, same: set[int], foldable: set[int], other: Mark) -> list[Line]:
    shown = [Line(Mark.SAME if n in same else other, n + 1, _shown(line)) for n, line in enumerate(text)]
    return _folded(shown, [n in foldable for n in range(len(text))])


def _folded(lines: Sequence[Line], foldable: Sequence[bool]) -> list[Line]:
    """Long stretches that may be folded are one line, except what stands beside a difference."""
    found: list[Line] = []
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and foldable[end]:
            end += 1
        first = at + (CONTEXT if at else 0)
        last = end - (CONTEXT if end < len(lines) else 0)
        if last - first > 1:
            found += lines[at:first]
            found.append(Line(Mark.FOLD, lines[first].number, str(last - first)))
            found += lines[last:end]
        else:
            found += lines[at:end]
        if end < len(lines):
            found.append(lines[end])
            end += 1
        at = end
    return found


def _shown(line: str) -> str:
    """Without its end; what is invisible or turns the direction of writing is spelled out."""
    text = line.removesuffix("\n").translate(_INVISIBLE)
    return text if line.endswith("\n") else f"{text} (no newline at the end)"


_CONTROLS = [*range(9), *range(11, 32), *range(127, 160)]
# Unicode's bidirectional controls (UAX 9, table 4) and what has no width: CVE-2021-42574.
_TURNING = [0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
_INVISIBLE = {code: f"\\u{code:04x}" if code > 255 else f"\\x{code:02x}" for code in (*_CONTROLS, *_TURNING)}
