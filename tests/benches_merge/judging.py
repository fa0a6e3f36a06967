"""Says whether a merge is right, without anything that made it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distserver_client import validators
from tests.benches_merge.edits import SETTING, WORDS, Edit

MARKER = re.compile(rb"^(<<<<<<<|>>>>>>>|\|\|\|\|\|\|\|)", re.MULTILINE)


@dataclass(frozen=True)
class Versions:
    base: bytes
    ours: bytes
    theirs: bytes


def wrong(path: str, edits: Sequence[Edit], versions: Versions, merged: bytes, scratch: Path) -> str:
    """What is wrong with a result that nobody was asked about; empty when nothing is."""
    if MARKER.search(merged):
        return "a conflict marker"
    return (
        _lost(edits, versions, merged)
        or _moved(edits, versions, merged)
        or _settings(edits, versions, merged)
        or _refused(path, versions, merged, scratch)
    )


def _lost(edits: Sequence[Edit], versions: Versions, merged: bytes) -> str:
    """The result is theirs with the edits, line for line, wherever they are."""
    was, new, done = (Counter(_lines(one)) for one in (versions.base, versions.theirs, merged))
    added = Counter(line for edit in edits for line in edit.added)
    removed = Counter(line for edit in edits for line in edit.removed)
    for line in sorted({*new, *done, *added, *removed}):
        # Upstream may have made the same change.
        least = max(0, new[line] - removed[line]) if not added[line] else max(1, new[line])
        most = new[line] + added[line]
        if not least <= done[line] <= most:
            return f"{line[:60]!r} is there {done[line]} times, expected {least} to {most}"
        # Of a line that is there more than once, upstream may have removed the very same one.
        both = new[line] < was[line]
        if removed[line] and done[line] >= new[line] > 0 and not added[line] and not both:
            return f"{line[:60]!r} was removed here and is there"
    return ""


def _moved(edits: Sequence[Edit], versions: Versions, merged: bytes) -> str:
    """Each line of the edits is where it was: what follows a setting may use it, a comment is a sentence."""
    contents = versions.base, versions.ours, versions.theirs, merged
    was, ours, theirs, done = map(_places, contents)
    for edit in edits:
        for line in (one for one in edit.added if _name(one) in done and _name(one) in ours):
            here = done[_name(line)]
            before, after = _neighbours(ours, ours[_name(line)], done)
            beside = [one for one in (before, after) if one]
            # Upstream may have moved one of the two.
            if beside and not (before and done[before] < here) and not (after and here < done[after]):
                return f"{line[:60]!r} is no more between {before!r:.60} and {after!r:.60}"
            old = _name(edit.removed[0]) if len(edit.removed) == len(edit.added) == 1 else b""
            if old in was and old in theirs:
                before, after = _neighbours(theirs, theirs[old], done)
                if (before and done[before] > here) or (after and here > done[after]):
                    return f"{line[:60]!r} is not where {old[:60]!r} was"
    return ""


def _places(content: bytes) -> dict[bytes, int]:
    """Name -> its line, of what is there once."""
    names = [_name(line) for line in _lines(content)]
    often = Counter(names)
    return {name: at for at, name in enumerate(names) if often[name] == 1}


def _name(line: bytes) -> bytes:
    """A setting is the same one with another value; every other line is its text."""
    match = SETTING.match(line)
    return match[2] + b"=" if match and not WORDS.match(match[2]) else line


def _neighbours(
    places: Mapping[bytes, int], at: int, known: Mapping[bytes, int]
) -> tuple[bytes | None, bytes | None]:
    """The nearest before and after it that are known elsewhere, too."""
    others = {place: name for name, place in places.items() if name in known and place != at}
    before = max((place for place in others if place < at), default=None)
    after = min((place for place in others if place > at), default=None)
    return (None if before is None else others[before], None if after is None else others[after])


def _settings(edits: Sequence[Edit], versions: Versions, merged: bytes) -> str:
    """A setting that the edits changed has the value of ours, and no second one of theirs."""
    base, ours = versions.base, versions.ours
    for edit in edits:
        for line in edit.added:
            match = SETTING.match(line)
            if not match or len(_values(base, match[2])) > 1 or len(_values(ours, match[2])) > 1:
                continue
            if _values(merged, match[2]) != _values(ours, match[2]):
                return f"{match[2]!r} is {_values(merged, match[2])}, expected {_values(ours, match[2])}"
    return ""


def _values(content: bytes, key: bytes) -> list[bytes]:
    return [match[4] for line in _lines(content) if (match := SETTING.match(line)) and match[2] == key]


def _refused(path: str, versions: Versions, merged: bytes, scratch: Path) -> str:
    """What accepts both ours and theirs accepts the result."""
    real = str(scratch / "candidate")
    if not validators.judge(Path("/"), path, versions.ours, versions.theirs, real=real).good:
        return ""
    verdict = validators.judge(Path("/"), path, versions.ours, merged, real=real)
    return "" if verdict.good else verdict.why


def _lines(content: bytes) -> list[bytes]:
    whole = content if content.endswith(b"\n") else content + b"\n"
    return [line for line in re.split(rb"(?<=\n)", whole) if line]
