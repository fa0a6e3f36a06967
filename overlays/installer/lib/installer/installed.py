"""Run inside the target: is every atom of the sets installed as a package of the release?

Called as `installed.py LIST SET ...`; LIST names the release's packages as category/PF-BUILDID, one a line.
Prints `complete: ...` last when it is so.
"""

import sys
from pathlib import Path

import portage
from portage._sets import load_default_config

PARTS = 5


def instance(cpv: str, vardb) -> str:
    """category/PF-BUILDID of an installed package."""
    (build_id,) = vardb.aux_get(cpv, ["BUILD_ID"])
    return f"{cpv}-{build_id}" if build_id else str(cpv)


def atoms(names: list[str], settings, trees) -> list[str]:
    sets = load_default_config(settings, trees)
    found: set[str] = set()
    for name in names:
        if name.startswith("@"):
            pending = [name[1:]]
            while pending:
                members = sets.getSets()[pending.pop()]
                found.update(str(atom) for atom in members.getAtoms())
                pending += [word[1:] for word in members.getNonAtoms() if word.startswith("@")]
        else:
            found.add(name)
    return sorted(found)


def main() -> int:
    release = set(Path(sys.argv[1]).read_text().split())
    trees = portage.db[portage.root]
    vardb, settings = trees["vartree"].dbapi, trees["vartree"].settings
    installed = {instance(cpv, vardb) for cpv in vardb.cpv_all()}
    provided = list(settings.pprovideddict.values())
    given = [cpv for group in provided for cpv in group]
    wrong = 0
    for atom in atoms(sys.argv[2:], settings, trees):
        if portage.dep.match_from_list(atom, given):
            continue
        found = [instance(cpv, vardb) for cpv in vardb.match(atom)]
        if not found:
            print(f"{atom} is not installed")
            wrong += 1
        elif not release.intersection(found):
            print(f"{atom} is installed as {' '.join(found)}, which is not of the release")
            wrong += 1
    for name in sorted(installed - release):
        print(f"{name} came with the stage and is not of the release")
    if wrong:
        print(f"{wrong} atoms are missing; of the release but not installed:")
        print(*sorted(release - installed))
        return 1
    print(f"complete: {len(installed & release)} of {len(release)} packages of the release are installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
