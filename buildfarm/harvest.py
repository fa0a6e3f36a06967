"""Moves packages between the pool and the PKGDIR of an attempt."""

import json
import logging
from collections.abc import Iterable, Sequence

from appliance.errors import Problem
from appliance.model import Package
from buildfarm import index
from buildfarm.order import PackageLedger
from buildfarm.pool import Pool, link_or_copy
from buildfarm.portage import Installed
from buildfarm.root import Attempt

log = logging.getLogger(__name__)


def choose(known: Sequence[Package], installed: Iterable[Installed]) -> list[Package]:
    """One package per cpv: the one that is in the root already, else the newest.

    Offering another one of the same key would only make Portage replace what is there by its equal.
    """
    present = {(one.cpv, one.build_id, one.build_time) for one in installed}
    best: dict[str, Package] = {}
    for package in sorted(known, key=lambda p: (p.built_at, p.build_id, p.sha256)):
        is_present = (package.cpv, package.build_id, int(package.built_at)) in present
        held = best.get(package.cpv)
        held_present = held and (held.cpv, held.build_id, int(held.built_at)) in present
        if is_present or not held_present:
            best[package.cpv] = package
    return [best[cpv] for cpv in sorted(best)]


def pkgdir_name(package: Package) -> str:
    """Where Portage keeps it in a PKGDIR with binpkg-multi-instance."""
    category_name, _ = index.split_cpv(package.cpv)
    return f"{category_name}/{package.cpv.partition('/')[2]}-{package.build_id}.gpkg.tar"


def offer(attempt: Attempt, pool: Pool, packages: Sequence[Package], *, chost: str) -> list[Package]:
    """Hard-link those packages the pool still has into the PKGDIR, and write its index."""
    with pool.in_use():
        named = {pkgdir_name(package): package for package in packages if pool.holds(package.sha256)}
        for name, package in named.items():
            place = attempt.pkgdir / name
            place.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(pool.file(package.sha256), place)
        (attempt.pkgdir / "Packages").write_text(index.make_local(chost, named))
        # Until the attempt ends this is what keeps them in the pool.
        attempt.offered.write_text(json.dumps({name: named[name].sha256 for name in sorted(named)}))
    return list(named.values())


def gather(attempt: Attempt, pool: Pool, ledger: PackageLedger) -> list[Package]:
    """Take every finished package of an attempt, running or killed, into the pool and the ledger.

    Only what the PKGDIR's index names can be taken: Portage writes the entry when the file is complete.
    """
    if not attempt.keys.exists() or not attempt.offered.exists():
        return []
    keys = json.loads(attempt.keys.read_text())
    offered = set(json.loads(attempt.offered.read_text()))
    listed = index.parse((attempt.pkgdir / "Packages").read_text())
    taken = []
    for fields in listed.paragraphs:
        source = attempt.pkgdir / fields.get("PATH", "")
        if fields.get("PATH") in offered or fields["CPV"] not in keys or not source.is_file():
            continue
        try:
            sums = pool.add(source)
        except Problem as broken:
            log.warning("not kept: %s", broken)
            continue
        package = Package(
            sha256=sums.sha256,
            cpv=fields["CPV"],
            build_id=int(fields.get("BUILD_ID") or 0),
            size_bytes=sums.size_bytes,
            build_key=keys[fields["CPV"]],
            built_at=float(fields.get("BUILD_TIME") or 0),
            index_entry=index.without_path(fields, sums.fields()),
        )
        ledger.remember(package)
        taken.append(package)
    return taken
