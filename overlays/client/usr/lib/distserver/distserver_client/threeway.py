"""The three-way engine: GNU diff3, called on three texts and read as pieces."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distserver_client.programs import run

SECONDS = 60.0
MOST_BYTES = 16 << 20
OURS, BASE, THEIRS = b"ours", b"base", b"theirs"
MARKER = re.compile(rb"^(<<<<<<<|>>>>>>>|\|\|\|\|\|\|\|)( |$|\r)|^=======\r?$", re.MULTILINE)
"""A line that could be one of diff3's own; `=======` also underlines a heading in plain text."""
LEFT_OVER = re.compile(rb"^(<<<<<<<|>>>>>>>|\|\|\|\|\|\|\|)( |$|\r)", re.MULTILINE)
"""What no file that is in use may have."""


@dataclass(frozen=True)
class Plain:
    """Lines that nobody, one side or both sides alike changed."""

    lines: tuple[bytes, ...]


@dataclass(frozen=True)
class Clash:
    """Lines that both sides changed, or that touch: the three versions of them."""

    base: tuple[bytes, ...]
    ours: tuple[bytes, ...]
    theirs: tuple[bytes, ...]


Piece = Plain | Clash
Engine = Callable[[bytes, bytes, bytes], Sequence[Piece] | None]
"""From base, ours, theirs, each ending with a newline and without a line like MARKER; None when it failed."""


def diff3(base: bytes, ours: bytes, theirs: bytes) -> Sequence[Piece] | None:
    """An Engine; -A because it is the style that shows the base of a conflict."""
    with tempfile.TemporaryDirectory(prefix="distserver-merge-") as place:
        names = []
        for name, content in ((OURS, ours), (BASE, base), (THEIRS, theirs)):
            file = Path(place) / name.decode()
            file.write_bytes(content)
            names.append(str(file))
        labels = [word for name in (OURS, BASE, THEIRS) for word in ("--label", name.decode())]
        argv = ["diff3", "--merge", "--show-all", "--text", *labels, *names]
        done = run(argv, seconds=SECONDS, most_bytes=MOST_BYTES, apart=True)
    # 0: no conflict, 1: conflicts, 2: trouble (diffutils, "Invoking diff3").
    if done.cut or done.status not in (0, 1):
        return None
    found = pieces(done.output)
    return found if found is not None and (done.status == 1 or not clashes(found)) else None


def clashes(found: Sequence[Piece]) -> list[Clash]:
    return [one for one in found if isinstance(one, Clash)]


def pieces(output: bytes) -> list[Piece] | None:
    """What `diff3 --merge --show-all` printed; None when it is not of that form."""
    found: list[Piece] = []
    plain: list[bytes] = []
    lines = iter(lines_of(output))
    for line in lines:
        if line == b"<<<<<<< " + BASE + b"\n":
            # Both sides made the same change: base, then what both have.
            read = [_until(lines, b"======="), _until(lines, b">>>>>>> " + THEIRS)]
            if None in read:
                return None
            plain += read[1] or []
        elif line == b"<<<<<<< " + OURS + b"\n":
            ends = (b"||||||| " + BASE, b"=======", b">>>>>>> " + THEIRS)
            three = [_until(lines, end) for end in ends]
            if any(one is None for one in three):
                return None
            ours, base, theirs = (tuple(one or ()) for one in three)
            found += [Plain(tuple(plain))] if plain else []
            plain = []
            found.append(Clash(base, ours, theirs))
        elif MARKER.match(line.rstrip(b"\n")):
            return None
        else:
            plain.append(line)
    return [*found, Plain(tuple(plain))] if plain else found


def lines_of(output: bytes) -> list[bytes]:
    """Only newlines end lines: a carriage return belongs to the line."""
    return [line for line in re.split(rb"(?<=\n)", output) if line]


def _until(lines: Iterator[bytes], end: bytes) -> list[bytes] | None:
    found: list[bytes] = []
    for line in lines:
        if line == end + b"\n":
            return found
        found.append(line)
    return None
