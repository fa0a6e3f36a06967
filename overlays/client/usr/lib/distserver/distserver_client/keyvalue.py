"""Files of settings: which keys they have, and clashes of lines that are no clashes of keys."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from fnmatch import fnmatchcase

from distserver_client.threeway import Clash, lines_of


class Dialect(Enum):
    """How a file writes a setting; no dialect: the file is not only settings."""

    EQUALS = "KEY=value"
    """conf.d, make.conf, sysctl, default/*; quoted values may have several lines."""
    INI = "[section] and KEY = value"
    WORDS = "Key value"
    """One directive a line; only for files that are known to be so."""


WORD_FILES = (
    "/etc/ssh/ssh_config*", "/etc/ssh/sshd_config*", "/etc/login.defs", "/etc/chrony/*.conf", "/etc/ntp.conf",
    "/etc/ntpsec/ntp.conf", "/etc/adduser.conf", "/etc/nsswitch.conf", "/etc/redis/*.conf", "/etc/host.conf",
    "/etc/memcached.conf", "/etc/privoxy/config", "/etc/tor/torrc", "/etc/clamav/*.conf", "/etc/hdparm.conf",
)  # fmt: skip
"""`Match` and `Host` of the first two begin sections."""
EQUALS = re.compile(
    rb"^[ \t]*(?:export[ \t]+)?(-?[A-Za-z_][\w./*-]*(?:\[\w*\])?)[ \t]*\+?=[ \t]*(.*)$", re.DOTALL
)
INI = re.compile(rb"^([^\s\[#;=:][^=:\n]*?)[ \t]*[=:][ \t]*(.*)$", re.DOTALL)
SECTION = re.compile(rb"^[ \t]*\[[^\]\n]+\][ \t]*([#;].*)?\r?\n?$")
WORDS = re.compile(rb"^[ \t]*([A-Za-z][\w.-]*)(?::|[ \t]+|[ \t]*=)[ \t]*([^{}<>\n]*)\r?\n?$")
BLOCK = re.compile(rb"^(Match|Host)[ \t]", re.IGNORECASE)
COMMENT = re.compile(rb"^[ \t]*([#;].*)?\r?\n?$", re.DOTALL)
LONGEST_VALUE = 400
"""Lines of one quoted value."""


@dataclass(frozen=True)
class Entry:
    """One setting with all of its lines, a section's head, or a comment or empty line (no key)."""

    key: bytes | None
    text: bytes


Map = Mapping[bytes, tuple[bytes, ...]]
"""Key (with its section before it) -> the texts of its entries, in their order."""


def dialect(path: str, *contents: bytes) -> Dialect | None:
    """The one that all contents can be read in."""
    if any(fnmatchcase(path, glob) for glob in WORD_FILES):
        tried: Sequence[Dialect] = (Dialect.WORDS,)
    elif any(content.startswith(b"#!") for content in contents):
        tried = ()
    else:
        tried = (Dialect.EQUALS, Dialect.INI)
    for one in tried:
        read = [entries(lines_of(content), one) for content in contents]
        if all(each is not None and (one is not Dialect.INI or _begins(each)) for each in read):
            return one
    return None


def _begins(read: Sequence[Entry]) -> bool:
    """With a section: without one, `KEY = value` is too little to know a file by."""
    first = next((entry.key for entry in read if entry.key is not None), b"[")
    return first.startswith(b"[")


def entries(lines: Sequence[bytes], how: Dialect) -> list[Entry] | None:
    """A text, entry by entry; None when a line of it is none of that dialect."""
    found: list[Entry] = []
    rest = list(reversed(lines))
    while rest:
        line = rest.pop()
        if COMMENT.match(line):
            found.append(Entry(None, line))
        elif how is not Dialect.EQUALS and _heads(line, how):
            found.append(Entry(b"[" + line.strip(), line))
        elif how is Dialect.WORDS and (match := WORDS.match(line)) and not line.rstrip().endswith(b"\\"):
            found.append(Entry(match[1].lower(), line))
        elif how is Dialect.EQUALS and (match := EQUALS.match(line)):
            text = _whole(line, match[2], rest)
            if text is None:
                return None
            found.append(Entry(match[1], text))
        elif how is Dialect.INI and (match := INI.match(line)):
            while rest and rest[-1][:1] in (b" ", b"\t") and rest[-1].strip():
                line += rest.pop()
            found.append(Entry(match[1].lower(), line))
        else:
            return None
    return found


def _heads(line: bytes, how: Dialect) -> bool:
    return bool(SECTION.match(line) if how is Dialect.INI else BLOCK.match(line))


def _whole(line: bytes, value: bytes, rest: list[bytes]) -> bytes | None:
    """An entry with the further lines of a value whose quote is open or that ends with a backslash."""
    text = line
    for _ in range(LONGEST_VALUE):
        if not _open(value):
            return text
        if not rest:
            return None
        text, value = text + rest[-1], value + rest[-1]
        rest.pop()
    return None


def _open(value: bytes) -> bool:
    quote, skip = 0, False
    for at, byte in enumerate(value):
        if skip:
            skip = False
        elif byte == 0x5C and quote != 0x27:
            skip = True
        elif quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == 0x23 and (at == 0 or value[at - 1 : at] in (b" ", b"\t")):
            return False
    return quote != 0 or value.rstrip(b"\r\n").endswith(b"\\")


def settings(content: bytes, how: Dialect) -> Map | None:
    """What a whole file sets."""
    read = entries(lines_of(content), how)
    if read is None:
        return None
    found: dict[bytes, tuple[bytes, ...]] = {}
    section = b""
    for entry in read:
        if entry.key is not None and entry.key.startswith(b"["):
            section = entry.key
        if entry.key is not None:
            name = section + b"\n" + entry.key
            found[name] = (*found.get(name, ()), entry.text.strip())
    return found


def resolve(clash: Clash, how: Dialect) -> tuple[bytes, ...] | None:
    """The lines for a clash in which no key was changed by both; None when there is one.

    Theirs with our changes: a setting that we changed stands where theirs stood, one that we added comes
    after what it followed. Comments that either side wrote are kept, those that either side removed go.
    """
    base, ours, theirs = (entries(lines, how) for lines in (clash.base, clash.ours, clash.theirs))
    if base is None or ours is None or theirs is None:
        return None
    maps = [_unique(one) for one in (base, ours, theirs)]
    if any(one is None for one in maps):
        return None
    was, mine, new = (one or {} for one in maps)
    for key in {*was, *mine, *new}:
        if not _one_side(was.get(key), mine.get(key), new.get(key)):
            return None
        if key.startswith(b"[") and not was.get(key) == mine.get(key) == new.get(key):
            return None
    result = _insert(base, ours, _replaced(base, ours, theirs, was, mine))
    return tuple(line for entry in result for line in lines_of(entry.text))


def _unique(read: Sequence[Entry]) -> dict[bytes, bytes] | None:
    keyed = [(one.key, one.text) for one in read if one.key is not None]
    found = dict(keyed)
    return found if len(found) == len(keyed) else None


def _one_side(base: bytes | None, ours: bytes | None, theirs: bytes | None) -> bool:
    return ours == theirs or base in (ours, theirs)


def _replaced(
    base: Sequence[Entry],
    ours: Sequence[Entry],
    theirs: Sequence[Entry],
    was: Mapping[bytes, bytes],
    mine: Mapping[bytes, bytes],
) -> list[Entry]:
    """Theirs, without what we removed and with our words or value where we changed one."""
    gone, words = _removed_comments(base, ours), _reworded(base, ours)
    new = {*was, *(one.key for one in theirs)}
    result = []
    for entry in theirs:
        if entry.key is None:
            if entry.text in gone:
                gone.remove(entry.text)
                result += [one for one in words.pop(entry.text, ()) if one.key is None or one.key not in new]
            else:
                result.append(entry)
        elif entry.key in mine:
            result.append(Entry(entry.key, _merged(entry, was, mine)))
        elif entry.key not in was:
            result.append(entry)
    return result


def _merged(entry: Entry, was: Mapping[bytes, bytes], mine: Mapping[bytes, bytes]) -> bytes:
    assert entry.key is not None
    return entry.text if mine[entry.key] == was.get(entry.key) else mine[entry.key]


def _removed_comments(base: Sequence[Entry], ours: Sequence[Entry]) -> list[bytes]:
    left = [one.text for one in ours if one.key is None]
    gone = []
    for one in base:
        if one.key is None:
            if one.text in left:
                left.remove(one.text)
            else:
                gone.append(one.text)
    return gone


def _reworded(base: Sequence[Entry], ours: Sequence[Entry]) -> dict[bytes, tuple[Entry, ...]]:
    """Comment of the base -> what stands in its place now: sentences of several lines keep their order, and
    a setting that was proposed comes where it was.
    """
    found: dict[bytes, tuple[Entry, ...]] = {}
    for code, first, last, begin, end in SequenceMatcher(None, base, ours, autojunk=False).get_opcodes():
        if code == "replace" and last - first == end - begin:
            pairs = zip(base[first:last], ours[begin:end], strict=True)
            found |= {old.text: (now,) for old, now in pairs if old.key is None}
    return found


def _insert(base: Sequence[Entry], ours: Sequence[Entry], result: list[Entry]) -> list[Entry]:
    """What we added, each after what it followed in ours."""
    keys = {one.key for one in result if one.key is not None} | {one.key for one in base if one.key}
    codes = SequenceMatcher(None, base, ours, autojunk=False).get_opcodes()
    places = [at for code, _, _, first, last in codes if code != "equal" for at in range(first, last)]
    both = [one.text for one in result if one.key is None]
    for at in places:
        entry = ours[at]
        if entry.key in keys:
            continue
        if entry.key is None and entry.text in both:
            both.remove(entry.text)
            continue
        before = (_place(one, result) for one in reversed(ours[:at]))
        result.insert(next((there + 1 for there in before if there is not None), 0), entry)
    return result


def _place(entry: Entry, result: Sequence[Entry]) -> int | None:
    """Where it is; a setting is found by its key, since what comes after it may use its value."""
    for at, one in enumerate(result):
        if one == entry or (entry.key is not None and one.key == entry.key):
            return at
    return None
