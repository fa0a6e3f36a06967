"""Local edits as admins make them: a seeded generator that remembers what it did."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SETTING = re.compile(
    rb"^([ \t]*)([A-Za-z_][\w.-]*)([ \t]*[=:][ \t]*|[ \t]+)"
    rb"([^\s#{}()<>|&;`][^#{}()<>|&;`]*?)([ \t]*;?[ \t]*)\n$"
)
PROPOSED = re.compile(
    rb"^[ \t]*[#;][ \t]?([A-Za-z_][\w.-]*[ \t]*=[ \t]*\S[^\n]*|[A-Za-z_][\w.-]*[ \t]+[\w./-]+)[ \t]*\n$"
)
COMMENT = re.compile(rb"^[ \t]*#[ \t]+\w.*\n$")
PORT = re.compile(rb"(?i)(port\D{0,3})(\d{2,5})\b")
WORDS = re.compile(
    rb"^(if|then|else|elif|fi|do|done|case|esac|for|while|return|exit|local|export|function|echo|\w+\(\))$"
)
SWITCHES = {b"yes": b"no", b"no": b"yes", b"true": b"false", b"false": b"true", b"on": b"off", b"off": b"on"}
MOST = 3


@dataclass(frozen=True)
class Edit:
    """One change: lines that went and lines that came."""

    kind: str
    removed: tuple[bytes, ...]
    added: tuple[bytes, ...]


Change = Callable[[random.Random, list[bytes]], Edit | None]


def edit(content: bytes, seed: str) -> tuple[bytes, tuple[Edit, ...]]:
    """One to MOST edits of a text; the same seed gives the same. No edits when the text offers none."""
    dice = random.Random(seed)
    lines = [line for line in re.split(rb"(?<=\n)", content) if line]
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    made: list[Edit] = []
    touched: set[bytes] = set()
    for _ in range(dice.randint(1, MOST)):
        kind = dice.choice(CHANGES)
        before = list(lines)
        done = kind(dice, lines)
        if done and not touched & {*done.removed, *done.added}:
            made.append(done)
            touched |= {*done.removed, *done.added}
        else:
            lines = before
    return b"".join(lines), tuple(made)


def value(dice: random.Random, lines: list[bytes]) -> Edit | None:
    """Another value of a setting."""

    def other(match: re.Match[bytes]) -> bytes:
        return b"".join((match[1], match[2], match[3], _other(dice, match[4]), match[5]))

    return _replace(dice, lines, "value", SETTING, other)


def port(dice: random.Random, lines: list[bytes]) -> Edit | None:
    def other(match: re.Match[bytes]) -> bytes:
        return PORT.sub(lambda one: one[1] + b"%d" % (int(one[2]) + 1000), match[0].rstrip(b"\n"))

    return _replace(dice, lines, "port", SETTING, other)


def uncomment(dice: random.Random, lines: list[bytes]) -> Edit | None:
    """A proposed setting is put to use, sometimes with another value."""

    def use(match: re.Match[bytes]) -> bytes:
        setting = SETTING.match(match[1] + b"\n")
        if setting and dice.random() < 0.5:
            return b"".join((setting[2], setting[3], _other(dice, setting[4])))
        return match[1]

    return _replace(dice, lines, "uncomment", PROPOSED, use)


def comment_out(dice: random.Random, lines: list[bytes]) -> Edit | None:
    return _replace(dice, lines, "comment out", SETTING, lambda match: b"#" + match[0].rstrip(b"\n"))


def remark(dice: random.Random, lines: list[bytes]) -> Edit | None:
    """A comment is changed."""
    return _replace(dice, lines, "remark", COMMENT, lambda match: match[0].rstrip(b"\n") + b" (see the wiki)")


def append(dice: random.Random, lines: list[bytes]) -> Edit:
    """At the end: a comment of the admin, and a setting where the file has such."""
    added = [b"# local %d\n" % dice.randint(100, 999)]
    style = next(
        (found for line in lines if (found := SETTING.match(line)) and not WORDS.match(found[2])), None
    )
    if style and style[1] == b"" and not any(b"{" in line or line.startswith(b"<") for line in lines):
        added.append(b"".join((b"local_%d" % dice.randint(100, 999), style[3], b"1\n")))
    lines += added
    return Edit("append", (), tuple(added))


def insert(dice: random.Random, lines: list[bytes]) -> Edit | None:
    """A comment in the middle."""
    places = [at for at, line in enumerate(lines) if COMMENT.match(line) or not line.strip()]
    if not places:
        return None
    added = b"# changed here %d\n" % dice.randint(100, 999)
    lines.insert(dice.choice(places), added)
    return Edit("insert", (), (added,))


def delete(dice: random.Random, lines: list[bytes]) -> Edit | None:
    """A comment or a setting goes."""
    places = [at for at, line in enumerate(lines) if COMMENT.match(line) or _set(line)]
    if not places:
        return None
    return Edit("delete", (lines.pop(dice.choice(places)),), ())


CHANGES: Sequence[Change] = (
    *(value, value, port, uncomment, uncomment, comment_out, remark, append, insert, delete),
)


def _set(line: bytes) -> re.Match[bytes] | None:
    match = SETTING.match(line)
    return match if match and not WORDS.match(match[2]) else None


def _replace(
    dice: random.Random,
    lines: list[bytes],
    kind: str,
    pattern: re.Pattern[bytes],
    new: Callable[[re.Match[bytes]], bytes],
) -> Edit | None:
    """One line that matches becomes another one."""
    script = bool(lines) and lines[0].startswith(b"#!")
    found = []
    for at, line in enumerate(lines):
        match = pattern.match(line)
        if match and not (
            pattern is SETTING and (WORDS.match(match[2]) or (script and b"=" not in match[3]))
        ):
            found.append((at, match))
    if not found:
        return None
    at, match = dice.choice(found)
    old, lines[at] = lines[at], new(match) + b"\n"
    return Edit(kind, (old,), (lines[at],)) if lines[at] != old else None


def _other(dice: random.Random, old: bytes) -> bytes:
    """A value of the same sort."""
    bare = old.strip(b"\"'")
    if bare in SWITCHES:
        return old.replace(bare, SWITCHES[bare])
    if bare.isdigit():
        return old.replace(bare, b"%d" % (int(bare) + dice.randint(1, 50)))
    if number := re.search(rb"\d+", old):
        return old[: number.start()] + b"%d" % (int(number[0]) + 1) + old[number.end() :]
    return old.replace(bare, bare + b"-local") if bare else old
