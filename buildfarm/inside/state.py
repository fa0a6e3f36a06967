"""What is installed in this root, what its configuration says, and what became of each wanted atom."""

import json
import os
from typing import Any

import portage  # type: ignore[import-not-found]
from portage.dep import Atom, match_from_list  # type: ignore[import-not-found]
from portage.exception import InvalidAtom  # type: ignore[import-not-found]

HEADER = """
    ACCEPT_KEYWORDS ACCEPT_LICENSE ACCEPT_PROPERTIES ACCEPT_RESTRICT ARCH CBUILD CHOST CONFIG_PROTECT
    CONFIG_PROTECT_MASK ELIBC INSTALL_MASK IUSE_IMPLICIT KERNEL USE USE_EXPAND USE_EXPAND_HIDDEN
    USE_EXPAND_IMPLICIT USE_EXPAND_UNPREFIXED
"""
REGISTRY = "var/lib/portage/preserved_libs_registry"
trees = portage.db[portage.root]
settings = trees["vartree"].settings
vartree = trees["vartree"].dbapi
ebuilds = trees["porttree"].dbapi


def header() -> dict[str, str]:
    names = [
        *HEADER.split(),
        *(f"USE_EXPAND_VALUES_{n}" for n in settings.get("USE_EXPAND_IMPLICIT", "").split()),
    ]
    return {name: settings[name] for name in names if settings.get(name)}


def installed() -> list[dict[str, str]]:
    keys = ["BUILD_ID", "BUILD_TIME", "SLOT"]
    rows = [(str(cpv), *vartree.aux_get(cpv, keys)) for cpv in vartree.cpv_all()]
    return [dict(zip(["CPV", *keys], row, strict=True)) for row in rows]


def system() -> list[str]:
    return [atom.lstrip("*") for atom in settings.packages if atom.startswith("*")]


def atom_state(text: str) -> str:
    """`installed`, `provided`, `available`, `masked`, `absent` or `invalid`."""
    try:
        atom = Atom(text, allow_repo=True)
    except InvalidAtom:
        return "invalid"
    if vartree.match(atom):
        return "installed"
    if match_from_list(atom, settings.pprovideddict.get(atom.cp, [])):
        return "provided"
    if ebuilds.xmatch("bestmatch-visible", atom):
        return "available"
    return "masked" if ebuilds.xmatch("match-all", atom) else "absent"


def preserved() -> list[str]:
    """Old libraries that Portage kept because something still uses them; its registry is JSON."""
    try:
        with open(os.path.join(settings["EROOT"], REGISTRY)) as file:  # noqa: PTH118,PTH123
            registry = json.load(file)
    except (OSError, ValueError):  # none was ever made, or it is an empty lock file
        return []
    kept = {path for _, _, paths in registry.values() for path in paths}
    return sorted(path for path in kept if os.path.lexists(path))


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`world`: atoms. Gives header, installed, preserved and atoms (of world and system)."""
    wanted = {"world": arguments["world"], "system": system()}
    states = {kind: {atom: atom_state(atom) for atom in some} for kind, some in wanted.items()}
    return {"header": header(), "installed": installed(), "preserved": preserved(), "atoms": states}
