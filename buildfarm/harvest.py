"""Moves packages between the pool and the PKGDIR of an attempt."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from appliance.errors import Problem
from appliance.farm_model import Figures, Package
from buildfarm import compilers, index, neutral
from buildfarm.key import TOOLCHAIN, Recipe, build_key, neutral_key
from buildfarm.order import PackageLedger
from buildfarm.pool import Pool, link_or_copy
from buildfarm.portage import Installed
from buildfarm.root import Attempt

log = logging.getLogger(__name__)
Recipes = Mapping[str, Recipe]
"""cpv -> what decides about it, of everything that a build may make."""


def keys(recipes: Recipes) -> dict[str, str]:
    """Build key -> neutral key: a finished package that is known under one of the two will do."""
    return {build_key(recipe): neutral_key(recipe) for recipe in recipes.values()}


def choose(known: Sequence[Package], installed: Iterable[Installed], recipes: Recipes) -> list[Package]:
    """One package per slot: the one that is in the root already, else one of just this key, else the newest.

    Offering another one of the same key would only make Portage replace what is there by its equal; two of
    a slot would let its resolver take whichever it likes better (facts of its index: BUILD_TIME wins).
    """
    wanted = {cpv: (build_key(recipe), neutral_key(recipe)) for cpv, recipe in recipes.items()}
    present = {(one.cpv, one.build_id, one.build_time) for one in installed}
    best: dict[tuple[str, str], tuple[tuple[object, ...], Package]] = {}
    for package in known:
        exact, loose = wanted.get(package.cpv, ("", ""))
        same = package.build_key == exact
        if not (same or (package.neutral_key and package.neutral_key == loose)):
            continue
        is_present = (package.cpv, package.build_id, int(package.built_at)) in present
        rank = (is_present, same, package.built_at, package.build_id, package.sha256)
        slot = index.slot({"CPV": package.cpv, **index.parse_paragraph(package.index_entry)})
        if slot not in best or rank > best[slot][0]:
            best[slot] = (rank, package)
    return sorted((package for _, package in best.values()), key=lambda package: package.cpv)


def pkgdir_name(package: Package) -> str:
    """Where Portage keeps it in a PKGDIR with binpkg-multi-instance."""
    category_name, _ = index.split_cpv(package.cpv)
    return f"{category_name}/{package.cpv.partition('/')[2]}-{package.build_id}.gpkg.tar"


def offer(
    attempt: Attempt, pool: Pool, ledger: PackageLedger, packages: Sequence[Package], *, chost: str
) -> list[Package]:
    """Hard-link those packages the pool still has into the PKGDIR, and write its index.

    One that is gone or cut off is forgotten, so that it is built again.
    """
    named = {}
    with pool.in_use():
        for package in packages:
            if pool.whole(package.sha256, package.size_bytes):
                named[pkgdir_name(package)] = package
            else:
                _condemn(pool, ledger, package)
        for name, package in named.items():
            place = attempt.pkgdir / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)  # built in this attempt, before something was held
            link_or_copy(pool.file(package.sha256), place)
        (attempt.pkgdir / "Packages").write_text(index.make_local(chost, named))
        # Until the attempt ends this is what keeps them in the pool.
        attempt.offered.write_text(json.dumps({name: named[name].sha256 for name in sorted(named)}))
    return list(named.values())


def condemn_damaged(pool: Pool, ledger: PackageLedger, packages: Iterable[Package]) -> list[Package]:
    """Those whose bytes no longer have the hash they are named by; they are forgotten and set aside."""
    damaged = [package for package in packages if not pool.sound(package.sha256)]
    for package in damaged:
        _condemn(pool, ledger, package)
    return damaged


def _condemn(pool: Pool, ledger: PackageLedger, package: Package) -> None:
    log.warning("%s of the pool is damaged or gone, it will be built again", package.cpv)
    ledger.forget(package.sha256)
    pool.set_aside(package.sha256)


def note(attempt: Attempt, recipes: Recipes, *, profile: str) -> None:
    """Write down what decides about all that this attempt may make; gather() reads it, also after a crash."""
    parts = {cpv: dict(recipe.parts) for cpv, recipe in recipes.items()}
    attempt.keys.write_text(json.dumps({"profile": profile, "recipes": parts}, sort_keys=True))


def gather(
    attempt: Attempt, pool: Pool, ledger: PackageLedger, figures: Mapping[str, Figures] | None = None
) -> list[Package]:
    """Take every finished package of an attempt, running or killed, into the pool and the ledger.

    Only what the PKGDIR's index names can be taken: Portage writes the entry when the file is complete.
    `figures`: cpv -> what its build took. When the attempt merged another compiler or C library, nobody can
    say which of the two made a package: its key is one that is never asked for, so that the next build,
    which finds the new toolchain in the root, makes it again.
    """
    named = attempt.pkgdir / "Packages"
    if not all(place.exists() for place in (attempt.keys, attempt.offered, named)):
        return []
    noted = json.loads(attempt.keys.read_text())
    offered = set(json.loads(attempt.offered.read_text()))
    listed = index.parse(named.read_text())
    merged = _new_toolchain(attempt)
    taken = []
    for fields in listed.paragraphs:
        cpv, source = fields["CPV"], attempt.pkgdir / fields.get("PATH", "")
        if fields.get("PATH") in offered or cpv not in noted["recipes"] or not source.is_file():
            continue
        try:
            sums = pool.add(source)
        except Problem as broken:
            log.warning("not kept: %s", broken)
            continue
        recipe = Recipe(cpv, noted["recipes"][cpv])
        if merged and TOOLCHAIN in recipe.parts:
            recipe = recipe.with_parts({TOOLCHAIN: f"{recipe.parts[TOOLCHAIN]} or {' '.join(merged)}"})
        why = neutral.why_not(pool.file(sums.sha256), recipe)
        log.debug("%s %s", cpv, why or "is for every compiler and all flags")
        package = Package(
            sha256=sums.sha256,
            cpv=cpv,
            build_id=int(fields.get("BUILD_ID") or 0),
            size_bytes=sums.size_bytes,
            build_key=build_key(recipe),
            built_at=float(fields.get("BUILD_TIME") or 0),
            index_entry=index.without_path(fields, sums.fields()),
            neutral_key="" if why else neutral_key(recipe),
            profile=noted["profile"],
        )
        package = replace(package, **vars((figures or {}).get(cpv, Figures())))
        ledger.remember(package, recipe.parts)
        taken.append(package)
    return taken


def _new_toolchain(attempt: Attempt) -> list[str]:
    """Packages of the toolchain that this attempt merged: their VDB entries are in its own layer."""
    databases = (attempt.upper / "var/db/pkg", *attempt.upper.glob("usr/*/var/db/pkg"))
    found = (place.parent for each in databases for place in each.glob("*/*/CONTENTS"))
    return sorted(cpv for one in found if compilers.is_part(cpv := f"{one.parent.name}/{one.name}"))
