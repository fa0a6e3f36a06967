"""Looks at the machine for its report: what differs from its release, what waits, what has to start anew."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distserver_client import (
    central,
    durable,
    facts,
    filedrift,
    index,
    inventory,
    keeping,
    origins,
    pending,
    protection,
    running,
)
from distserver_client.errors import Problem
from distserver_client.filedrift import Scanned, Scanner
from distserver_client.inventory import Inventory
from distserver_client.manifest import Item
from distserver_client.paths import Places
from distserver_client.report import Changed, Drift, Open, package_drift

REACHED = "reached"
"""The packages that were installed when the release was reached, in the state directory."""
NOT_MOUNTED = "what the release has is not mounted there"
PROC = Path("/proc")


@dataclass(frozen=True)
class Found:
    """All of it, at one moment."""

    installed: int
    inventory: str
    drift: tuple[Drift, ...]
    local: tuple[Changed, ...]
    unread: int
    questions: tuple[Open, ...]
    reboot: str
    services: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def look(
    places: Places,
    release: str,
    *,
    mounted: Mapping[str, bool] | None = None,
    again: bool = True,
    whole: bool = False,
    keep: bool = True,
) -> Found:
    """`mounted`: how the central files were before they were mounted; None: as they are now.

    `again`: False for what the last look found of files. `whole`: read all of them. `keep`: remember what
    was read for the next look.
    """
    installed = inventory.read(places.packages)
    listed = keeping.listed(places, release)
    compared = inventory.compare(installed, listed)
    waiting = origins.load(places.client)
    there = central.is_mounted(places, central.load(places, release)) if mounted is None else mounted
    files = _files(places, release, waiting, again=again, whole=whole, keep=keep)
    packages = package_drift(compared.differ, compared.foreign, missing(places, compared, listed))
    kernel = running.kernel()
    return Found(
        installed=len(installed),
        inventory=inventory.digest(installed),
        drift=(
            *(Drift("mount", place, NOT_MOUNTED) for place, well in sorted(there.items()) if not well),
            *packages,
            *(Drift("file", one.path, one.said) for one in files.drift),
        ),
        local=tuple(Changed(one.path, one.said) for one in files.local),
        unread=files.unread,
        questions=tuple(Open(path, one.here) for path, one in sorted(waiting.open.items())),
        reboot=pending.reboot(
            kernel,
            running.installed_kernel(places.root, _kernel(places, release)),
            running.modules(places.root),
        ),
        services=pending.stale(running.processes(PROC)),
        facts=facts.facts(kernel),
    )


def reached(places: Places) -> None:
    """Remember what is installed: what goes from it later is missing."""
    names = [one.cpv for one in inventory.read(places.packages)]
    durable.replace(places.client / REACHED, "".join(f"{name}\n" for name in names).encode())


def missing(places: Places, now: Inventory, listed: Iterable[index.Listed]) -> tuple[str, ...]:
    """Packages of the release that were here when it was reached."""
    place = places.client / REACHED
    before = place.read_text().split() if place.is_file() else []
    offered = {one.cpv for one in listed}
    slots = {inventory.split_name(cpv) for cpv in (*now.same, *now.differ, *now.foreign)}
    gone = (cpv for cpv in before if cpv in offered and inventory.split_name(cpv) not in slots)
    return tuple(sorted(gone))


def _files(
    places: Places, release: str, waiting: origins.Origins, *, again: bool, whole: bool, keep: bool
) -> Scanned:
    remembered, last = filedrift.load(places.client)
    if not again:
        return last
    header = index.header((places.release(release) / "Packages").read_text())
    scanner = Scanner(places.root, protection.protection(header), waiting, remembered=remembered, whole=whole)
    found = scanner.scan()
    if keep:
        filedrift.save(places.client, scanner.remembered, found)
    return found


def _kernel(places: Places, release: str) -> Item | None:
    try:
        return central.load(places, release).files.get("kernel")
    except Problem:
        return None
