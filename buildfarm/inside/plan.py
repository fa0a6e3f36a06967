"""What the resolver of this root's Portage wants to do, and its own words about what it cannot.

It is asked through Portage's private API. Whatever goes wrong with that, `emerge --pretend` is asked instead
and its lines are completed with Portage's documented API: the answer has the same form and says which.
"""

import contextlib
import functools
import inspect
import io
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

Row = dict[str, Any]

# --columns would hide uninstalls and solved blockers (resolver/output.py), so the fallback does without.
PRETEND = ["--pretend", "--verbose", "--color=n", "--nospinner", "--ignore-default-opts", "--ask=n"]
# The first run stops at the first dependency nothing satisfies; this one collects all that has to change.
# --binpkg-respect-use=y would keep it from proposing USE flags (create_depgraph_params.py).
ADVICE = ["--autounmask=y", "--autounmask-write=n", "--autounmask-continue=n", "--autounmask-backtrack=y"]
UNSATISFIED = re.compile(r"there are no ebuilds built with USE|that could satisfy .* have been masked")
LINE = re.compile(r"^\[(ebuild|binary|uninstall)\s+[^\]]*\]\s+(\S+)")
BUILD_ID = re.compile(r"(-[0-9][^-/]*(?:-r[0-9]+)?)-([0-9]+)$")
MISSING = re.compile(r"^!!! masked or don't exist:\n(.+)$", re.MULTILINE)
REBUILDS = re.compile(
    r"^  \((\S+?)(?::[^,]*)?, [^)]*\) causes rebuilds for:\n((?:    \(.*\n?)+)", re.MULTILINE
)
NAMED = re.compile(r"^ +\(([^\s:]+):", re.MULTILINE)
BUILT_SLOT = re.compile(r":[^=\[\s]*=(?=[\[\s]|$)")
DEPENDENCIES = ("DEPEND", "BDEPEND", "IDEPEND", "RDEPEND", "PDEPEND")
METADATA = (
    *("EAPI", "IUSE", "KEYWORDS", "LICENSE", "PROPERTIES", "RESTRICT", "SLOT", "SRC_URI", "repository"),
    *("DEFINED_PHASES", "INHERITED", "REQUIRED_USE", *DEPENDENCIES),
)
BEFORE_IT = {"ebuild": ("DEPEND", "BDEPEND", "IDEPEND", "RDEPEND"), "binary": ("IDEPEND", "RDEPEND")}


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`questions`: name -> emerge's arguments; `method`: private or public. Gives name -> resolution."""
    method = arguments.get("method", "private")
    return {name: resolve(argv, method) for name, argv in arguments["questions"].items()}


def resolve(argv: Sequence[str], method: str) -> dict[str, Any]:
    import portage  # type: ignore[import-not-found]

    drawn = draw(argv, method)
    words = drawn["words"]
    if not drawn["complete"] and UNSATISFIED.search(words):
        kept = [word for word in argv if not word.startswith(("--autounmask", "--binpkg-respect-use"))]
        drawn["advice"] = draw([*ADVICE, *kept], method)["words"]
    rebuilt = rebuilds(words)
    for row in drawn["choices"]:
        explain(row, rebuilt)
    only_binaries = any(word in ("--usepkgonly", "--usepkgonly=y", "-K", "-G") for word in argv)
    atoms = {atom for found in MISSING.findall(words) for atom in found.split()}
    if not drawn["complete"] and not only_binaries:
        atoms.update(unprovided(argv))
    drawn["missing"] = {atom: [] if only_binaries else candidates(atom) for atom in sorted(atoms)}
    return {"portage": portage.VERSION, **drawn}


def draw(argv: Sequence[str], method: str) -> dict[str, Any]:
    if method == "private":
        said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="replace", write_through=True)
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                drawn = by_private_api(argv)
            said.seek(0)
            return {"method": "private API", "words": said.read(), **drawn}
        except (Exception, SystemExit) as failure:  # any failure of a private API is a reason to do without
            why = f"{type(failure).__name__}: {failure}"
            return {"method": f"emerge --pretend, because of {why}", **by_emerge(argv)}
    return {"method": "emerge --pretend", **by_emerge(argv)}


# The private API


def by_private_api(argv: Sequence[str]) -> dict[str, Any]:
    """As emerge's run_action() and action_build() do with --pretend, in their order."""
    import portage
    from _emerge.actions import (  # type: ignore[import-not-found]
        adjust_configs,
        ensure_required_sets,
        expand_set_arguments,
        load_emerge_config,
    )
    from _emerge.create_depgraph_params import create_depgraph_params  # type: ignore[import-not-found]
    from _emerge.depgraph import backtrack_depgraph  # type: ignore[import-not-found]
    from _emerge.main import parse_opts, profile_check  # type: ignore[import-not-found]

    portage.output.havecolor = 0
    action, options, names = parse_opts([*PRETEND, *argv])
    config = load_emerge_config(action=action, args=names, opts=options)
    apply_package_moves(config)
    if "getbinpkg" in config.target_config.settings.features and options.get("--getbinpkg") is not False:
        options["--getbinpkg"] = True
    if options.get("--getbinpkgonly") is True:
        options["--getbinpkg"] = options["--usepkgonly"] = True
    if options.get("--getbinpkg") is True or options.get("--usepkgonly") is True:
        options["--usepkg"] = True
    if options.get("--usepkg") is True:
        remote = {"getbinpkgs": options.get("--getbinpkg") is True, "getbinpkg_refresh": True}
        for trees in config.trees.values():
            trees["bintree"].populate(**remote)
    adjust_configs(options, config.trees)
    nothing = {"complete": False, "choices": [], "uninstalls": []}
    if profile_check(config.trees, action) != os.EX_OK:
        return nothing
    for trees in config.trees.values():
        trees["porttree"].dbapi.freeze()
    ensure_required_sets(config.trees)
    names, status = expand_set_arguments(config.args, action, config.target_config)
    if status != os.EX_OK:
        return nothing
    settings = config.target_config.settings
    parameters = create_depgraph_params(options, action)
    complete, graph, _ = backtrack_depgraph(settings, config.trees, options, parameters, action, names, None)
    tasks = list(graph.altlist()) if complete else []
    if complete:
        # display_problems() would print the list first, and run the pkg_nofetch of what is fetch-restricted.
        graph._dynamic_config._displayed_list = graph._dynamic_config._serialized_tasks_cache
    graph.display_problems()
    return {"complete": bool(complete), **tasks_of(graph, tasks)}


def apply_package_moves(config: Any) -> None:
    """As emerge does before everything else, also with --pretend."""
    from _emerge.actions import load_emerge_config
    from portage._global_updates import _global_updates  # type: ignore[import-not-found]

    places = {"trees": config.trees, "prev_mtimes": config.target_config.mtimedb["updates"]}
    if "root" in inspect.signature(_global_updates).parameters:  # since 3.0.64
        places["root"] = config.target_config.root
    if _global_updates(**places, quiet=True):
        config.target_config.mtimedb.commit()
        load_emerge_config(emerge_config=config)


def tasks_of(graph: Any, tasks: list[Any]) -> dict[str, Any]:
    from _emerge.Blocker import Blocker  # type: ignore[import-not-found]

    packages = [task for task in tasks if not isinstance(task, Blocker)]
    merged = [package for package in packages if package.operation == "merge"]
    seen: dict[Any, str] = {}
    rows = []
    for package in merged:
        rows.append(row_of(graph, package, seen))
        seen[package] = str(package.cpv)
    gone = [str(package.cpv) for package in packages if package.operation == "uninstall"]
    return {"choices": rows, "uninstalls": gone, "needless": needless(graph, gone)}


def needless(graph: Any, gone: Iterable[str]) -> list[str]:
    """Installed, but neither in the graph (which with --deep has all that is needed) nor replaced."""
    from portage.versions import cpv_getkey  # type: ignore[import-not-found]

    nodes = [node for node in graph._dynamic_config.digraph.order if hasattr(node, "slot_atom")]
    kept = {str(node.cpv) for node in nodes if node.installed} | set(gone)
    slots = {str(node.slot_atom) for node in nodes if not node.installed}
    vartree = databases()["vartree"].dbapi
    left = []
    for cpv in map(str, vartree.cpv_all()):
        slot = vartree.aux_get(cpv, ["SLOT"])[0].partition("/")[0]
        if cpv not in kept and f"{cpv_getkey(cpv)}:{slot}" not in slots:
            left.append(cpv)
    return sorted(left)


def row_of(graph: Any, package: Any, seen: dict[Any, str]) -> Row:
    enabled = set(graph._pkg_use_enabled(package)) & set(package.iuse.all)
    edges = graph._dynamic_config.digraph.nodes.get(package, ({}, {}, None))[0]
    needs = [
        seen[child]
        for child, priorities in edges.items()
        if child in seen and any(map(is_needed, priorities))
    ]
    return {
        "cpv": str(package.cpv),
        "slot": f"{package.slot}/{package.sub_slot}",
        "repository": package.repo,
        "kind": package.type_name,
        "build_id": package.cpv.build_id if package.built else None,
        "build_time": package.build_time if package.built else None,
        "use": sorted(enabled),
        "disabled": sorted(set(package.iuse.all) - enabled),
        "needs": sorted(needs),
    }


def is_needed(priority: Any) -> bool:
    """Is a dependency of this kind merged first? (PDEPEND and build dependencies of binaries are not.)"""
    return bool((priority.buildtime and not priority.optional) or priority.runtime)


# The public commands


def by_emerge(argv: Sequence[str]) -> dict[str, Any]:
    asked = subprocess.run(
        ["emerge", *PRETEND, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    words = asked.stdout.decode(errors="replace")
    complete = asked.returncode == 0
    # emerge itself has refreshed what it knows of remote packages.
    remote = any(word.startswith(("--getbinpkg", "-g", "-G")) and word[-2:] != "=n" for word in argv)
    databases()["bintree"].populate(getbinpkgs=remote, getbinpkg_refresh=False)
    shown = list(lines(words)) if complete else []
    rows: list[Row] = []
    for row in shown:
        if row["kind"] != "uninstall":
            rows.append(completed(row, rows))
    gone = [row["cpv"] for row in shown if row["kind"] == "uninstall"]
    return {"complete": complete, "choices": rows, "uninstalls": gone, "words": words}


def lines(text: str) -> Iterator[Row]:
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


def databases() -> Any:
    import portage

    return portage.db[portage.root]


def completed(row: Row, earlier: Sequence[Row]) -> Row:
    """With slot, flags and needs, as the package's own metadata has them."""
    values, use = of_binary(row) if row["kind"] == "binary" else of_ebuild(row)
    known = {flag.lstrip("+-") for flag in values["IUSE"].split()}
    texts = [values[name] for name in BEFORE_IT[row["kind"]]]
    return {
        **row,
        "slot": with_subslot(values["SLOT"]),
        "repository": row["repository"] or values["repository"],
        "build_time": int(values["BUILD_TIME"] or 0) if row["kind"] == "binary" else None,
        "use": sorted(use & known),
        "disabled": sorted(known - use),
        "needs": sorted(set().union(*(needs(text, use, values["EAPI"], earlier) for text in texts))),
    }


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
    import portage

    return portage.config(clone=databases()["vartree"].settings)


def needs(text: str, use: Iterable[str], eapi: str, earlier: Sequence[Row]) -> set[str]:
    """The earlier rows a dependency string takes; of an any-of group those of its first alternative there."""
    from portage.dep import Atom, use_reduce  # type: ignore[import-not-found]

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
    from portage.dep import match_from_list

    slot, _, subslot = row["slot"].partition("/")
    if (atom.slot and atom.slot != slot) or (atom.sub_slot and atom.sub_slot != subslot):
        return False
    return bool(match_from_list(atom.without_use.without_slot, [row["cpv"]]))


# Why, with the documented API


def with_subslot(slot: str) -> str:
    return slot if "/" in slot else f"{slot}/{slot}"


def rebuilds(words: str) -> dict[str, list[str]]:
    """Package that is built again -> the packages whose new slot or subslot makes that necessary."""
    found: dict[str, list[str]] = {}
    for child, parents in REBUILDS.findall(words):
        for parent in NAMED.findall(parents):
            found.setdefault(parent, []).append(child)
    return found


def explain(row: Row, rebuilt: dict[str, list[str]]) -> None:
    """Add what the choice replaces and why it is made."""
    from portage.versions import catpkgsplit, cpv_getkey, vercmp

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
    from portage.dep import Atom, use_reduce

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
    import portage
    from portage.dep import Atom, match_from_list
    from portage.exception import InvalidAtom  # type: ignore[import-not-found]

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
    import portage
    from portage.dep import Atom
    from portage.exception import InvalidAtom

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
