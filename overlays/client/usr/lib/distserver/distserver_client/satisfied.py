"""Says which atoms of @system and @world no package of the release satisfies, and libraries that are kept.

Run by the machine's own Python, in the namespace of an update: it imports Portage. Called as
`satisfied.py LIST`, LIST being the release's packages as category/PF-BUILDID, one a line.
"""

import json
import sys
from pathlib import Path
from typing import Any

SETS = ("system", "world")
COMPLETE = "looked at all"
REGISTRY = "var/lib/portage/preserved_libs_registry"


def main() -> int:
    import portage  # type: ignore[import-not-found]

    release = set(Path(sys.argv[1]).read_text().split())
    trees = portage.db[portage.root]
    vardb = trees["vartree"].dbapi
    settings = trees["vartree"].settings
    given = [cpv for group in settings.pprovideddict.values() for cpv in group]
    for atom in atoms(settings, trees):
        if portage.dep.match_from_list(atom, given):
            continue
        found = [instance(cpv, vardb) for cpv in vardb.match(atom)]
        if not found:
            print(f"- {atom} is not installed")
        elif not release.intersection(found):
            print(f"- {atom} is installed as {' '.join(found)}, which is not of the release")
    for path in preserved(Path(settings["EROOT"])):
        print(f"- {path} is an old library that something still uses")
    print(COMPLETE)
    return 0


def atoms(settings: Any, trees: Any) -> list[str]:
    """Of the sets and of the sets they name."""
    from portage._sets import load_default_config  # type: ignore[import-not-found]

    sets = load_default_config(settings, trees)
    known, pending, found = sets.getSets(), list(SETS), set[str]()
    while pending:
        members = known[pending.pop()]
        found.update(str(atom) for atom in members.getAtoms())
        pending += [word[1:] for word in members.getNonAtoms() if word.startswith("@")]
    return sorted(found)


def instance(cpv: Any, vardb: Any) -> str:
    """category/PF-BUILDID of an installed package."""
    (build_id,) = vardb.aux_get(cpv, ["BUILD_ID"])
    return f"{cpv}-{build_id}" if build_id else str(cpv)


def preserved(root: Path) -> list[str]:
    """Old libraries that Portage kept because something still uses them; its registry is JSON."""
    try:
        registry = json.loads((root / REGISTRY).read_text())
    except (OSError, ValueError):  # none was ever made, or it is an empty lock file
        return []
    return sorted(path for _, _, paths in registry.values() for path in paths)


if __name__ == "__main__":
    sys.exit(main())
