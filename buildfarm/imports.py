"""Which modules a Python program loads, read from sources of any version and for any processor; none runs."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator

Finder = Callable[[str], tuple[str, bool] | None]
"""The source of a module by its dotted name ("" of a compiled one) and whether it is a package; or None."""
# Where the sources are newer than the Python that reads them: every line that looks like an import counts.
LOOKS_LIKE = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+(.*)|import[ \t]+(.*))$", re.MULTILINE
)


def closure(names: Iterable[str], find: Finder) -> frozenset[str]:
    """These modules and all that loading them loads; names without a file are built in, or not there."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        parts = name.split(".")
        for whole in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            if whole in found:
                continue
            file = find(whole)
            if file is None:
                break
            found.add(whole)
            source, package = file
            pending += imported(source, whole, package=package)
    return frozenset(found)


def imported(source: str, name: str, *, package: bool) -> Iterator[str]:
    """What a module names when it is loaded: not what its functions import when they are called."""
    try:
        nodes = list(_at_load(ast.parse(source).body))
    except SyntaxError:
        for come, what, plain in LOOKS_LIKE.findall(source):
            if come:
                level = len(come) - len(come.lstrip("."))
                yield from _from(come.lstrip("."), level, re.findall(r"\w+", what), name, package=package)
            else:
                yield from (one.split()[0] for one in plain.split(",") if one.split())
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            yield from _from(node.module or "", node.level, names, name, package=package)


def _at_load(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_load(ast.iter_child_nodes(node))


def _from(module: str, level: int, names: Iterable[str], name: str, *, package: bool) -> Iterator[str]:
    """`from MODULE import NAMES` in a module `name`: any of the names may be a module, too."""
    parts = name.split(".")
    up = level - 1 if package else level
    home = parts[: len(parts) - up] if level else []
    base = ".".join([*home, *([module] if module else [])])
    if base:
        yield base
        yield from (f"{base}.{one}" for one in names)
