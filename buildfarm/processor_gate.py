"""Keeps packages out of a release that the processor of its profile cannot run."""

import re
from collections.abc import Mapping
from pathlib import Path

from appliance.farm_model import Package
from buildfarm.disassembly import ARCHIVE, ROOM, Scanner, dispatched_functions, objections, summary
from buildfarm.index import split_cpv
from buildfarm.instruction_sets import allowed
from buildfarm.order import Order, Progress
from buildfarm.view import View

MARCH = re.compile(r"-march=(\S+?)[\"']?(?:\s|$)")

STATIC = re.compile(r"lib[cm](-[0-9.]+)?\.a")


def declared_flags(portage: Mapping[str, bytes]) -> str:
    """The last flags of make.conf (a file or a directory) that name a processor; empty: none do. Pure."""
    names = sorted(name for name in portage if name == "make.conf" or name.startswith("make.conf/"))
    lines = [line.partition("#")[0] for name in names for line in portage[name].decode().splitlines()]
    return next((line.strip().strip("\"'") for line in reversed(lines) if MARCH.search(line)), "")


def reasons(order: Order, packages: tuple[Package, ...]) -> list[str]:
    """Why packages would not run on the machines; empty when all do, or when the profile does not ask.

    Code that a package chooses at run time is none of it where that is known: the functions that the stage's
    static C library chooses, wherever they are linked in, and the packages that the profile names.
    """
    profile = order.profile
    if not profile.processor:
        return []
    flags = declared_flags(profile.portage)
    known = allowed(flags)
    march = MARCH.search(flags)
    if known is None or march is None:
        return [
            f"profile {profile.name} wants its packages checked for its processor, but make.conf "
            f"{f'names -march={march[1]}, which has no table' if march else 'names none with -march'}"
        ]
    scanner = Scanner(order.tree.room(ROOM), known)
    chosen = dispatched_functions(scanner, _static_libraries(order.build_stage.root))
    order.report(Progress("gate", f"disassembling {len(packages)} packages for {march[1]}", status="begin"))
    found = []
    for package in packages:
        uses = scanner.package(package.sha256, order.pool.file(package.sha256))
        wrong = objections(package.cpv, uses, processor=march[1], dispatched=chosen)
        if wrong and split_cpv(package.cpv)[0] in profile.dispatched:
            order.report(Progress("gate", f"{package.cpv} chooses at run time: {summary(uses)}"))
        else:
            found += wrong
    stage = summary(scanner.tree(order.install_stage.sha256, order.install_stage.root))
    said = f"the stage: {stage}; it is not the farm's to refuse" if stage else f"all of it runs on {march[1]}"
    order.report(Progress("gate", said, status="failed" if found else "done"))
    return found


def _static_libraries(root: Path) -> list[Path]:
    """The C library's; its libm.a may be a text that names another file."""
    view = View((root,))
    found = set()
    for place in view.library_places():
        for name in view.names(place):
            trail = view.file(f"{place}/{name}") if STATIC.fullmatch(name) else None
            if trail and trail.path.read_bytes().startswith(ARCHIVE):
                found.add(trail.path)
    return sorted(found)
