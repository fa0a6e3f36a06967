"""REQUIRED_USE as emerge shows it to people: does it hold, and which flags would make it hold."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import combinations

TOKEN = re.compile(r"\(|\)|[^\s()]+")
SHOWN = re.compile(r'([A-Z0-9_]+)="([^"]*)"')
MAX_CHANGES = 2
MAX_FLAGS = 40
Group = Callable[[Sequence[bool]], bool]
GROUPS: Mapping[str, Group] = {
    "any-of": lambda held: any(held) or not held,
    "exactly-one-of": lambda held: sum(held) == 1 or not held,
    "at-most-one-of": lambda held: sum(held) <= 1,
    "all-of": all,
}


def flags(shown: str) -> tuple[dict[str, bool], set[str]]:
    """From `USE="a -b (c%)" PYTHON_TARGETS="-python3_12"`: flag -> is it set; and what cannot be changed."""
    found: dict[str, bool] = {}
    forced = set()
    for variable, text in SHOWN.findall(shown):
        prefix = "" if variable == "USE" else f"{variable.lower()}_"
        for word in text.split():
            plain = word.strip("(){}").rstrip("%*")
            name = prefix + plain.lstrip("-")
            found[name] = not plain.startswith("-")
            if word.startswith("("):
                forced.add(name)
    return found, forced


def holds(expression: str, is_set: Mapping[str, bool]) -> bool:
    tokens = iter(TOKEN.findall(expression))
    return all(_members(tokens, is_set))


def _members(tokens: Iterator[str], is_set: Mapping[str, bool]) -> list[bool]:
    """What each part holds, up to the closing bracket."""
    held = []
    for token in tokens:
        if token == ")":
            break
        if token == "(":
            held.append(all(_members(tokens, is_set)))
        elif token in GROUPS:
            next(tokens, "")
            held.append(GROUPS[token](_members(tokens, is_set)))
        elif token.endswith("?"):
            next(tokens, "")
            inner = _members(tokens, is_set)
            held.append(not _is(token[:-1], is_set) or all(inner))
        else:
            held.append(_is(token, is_set))
    return held


def _is(flag: str, is_set: Mapping[str, bool]) -> bool:
    wanted = not flag.startswith("!")
    return is_set.get(flag.lstrip("!"), False) is wanted


def solve(expression: str, is_set: Mapping[str, bool], forced: Collection[str] = ()) -> list[str]:
    """The fewest words for package.use that make it hold, setting flags before unsetting; [] when none do."""
    words = TOKEN.findall(expression)
    names = dict.fromkeys(word.strip("!?") for word in words)
    conditions = {word.strip("!?") for word in words if word.endswith("?")}
    free = [name for name in names if name in is_set and name not in forced][:MAX_FLAGS]
    # What stands before a `?` is what somebody chose; what follows from it is rather what was forgotten.
    free.sort(key=lambda name: (is_set[name], name in conditions))
    for count in range(1, MAX_CHANGES + 1):
        for some in combinations(free, count):
            if holds(expression, {**is_set, **{name: not is_set[name] for name in some}}):
                return [f"-{name}" if is_set[name] else name for name in some]
    return []
