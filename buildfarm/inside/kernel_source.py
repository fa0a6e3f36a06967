"""Which version of the kernel's sources Portage would take, and which tools the repositories have."""

from typing import Any

import portage  # type: ignore[import-not-found]
from portage.dep import Atom  # type: ignore[import-not-found]
from portage.exception import InvalidAtom  # type: ignore[import-not-found]

trees = portage.db[portage.root]
ebuilds = trees["porttree"].dbapi


def choice(text: str) -> dict[str, str]:
    try:
        atom = Atom(text, allow_repo=True)
    except InvalidAtom:
        return {"state": "invalid"}
    best = ebuilds.xmatch("bestmatch-visible", atom)
    if best:
        return {"state": "available", "cpv": str(best), "license": ebuilds.aux_get(best, ["LICENSE"])[0]}
    return {"state": "masked" if ebuilds.xmatch("match-all", atom) else "absent"}


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`atom`, `tools`: category/name. Gives state, cpv, license and the tools that are visible."""
    tools = [name for name in arguments["tools"] if ebuilds.xmatch("bestmatch-visible", Atom(name))]
    return {**choice(arguments["atom"]), "tools": tools}
