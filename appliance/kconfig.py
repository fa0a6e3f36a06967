"""What a kernel configuration asks for, what of it a final one lacks, and which dependency is to blame.

Standard library only and nothing of ours: the ebuild that builds a kernel from sources runs this very file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

NOT_SET = re.compile(r"#\s*CONFIG_([A-Za-z0-9_]+) is not set\s*")
ASSIGNED = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.*)")
TRISTATE = re.compile(r"([ymn])(\s.*)?")
NUMBER = re.compile(r"-?[0-9]+|0[xX][0-9a-fA-F]+")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(#.*)?')


@dataclass(frozen=True)
class Missing:
    """A symbol that is not what was asked for."""

    symbol: str
    """Without CONFIG_."""
    wanted: str
    got: str
    """`n` for a symbol that is not there at all."""

    def __str__(self) -> str:
        return f"CONFIG_{self.symbol} is {self.got}, wanted {self.wanted}"


def parse(text: str) -> dict[str, str]:
    """Symbol -> y, m, n, a number or a text in quotes; the last line about a symbol wins, as in kconfig."""
    found = {}
    for line in text.splitlines():
        if assignment := _assignment(line):
            found[assignment[0]] = assignment[1]
    return found


def mistakes(text: str) -> list[tuple[int, str]]:
    """Lines, counted from 1, that are neither option nor comment; kconfig passes over them in silence."""
    return [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#") and not _assignment(line)
    ]


def missing_symbols(wanted_text: str, final_text: str) -> list[Missing]:
    """The requests that the final configuration does not fulfil, in the order they were made.

    `y` asks for built in and nothing else will do, since there may be no initramfs to load a module from. `m`
    asks for the driver: built in is as good. `n`, `is not set` and an empty text are fulfilled by a symbol
    that is not there. Numbers are compared as numbers, texts byte by byte.
    """
    final = parse(final_text)
    return [
        Missing(symbol, wanted, final.get(symbol, "n"))
        for symbol, wanted in parse(wanted_text).items()
        if not _fulfils(final.get(symbol), wanted)
    ]


def _assignment(line: str) -> tuple[str, str] | None:
    if unset := NOT_SET.fullmatch(line.strip()):
        return unset[1], "n"
    found = ASSIGNED.fullmatch(line.strip())
    if not found:
        return None
    symbol, value = found[1], found[2].strip()
    if text := TEXT.fullmatch(value):
        return symbol, f'"{text[1]}"'
    if tristate := TRISTATE.fullmatch(value):  # kconfig reads the first letter only (confdata.c)
        return symbol, tristate[1]
    word = value.partition("#")[0].strip()
    return (symbol, word) if NUMBER.fullmatch(word) else None


def _fulfils(got: str | None, wanted: str) -> bool:
    if got is None:
        return wanted in ("n", '""')
    if wanted == "m":
        return got in ("m", "y")
    if NUMBER.fullmatch(wanted) and NUMBER.fullmatch(got):
        return _number(wanted) == _number(got)
    return got == wanted


def _number(word: str) -> int:
    return int(word, 16) if word[:2] in ("0x", "0X") else int(word)


# Kconfig files: https://www.kernel.org/doc/html/latest/kbuild/kconfig-language.html

WORD = re.compile(
    r'\s*(&&|\|\||!=|<=|>=|[=<>!()]|"[^"]*"|\'[^\']*\'|[A-Za-z0-9_.$()\-/]+?(?=[\s=!<>()&|]|$))'
)
OPENS = re.compile(r"(config|menuconfig)\s+([A-Za-z0-9_]+)")
SOURCE = re.compile(r'[or]*source\s+"?([^"\s]+)"?')
DEPTH = 64


@dataclass
class _Block:
    """An `if`, `menu` or `choice` and the conditions it puts on everything inside."""

    kind: str
    conditions: list[str] = field(default_factory=list)


def dependencies(read: Mapping[str, str], *, arch: str, top: str = "Kconfig") -> dict[str, list[list[str]]]:
    """Symbol -> for each of its definitions the conditions that must all hold.

    `read` has the text of Kconfig files by name relative to the sources. What it lacks is passed over: this
    is for explaining, kconfig itself decides.
    """
    found: dict[str, list[list[str]]] = {}
    blocks: list[_Block] = []
    current: list[str] | None = None
    for line in _lines(read, top, arch, 0):
        word, _, rest = line.partition(" ")
        opened = OPENS.match(line)
        if opened:
            current = [condition for block in blocks for condition in block.conditions]
            found.setdefault(opened[2], []).append(current)
        elif word in ("menu", "choice", "if"):
            blocks.append(_Block(word, [rest.strip()] if word == "if" else []))
            current = blocks[-1].conditions if word != "if" else None
        elif word in ("endmenu", "endchoice", "endif"):
            if blocks:
                blocks.pop()
            current = None
        elif line.startswith("depends on ") and current is not None:
            current.append(line.removeprefix("depends on ").strip())
        elif word == "comment":
            current = None
    return found


def _lines(read: Mapping[str, str], name: str, arch: str, depth: int) -> Iterator[str]:
    """The statements of a file and of those it sources, without help texts and comments."""
    if name not in read or depth > DEPTH:
        return
    joined = read[name].replace("\\\n", " ")
    help_indent: int | None = None
    in_help = False
    for raw in joined.splitlines():
        line = raw.expandtabs().rstrip()
        indent = len(line) - len(line.lstrip())
        if in_help:
            if not line:
                continue
            help_indent = indent if help_indent is None else help_indent
            if indent >= help_indent and indent > 0:
                continue
            in_help = False
        text = " ".join(line.split())
        if text.startswith(("depends on ", "if ")):
            text = text.partition(" #")[0]
        if text in ("help", "---help---"):
            in_help, help_indent = True, None
        elif sourced := SOURCE.match(text):
            place = sourced[1].replace("$(SRCARCH)", arch).replace("$SRCARCH", arch)
            yield from _lines(read, place, arch, depth + 1)
        elif text and not text.startswith("#"):
            yield text


def unmet(symbol: str, definitions: Mapping[str, list[list[str]]], final: Mapping[str, str]) -> list[str]:
    """Conditions of a symbol that the final configuration does not meet; empty: none was found.

    A symbol that is defined in several places is explained by the definition that lacks least.
    """
    lacking: list[list[str]] = []
    for conditions in definitions.get(symbol, []):
        parts = [part for condition in conditions for part in _conjuncts(condition)]
        lacking.append([part for part in parts if _holds(part, final) is False])
    least = min(lacking, key=len, default=[])
    return list(dict.fromkeys(least))


def explain(missing: Missing, definitions: Mapping[str, list[list[str]]], final: Mapping[str, str]) -> str:
    """One sentence: what was wanted, what came and, when it can be found, why."""
    if not definitions:
        return str(missing)
    if missing.symbol not in definitions:
        return f"{missing}: these sources know no such symbol"
    lacking = unmet(missing.symbol, definitions, final) if missing.wanted != "n" else []
    return f"{missing}: it depends on {', '.join(lacking)}" if lacking else str(missing)


def _conjuncts(expression: str) -> list[str]:
    """`A && (B || C)` -> [`A`, `(B || C)`]; split at the outermost && only."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(expression):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and expression.startswith("||", at):
            return [expression.strip()]
        if depth == 0 and expression.startswith("&&", at):
            parts.append(expression[start:at].strip())
            start = at + 2
    return [part for part in (*parts, expression[start:].strip()) if part]


def _holds(expression: str, final: Mapping[str, str]) -> bool | None:
    """Is it m or y under this configuration? None when the expression cannot be read."""
    words = WORD.findall(expression)
    if "".join(words) != "".join(expression.split()) or "$" in expression:
        return None
    try:
        value, rest = _either(words, final)
    except (IndexError, ValueError):
        return None
    return value > 0 if not rest else None


# The three values of kconfig are 0, 1, 2: && is the lesser, || the greater, ! is 2 minus.
LEVEL = {"n": 0, "m": 1, "y": 2}


def _either(words: list[str], final: Mapping[str, str]) -> tuple[int, list[str]]:
    value, rest = _both(words, final)
    while rest and rest[0] == "||":
        other, rest = _both(rest[1:], final)
        value = max(value, other)
    return value, rest


def _both(words: list[str], final: Mapping[str, str]) -> tuple[int, list[str]]:
    value, rest = _single(words, final)
    while rest and rest[0] == "&&":
        other, rest = _single(rest[1:], final)
        value = min(value, other)
    return value, rest


def _single(words: list[str], final: Mapping[str, str]) -> tuple[int, list[str]]:
    word, rest = words[0], words[1:]
    if word == "!":
        value, rest = _single(rest, final)
        return 2 - value, rest
    if word == "(":
        value, rest = _either(rest, final)
        if rest[0] != ")":
            raise ValueError(rest[0])
        return value, rest[1:]
    if rest and rest[0] in ("=", "!="):
        same = _plain(word, final) == _plain(rest[1], final)
        return (2 if same == (rest[0] == "=") else 0), rest[2:]
    if rest and rest[0] in ("<", ">", "<=", ">="):
        raise ValueError(rest[0])
    return LEVEL.get(_plain(word, final), 0), rest


def _plain(word: str, final: Mapping[str, str]) -> str:
    """The value of a symbol, or of a constant."""
    if word[:1] in ("'", '"'):
        return word[1:-1]
    if word in LEVEL or NUMBER.fullmatch(word):
        return word
    return final.get(word, "n").strip('"')
