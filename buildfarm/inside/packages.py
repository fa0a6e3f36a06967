"""What Portage's documented API says of packages: for who completes or explains what a resolver chose."""

import functools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import portage  # type: ignore[import-not-found]
from portage.dep import Atom, match_from_list, use_reduce  # type: ignore[import-not-found]
from portage.exception import InvalidAtom  # type: ignore[import-not-found]
from portage.versions import catpkgsplit, cpv_getkey, vercmp  # type: ignore[import-not-found]

Row = dict[str, Any]

BUILT_SLOT = re.compile(r":[^=\[\s]*=(?=[\[\s]|$)")
DEPENDENCIES = ("DEPEND", "BDEPEND", "IDEPEND", "RDEPEND", "PDEPEND")
METADATA = (
    *("EAPI", "IUSE", "KEYWORDS", "LICENSE", "PROPERTIES", "RESTRICT", "SLOT", "SRC_URI", "repository"),
    *("DEFINED_PHASES", "INHERITED", "REQUIRED_USE", *DEPENDENCIES),
)


def databases() -> Any:
    return portage.db[portage.root]


def of_binary(row: Row) -> tuple[dict[str, str], set[str]]:
    binaries = databases()["bintree"].dbapi
    found = binaries.match(f"={row['cpv']}")
    instance = next((one for one in found if one.build_id == row["build_id"]), found[-1])
    names = [*METADATA, "USE", "BUILD_TIME"]
    values = dict(zip(names, binaries.aux_get(instance, names), strict=True))
    return values, set(values["USE"].split())


def of_ebuild(row: Row) -> tuple[dict[str, str], set[str]]:
    trees = databases()
    found = trees["porttree"].dbapi.aux_get(row["cpv"], METADATA, myrepo=row["repository"] or None)
    values = dict(zip(METADATA, found, strict=True))
    settings = private_settings()
    settings.setcpv(row["cpv"], mydb=values)
    return values, set(settings["PORTAGE_USE"].split())


@functools.cache
def private_settings() -> Any:
    """A copy, because setcpv() changes it; making one for each package would take seconds."""
    return portage.config(clone=databases()["vartree"].settings)


def needs(text: str, use: Iterable[str], eapi: str, earlier: Sequence[Row]) -> set[str]:
    """The earlier rows a dependency string takes; of an any-of group those of its first alternative there."""
    options = {"eapi": eapi, "is_valid_flag": bool, "token_class": Atom, "opconvert": True}
    return taken(use_reduce(text, uselist=use, **options), earlier) or set()


def taken(part: Any, earlier: Sequence[Row]) -> set[str] | None:
    """None: nothing that is merged earlier fits."""
    if isinstance(part, list) and part[:1] == ["||"]:
        return next(filter(None, (taken(choice, earlier) for choice in part[1:])), None)
    if isinstance(part, list):
        found = [some for some in (taken(each, earlier) for each in part) if some]
        return set().union(*found) or None
    return {row["cpv"] for row in earlier if not part.blocker and fits(part, row)} or None


def fits(atom: Any, row: Row) -> bool:
    slot, _, subslot = row["slot"].partition("/")
    if (atom.slot and atom.slot != slot) or (atom.sub_slot and atom.sub_slot != subslot):
        return False
    return bool(match_from_list(atom.without_use.without_slot, [row["cpv"]]))


def with_subslot(slot: str) -> str:
    return slot if "/" in slot else f"{slot}/{slot}"


def explain(row: Row, rebuilt: dict[str, list[str]]) -> None:
    """Add what the choice replaces and why it is made."""
    vartree = databases()["vartree"].dbapi
    names = [*METADATA, "USE", "BUILD_TIME", "BUILD_ID"]
    there = {
        str(cpv): dict(zip(names, vartree.aux_get(cpv, names), strict=True))
        for cpv in vartree.match(cpv_getkey(row["cpv"]))
    }
    slot = row["slot"].partition("/")[0]
    same = [cpv for cpv, values in there.items() if values["SLOT"].partition("/")[0] == slot]
    replaced = row["cpv"] if row["cpv"] in there else next(iter(same), "")
    row["replaces"] = replaced
    if not there:
        row["reasons"] = ["new"]
    elif not replaced:
        row["reasons"] = ["new slot"]
    elif replaced != row["cpv"]:
        old, new = (catpkgsplit(cpv)[2:] for cpv in (replaced, row["cpv"]))
        row["reasons"] = ["update" if vercmp("-".join(old), "-".join(new)) < 0 else "downgrade"]
    else:
        row["reasons"] = list(again(row, there[replaced], rebuilt)) or ["reinstall"]


def again(row: Row, before: dict[str, str], rebuilt: dict[str, list[str]]) -> Iterator[str]:
    """Why a package is merged that is there already."""
    old_slot = with_subslot(before["SLOT"])
    if old_slot != row["slot"]:
        yield f"slot {old_slot} becomes {row['slot']}"
    if before["repository"] and before["repository"] != row["repository"]:
        yield f"from repository {row['repository']}, was {before['repository']}"
    had = {flag.lstrip("+-") for flag in before["IUSE"].split()}
    was = had & set(before["USE"].split())
    flags = sorted(
        [f"+{flag}" for flag in row["use"] if flag not in was]
        + [f"-{flag}" for flag in row["disabled"] if flag in was]
        + [f"-{flag} (gone)" for flag in was - set(row["use"]) - set(row["disabled"])]
    )
    if flags:
        yield f"USE {' '.join(flags)}"
    for child in rebuilt.get(row["cpv"], []):
        yield f"rebuilt for {child}"
    if row["kind"] == "binary":
        if row["build_time"] != int(before["BUILD_TIME"] or 0):
            yield "another build of it"
    elif dependencies_changed(row, before):
        yield "changed dependencies"


def dependencies_changed(row: Row, before: dict[str, str]) -> bool:
    values, _ = of_ebuild(row)
    use = before["USE"].split()

    def atoms_in(text: str, eapi: str) -> list[Any]:
        return list(use_reduce(text, uselist=use, flat=True, token_class=Atom, eapi=eapi, is_valid_flag=bool))

    def normal(one: dict[str, str]) -> list[set[str]]:
        reduced = (atoms_in(one[name], one["EAPI"] or values["EAPI"]) for name in DEPENDENCIES)
        return [{BUILT_SLOT.sub(":=", str(atom)) for atom in atoms} for atoms in reduced]

    return normal(before) != normal(values)


def unprovided(argv: Sequence[str]) -> list[str]:
    """Atoms of the asked sets that nothing visible fits; the resolver names only the first and stops."""

    trees = databases()
    settings, ebuilds, vartree = trees["vartree"].settings, trees["porttree"].dbapi, trees["vartree"].dbapi
    texts: list[str] = []
    if "@system" in argv or "@world" in argv:
        texts += [text.lstrip("*") for text in settings.packages if text.startswith("*")]
    if "@world" in argv or "@selected" in argv:
        texts += portage.grabfile(os.path.join(portage.root, "var/lib/portage/world"))  # noqa: PTH118
    found = []
    for text in texts:
        try:
            atom = Atom(text, allow_repo=True)
        except InvalidAtom:
            found.append(text)
            continue
        provided = match_from_list(atom, settings.pprovideddict.get(atom.cp, []))
        if not (provided or vartree.match(atom) or ebuilds.xmatch("bestmatch-visible", atom)):
            found.append(text)
    return found


def candidates(text: str) -> list[Row]:
    """What a world atom could mean, and why each of it is masked."""

    trees = databases()
    settings, ebuilds = trees["vartree"].settings, trees["porttree"].dbapi
    try:
        atom = Atom(text, allow_repo=True)
    except InvalidAtom:
        return []
    found = reversed(ebuilds.xmatch("match-all", atom))
    return [
        {"cpv": str(cpv), "masks": list(portage.getmaskingstatus(cpv, settings=settings, portdb=ebuilds))}
        for cpv in found
    ]
