"""What each ebuild is made of, and the files of the make.profile chain."""

import hashlib
import os
from typing import Any

import portage  # type: ignore[import-not-found]

trees = portage.db[portage.root]
settings = trees["vartree"].settings
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


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`cpvs`. Gives profile and ebuilds; an ebuild that is not there is empty."""
    return {"profile": profile(), "ebuilds": {cpv: sources(cpv) for cpv in arguments["cpvs"]}}
