"""Asks Portage inside a root and prints one JSON object; sent in as text, run by the root's own Python.

Called as `python3 -c TEXT WHAT [ARGUMENT ...]`. Only documented or long-stable names of Portage are used
(portage.db, dbapi.aux_get, match, xmatch, getFetchMap, settings.profiles); everything else is in portage.py.
"""

import hashlib
import json
import os
import sys
from typing import Any

import portage  # type: ignore[import-not-found]
from portage.dep import Atom, match_from_list  # type: ignore[import-not-found]
from portage.exception import InvalidAtom  # type: ignore[import-not-found]

HEADER = """
    ACCEPT_KEYWORDS ACCEPT_LICENSE ACCEPT_PROPERTIES ACCEPT_RESTRICT ARCH CBUILD CHOST CONFIG_PROTECT
    CONFIG_PROTECT_MASK ELIBC INSTALL_MASK IUSE_IMPLICIT KERNEL USE USE_EXPAND USE_EXPAND_HIDDEN
    USE_EXPAND_IMPLICIT USE_EXPAND_UNPREFIXED
"""
trees = portage.db[portage.root]
settings = trees["vartree"].settings
vartree = trees["vartree"].dbapi
ebuilds = trees["porttree"].dbapi


def sha256(path: str) -> str:
    with open(path, "rb") as source:  # noqa: PTH123
        return hashlib.sha256(source.read()).hexdigest()


def below(top: str) -> dict[str, str]:
    found = {}
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            found[os.path.relpath(path, top)] = sha256(path)
    return found


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


def profile() -> dict[str, str]:
    files = {}
    for number, place in enumerate(settings.profiles):
        if not place.startswith("/etc/portage"):
            files.update({f"{number}/{name}": value for name, value in below(place).items()})
    return files


def sources(cpv: str) -> dict[str, Any]:
    ebuild = ebuilds.findname(cpv)
    if not ebuild:
        return {}
    place = os.path.dirname(ebuild)  # noqa: PTH120
    wanted = set(ebuilds.getFetchMap(cpv))
    manifest = os.path.join(place, "Manifest")  # noqa: PTH118
    lines = open(manifest).read().splitlines() if os.path.exists(manifest) else []  # noqa: PTH110,PTH123,SIM115
    eclasses = ebuilds.repositories.get_repo_for_location(os.path.dirname(os.path.dirname(place)))  # noqa: PTH120
    inherited = ebuilds.aux_get(cpv, ["INHERITED"])[0].split()
    return {
        "ebuild": sha256(ebuild),
        "files": below(os.path.join(place, "files")),  # noqa: PTH118
        "eclasses": {name: sha256(eclasses.eclass_db.eclasses[name].location) for name in inherited},
        "distfiles": [line for line in lines if line[:5] == "DIST " and line.split()[1] in wanted],
    }


def main(what: str, arguments: list[str]) -> dict[str, Any]:
    if what == "state":
        atoms = {"world": arguments, "system": system()}
        states = {kind: {atom: atom_state(atom) for atom in some} for kind, some in atoms.items()}
        return {"header": header(), "installed": installed(), "atoms": states}
    if what == "sources":
        return {"profile": profile(), "ebuilds": {cpv: sources(cpv) for cpv in arguments}}
    raise SystemExit(f"unknown question {what}")


json.dump(main(sys.argv[1], sys.argv[2:]), sys.stdout)
