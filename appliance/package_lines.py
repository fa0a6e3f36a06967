"""The lines of `world` and of Portage's package.* files: what Portage would pass over is a mistake. Pure.

Portage prints a line about an atom that it does not understand, goes on, and a machine lacks what was meant.
The grammar: PMS 3.1 and 8.3, portage(5), and portage.dep.Atom with the wildcards of a user's configuration.
"""

import re
from collections.abc import Callable, Iterator

CATEGORY = r"[A-Za-z0-9_][A-Za-z0-9_+.-]*"
VERSION = r"[0-9]+(?:\.[0-9]+)*[a-z]?(?:_(?:pre|p|beta|alpha|rc)[0-9]*)*(?:-r[0-9]+)?"
NAME = r"[A-Za-z0-9_][A-Za-z0-9_+-]*?"
SLOT = r"[A-Za-z0-9_][A-Za-z0-9_+.-]*"
PLACE = rf"(?::(?:{SLOT}(?:/{SLOT})?=?|[*=]))?(?:::[A-Za-z0-9_][A-Za-z0-9_-]*)?"
FLAG = r"[A-Za-z0-9][A-Za-z0-9+_@-]*"
WANTED = rf"(?:-?{FLAG}(?:\([+-]\))?|!?{FLAG}(?:\([+-]\))?[?=])"

PLAIN = re.compile(rf"({CATEGORY}/{NAME}){PLACE}")
VERSIONED = re.compile(rf"(?:[<>]=?|=|~)({CATEGORY}/{NAME})-{VERSION}(-(?:0|[1-9][0-9]*))?{PLACE}")
"""The second group is the number of a binary package's build."""
PREFIX = re.compile(rf"=({CATEGORY}/{NAME})-{VERSION}\*{PLACE}")
WILD_NAME = r"[A-Za-z0-9_+*][A-Za-z0-9_+.*-]*/[A-Za-z0-9_+*][A-Za-z0-9_+*-]*?"
WILD = re.compile(rf"({WILD_NAME}){PLACE}")
WILD_VERSION = re.compile(rf"=({WILD_NAME})-\*[A-Za-z0-9_]+\*{PLACE}")
NEEDS = re.compile(rf"(.+?)\[{WANTED}(?:,{WANTED})*\]")
ENDS_IN_VERSION = re.compile(rf".*-{VERSION}")

SET = re.compile(r"@[A-Za-z0-9_.@/+-]+")
USE = re.compile(FLAG)
EXPANDED = re.compile(r"[A-Za-z][A-Za-z0-9_]*:")
KEYWORD = re.compile(r"-?(?:[~]?[A-Za-z0-9_][A-Za-z0-9_-]*|\*\*|~\*|\*)")
LICENSE = re.compile(r"-?(?:@?[A-Za-z0-9_][A-Za-z0-9_+.-]*|\*)")
KEYWORDS = "a keyword such as amd64, ~amd64, -amd64 or **"
LICENSES = "a licence, a group such as @FREE, each perhaps with - before it, or *"
EXAMPLES = "expected CATEGORY/NAME, or =CATEGORY/NAME-VERSION, each perhaps with :SLOT and ::REPOSITORY"
LINES = re.compile(r"portage/package\.(use|mask|unmask|accept_keywords|license)((?:/[^/]+)*)")


def is_atom(text: str, *, wild: bool = False, build: bool = True) -> bool:
    """Whether Portage takes it as an atom; `wild`: as /etc/portage may have it; `build`: with its number."""
    needs = NEEDS.fullmatch(text)
    bare = needs[1] if needs else text
    found = PLAIN.fullmatch(bare) or PREFIX.fullmatch(bare)
    if found is None:
        found = VERSIONED.fullmatch(bare)
        if found and found[2] and not build:
            return False
    if found and not ENDS_IN_VERSION.fullmatch(found[1]):
        return True
    if not wild or needs:
        return False
    found = WILD_VERSION.fullmatch(bare) or WILD.fullmatch(bare)
    return found is not None and "**" not in text and not ENDS_IN_VERSION.fullmatch(found[1])


def is_checked(name: str) -> bool:
    """Whether a profile's file, named below its directory, is one whose lines mistakes() knows."""
    found = LINES.fullmatch(name)
    # Portage reads neither hidden files of a directory nor an editor's copies.
    return name == "world" or bool(
        found and not any(one.startswith(".") or one.endswith("~") for one in found[2].split("/"))
    )


def mistakes(name: str, text: str) -> list[tuple[int, str]]:
    """(line, what is wrong with it) of a file that is_checked()."""
    found = LINES.fullmatch(name)
    return list(_of_lines(text, RULES[found[1]] if found else _world))


def _of_lines(text: str, rule: Callable[[list[str]], Iterator[str]]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        comment = next((n for n, word in enumerate(words) if word.startswith("#")), len(words))
        if words[:comment]:
            yield from ((number, said) for said in rule(words[:comment]))


def _world(words: list[str]) -> Iterator[str]:
    # A comment may follow an atom at once there: it is this reader's file, not Portage's.
    said = " ".join(words).partition("#")[0].strip()
    atom = said.removeprefix("-")
    if not (SET.fullmatch(atom) or is_atom(atom)):
        yield f"{EXAMPLES}, or a set such as @kde, got {said!r}"


def _atom(text: str, *, build: bool = True) -> Iterator[str]:
    if not is_atom(text, wild=True, build=build):
        yield f"{EXAMPLES}, or with * in the names, got {text!r}"


def _use(words: list[str]) -> Iterator[str]:
    yield from _atom(words[0])
    if words[0].endswith("]"):  # Portage does not take that here
        yield f"the flags stand after the atom, not in brackets, got {words[0]!r}"
    prefix = ""
    for word in words[1:]:
        if word.endswith(":"):
            if not EXPANDED.fullmatch(word):
                yield f"expected a variable such as PYTHON_TARGETS:, got {word!r}"
            prefix = f"{word[:-1].lower()}_"
        elif word not in ("*", "-*") and not USE.fullmatch(prefix + word.removeprefix("-")):
            yield f"expected a USE flag such as lua or -lua, got {word!r}"
    yield from _something(words, "a USE flag")


def _mask(words: list[str]) -> Iterator[str]:
    if len(words) > 1:
        yield f"expected one atom on the line, got {' '.join(words)!r}"
    yield from _atom(words[0].removeprefix("-"))


def _keywords(words: list[str]) -> Iterator[str]:
    yield from _atom(words[0])
    yield from (f"expected {KEYWORDS}, got {one!r}" for one in words[1:] if not KEYWORD.fullmatch(one))


def _license(words: list[str]) -> Iterator[str]:
    yield from _atom(words[0], build=False)
    yield from (f"expected {LICENSES}, got {one!r}" for one in words[1:] if not LICENSE.fullmatch(one))
    yield from _something(words, "a licence")


def _something(words: list[str], what: str) -> Iterator[str]:
    if len(words) == 1:
        yield f"expected {what} after the atom, got nothing"


RULES = {
    "use": _use,
    "mask": _mask,
    "unmask": _mask,
    "accept_keywords": _keywords,
    "license": _license,
}
