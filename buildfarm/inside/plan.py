"""What the resolver of this root's Portage wants to do, and its own words about what it cannot.

It is asked through Portage's private API. Whatever goes wrong with that, `emerge --pretend` is asked instead
and its lines are completed with Portage's documented API: the answer has the same form and says which.
"""

import contextlib
import inspect
import io
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from buildfarm.inside import packages, words

Row = dict[str, Any]

# --columns would hide uninstalls and solved blockers (resolver/output.py), so the fallback does without.
PRETEND = ["--pretend", "--verbose", "--color=n", "--nospinner", "--ignore-default-opts", "--ask=n"]
# The first run stops at the first dependency nothing satisfies; this one collects all that has to change.
# --binpkg-respect-use=y would keep it from proposing USE flags (create_depgraph_params.py).
ADVICE = ["--autounmask=y", "--autounmask-write=n", "--autounmask-continue=n", "--autounmask-backtrack=y"]
UNSATISFIED = re.compile(r"there are no ebuilds built with USE|that could satisfy .* have been masked")
BEFORE_IT = {"ebuild": ("DEPEND", "BDEPEND", "IDEPEND", "RDEPEND"), "binary": ("IDEPEND", "RDEPEND")}


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    """`questions`: name -> emerge's arguments; `method`: private or public. Gives name -> resolution."""
    method = arguments.get("method", "private")
    return {name: resolve(argv, method) for name, argv in arguments["questions"].items()}


def resolve(argv: Sequence[str], method: str) -> dict[str, Any]:
    import portage  # type: ignore[import-not-found]

    drawn = draw(argv, method)
    said = drawn["words"]
    if not drawn["complete"] and UNSATISFIED.search(said):
        kept = [word for word in argv if not word.startswith(("--autounmask", "--binpkg-respect-use"))]
        drawn["advice"] = draw([*ADVICE, *kept], method)["words"]
    rebuilt = words.rebuilds(said)
    for row in drawn["choices"]:
        packages.explain(row, rebuilt)
    only_binaries = any(word in ("--usepkgonly", "--usepkgonly=y", "-K", "-G") for word in argv)
    atoms = words.missing(said)
    if not drawn["complete"] and not only_binaries:
        atoms.update(packages.unprovided(argv))
    drawn["missing"] = {atom: [] if only_binaries else packages.candidates(atom) for atom in sorted(atoms)}
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
    from _emerge.actions import ensure_required_sets, expand_set_arguments  # type: ignore[import-not-found]
    from _emerge.create_depgraph_params import create_depgraph_params  # type: ignore[import-not-found]
    from _emerge.depgraph import backtrack_depgraph  # type: ignore[import-not-found]
    from _emerge.main import profile_check  # type: ignore[import-not-found]

    config = load(argv)
    nothing = {"complete": False, "choices": [], "uninstalls": []}
    if profile_check(config.trees, config.action) != os.EX_OK:
        return nothing
    for trees in config.trees.values():
        trees["porttree"].dbapi.freeze()
    ensure_required_sets(config.trees)
    names, status = expand_set_arguments(config.args, config.action, config.target_config)
    if status != os.EX_OK:
        return nothing
    options, settings = config.opts, config.target_config.settings
    parameters = create_depgraph_params(options, config.action)
    complete, graph, _ = backtrack_depgraph(
        settings, config.trees, options, parameters, config.action, names, None
    )
    tasks = list(graph.altlist()) if complete else []
    if complete:
        # display_problems() would print the list first, and run the pkg_nofetch of what is fetch-restricted.
        graph._dynamic_config._displayed_list = graph._dynamic_config._serialized_tasks_cache
    graph.display_problems()
    return {"complete": bool(complete), **tasks_of(graph, tasks)}


def load(argv: Sequence[str]) -> Any:
    """emerge's configuration for these arguments, with the binary packages they allow."""
    import portage
    from _emerge.actions import adjust_configs, load_emerge_config
    from _emerge.main import parse_opts

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
    return config


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

    moved = [task for task in tasks if not isinstance(task, Blocker)]
    merged = [package for package in moved if package.operation == "merge"]
    seen: dict[Any, str] = {}
    rows = []
    for package in merged:
        rows.append(row_of(graph, package, seen))
        seen[package] = str(package.cpv)
    gone = [str(package.cpv) for package in moved if package.operation == "uninstall"]
    return {"choices": rows, "uninstalls": gone, "needless": needless(graph, gone)}


def needless(graph: Any, gone: Iterable[str]) -> list[str]:
    """Installed, but neither in the graph (which with --deep has all that is needed) nor replaced."""
    from portage.versions import cpv_getkey  # type: ignore[import-not-found]

    nodes = [node for node in graph._dynamic_config.digraph.order if hasattr(node, "slot_atom")]
    kept = {str(node.cpv) for node in nodes if node.installed} | set(gone)
    slots = {str(node.slot_atom) for node in nodes if not node.installed}
    vartree = packages.databases()["vartree"].dbapi
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
    said = asked.stdout.decode(errors="replace")
    complete = asked.returncode == 0
    # emerge itself has refreshed what it knows of remote packages.
    remote = any(word.startswith(("--getbinpkg", "-g", "-G")) and word[-2:] != "=n" for word in argv)
    packages.databases()["bintree"].populate(getbinpkgs=remote, getbinpkg_refresh=False)
    shown = list(words.lines(said)) if complete else []
    rows: list[Row] = []
    for row in shown:
        if row["kind"] != "uninstall":
            rows.append(completed(row, rows))
    gone = [row["cpv"] for row in shown if row["kind"] == "uninstall"]
    return {"complete": complete, "choices": rows, "uninstalls": gone, "words": said}


def completed(row: Row, earlier: Sequence[Row]) -> Row:
    """With slot, flags and needs, as the package's own metadata has them."""
    values, use = packages.of_binary(row) if row["kind"] == "binary" else packages.of_ebuild(row)
    known = {flag.lstrip("+-") for flag in values["IUSE"].split()}
    texts = [values[name] for name in BEFORE_IT[row["kind"]]]
    return {
        **row,
        "slot": packages.with_subslot(values["SLOT"]),
        "repository": row["repository"] or values["repository"],
        "build_time": int(values["BUILD_TIME"] or 0) if row["kind"] == "binary" else None,
        "use": sorted(use & known),
        "disabled": sorted(known - use),
        "needs": sorted(set().union(*(packages.needs(text, use, values["EAPI"], earlier) for text in texts))),
    }
