"""Whether the distfiles of packages may be fetched, and where a person would look for them."""

from typing import Any

import portage  # type: ignore[import-not-found]

ebuilds = portage.db[portage.root]["porttree"].dbapi


def about(name: str) -> dict[str, Any]:
    cpv, _, repository = name.partition("::")
    try:
        restrict, homepage = ebuilds.aux_get(cpv, ["RESTRICT", "HOMEPAGE"], myrepo=repository or None)
    except KeyError:
        return {}
    return {"restricted": "fetch" in restrict.split(), "homepage": homepage}


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`cpvs`, each perhaps with ::repository. Gives restricted and homepage of those that are there."""
    return {name: about(name) for name in arguments["cpvs"]}
