"""Decides what becomes of a configuration file from its three versions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from distserver_client import keyvalue, survival
from distserver_client.threeway import LEFT_OVER, MARKER, Clash, Engine, Piece, Plain, clashes, lines_of
from distserver_client.triples import Kind, Version

MOST_BYTES = 1 << 20
"""Configuration files that people edit are smaller."""
BY_LINE = "merged line by line"
BY_KEY = "merged setting by setting"


@dataclass(frozen=True)
class Same:
    """Ours is theirs already."""


@dataclass(frozen=True)
class TakeTheirs:
    why: str


@dataclass(frozen=True)
class KeepOurs:
    why: str


@dataclass(frozen=True)
class Merged:
    content: bytes = field(repr=False)
    how: str


@dataclass(frozen=True)
class Question:
    """Only a person can decide."""

    why: str


Decision = Same | TakeTheirs | KeepOurs | Merged | Question


def same(one: Version, other: Version) -> bool:
    """Equal but for permissions, which stay as they are on the machine."""
    return (one.kind, one.content) == (other.kind, other.content)


def decide(path: str, base: Version | None, ours: Version, theirs: Version, engine: Engine) -> Decision:
    """One file, three versions; the base is None when nobody knows it any more.

    The same arguments give the same decision, byte for byte, on every machine.
    """
    if same(ours, theirs):
        return Same()
    if base is None:
        return Question("what the installed package shipped is not known any more")
    if same(base, ours):
        return TakeTheirs("not changed here")
    if same(base, theirs):
        return KeepOurs("not changed by the package")
    if theirs.kind is Kind.ABSENT:
        return KeepOurs("changed here; the package does not ship it any more")
    if ours.kind is Kind.ABSENT:
        return Question("deleted here, changed by the package")
    if base.kind is Kind.ABSENT:
        return Question("made here, and a package ships another one")
    if not base.kind is ours.kind is theirs.kind is Kind.FILE:
        return Question(
            f"ours is a {ours.kind.value}, theirs a {theirs.kind.value}, it was a {base.kind.value}"
        )
    return _text(path, base.content, ours.content, theirs.content, engine)


def _text(path: str, base: bytes, ours: bytes, theirs: bytes, engine: Engine) -> Decision:
    if why := _unfit(base, ours, theirs):
        return Question(why)
    ended = [_ends(one) for one in (base, ours, theirs)]
    whole = [one if end else one + b"\n" for one, end in zip((base, ours, theirs), ended, strict=True)]
    pieces = engine(whole[0], whole[1], whole[2])
    if pieces is None:
        return Question("diff3 could not compare the three")
    merged, how = _joined(path, pieces, whole)
    if merged is None:
        return Question(how)
    if complaint := survival.complaint(path, whole[0], whole[1], whole[2], merged):
        return Question(complaint)
    # Whether the last line ends is decided as every line is: by who changed it.
    keeps_end = ended[2] if ended[0] == ended[1] else ended[1]
    content = merged if keeps_end else merged.removesuffix(b"\n")
    if LEFT_OVER.search(content):
        return Question("the merge has a line like a conflict marker")
    return Merged(content, how)


def _unfit(*contents: bytes) -> str:
    """Why a text merge cannot be tried."""
    if any(b"\0" in one for one in contents):
        return "not a text"
    if any(len(one) > MOST_BYTES for one in contents):
        return f"larger than {MOST_BYTES} bytes"
    if any(MARKER.search(one) for one in contents):
        return "a line of it looks like a conflict marker"
    if len({_line_ends(one) for one in contents}) > 1:
        return "the line ends differ (CR LF and LF)"
    return ""


def _line_ends(content: bytes) -> str:
    returns, newlines = content.count(b"\r\n"), content.count(b"\n")
    if returns == 0:
        return "LF"
    return "CR LF" if returns == newlines else "both"


def _ends(content: bytes) -> bool:
    return content.endswith(b"\n") or not content


def _joined(path: str, pieces: Sequence[Piece], whole: Sequence[bytes]) -> tuple[bytes | None, str]:
    """The merged text and how it was made; None and what clashes."""
    if not clashes(pieces):
        return b"".join(line for piece in pieces if isinstance(piece, Plain) for line in piece.lines), BY_LINE
    dialect = keyvalue.dialect(path, *whole)
    found: list[bytes] = []
    where = 0
    for piece in pieces:
        lines = piece.lines if isinstance(piece, Plain) else dialect and keyvalue.resolve(piece, dialect)
        if lines is None:
            where = len(found) + 1
            break
        found += lines
    if where and dialect:
        # The clash may begin or end within a value of several lines: all of the file, then.
        base, ours, theirs = (tuple(lines_of(one)) for one in whole)
        resolved = keyvalue.resolve(Clash(base, ours, theirs), dialect)
        found, where = (list(resolved), 0) if resolved is not None else (found, where)
    if where:
        return None, f"both sides changed the same lines, near line {where}"
    return b"".join(found), BY_KEY
