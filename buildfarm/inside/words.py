"""What is to be read from the lines that emerge prints for people."""

import re
from collections.abc import Iterator
from typing import Any

LINE = re.compile(r"^\[(ebuild|binary|uninstall)\s+[^\]]*\]\s+(\S+)")
BUILD_ID = re.compile(r"(-[0-9][^-/]*(?:-r[0-9]+)?)-([0-9]+)$")
MISSING = re.compile(r"^!!! masked or don't exist:\n(.+)$", re.MULTILINE)
REBUILDS = re.compile(
    r"^  \((\S+?)(?::[^,]*)?, [^)]*\) causes rebuilds for:\n((?:    \(.*\n?)+)", re.MULTILINE
)
NAMED = re.compile(r"^ +\(([^\s:]+):", re.MULTILINE)


def lines(text: str) -> Iterator[dict[str, Any]]:
    """`[binary   R    ] cat/name-1.2-3:0/4::repository [1.1:0/3::repository] USE="..."`; 3 is a build id."""
    for line in text.splitlines():
        if found := LINE.match(line):
            kind, name = found.groups()
            package, _, repository = name.partition("::")
            cpv = package.partition(":")[0]
            built = BUILD_ID.search(cpv) if kind == "binary" else None
            if built:
                cpv = cpv[: built.start()] + built[1]
            build_id = int(built[2]) if built else None
            yield {"cpv": cpv, "kind": kind, "repository": repository, "build_id": build_id}


def rebuilds(words: str) -> dict[str, list[str]]:
    """Package that is built again -> the packages whose new slot or subslot makes that necessary."""
    found: dict[str, list[str]] = {}
    for child, parents in REBUILDS.findall(words):
        for parent in NAMED.findall(parents):
            found.setdefault(parent, []).append(child)
    return found


def missing(text: str) -> set[str]:
    """Atoms of the world that emerge skips."""
    return {atom for found in MISSING.findall(text) for atom in found.split()}
