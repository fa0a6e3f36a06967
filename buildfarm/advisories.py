"""Security advisories of a repository (GLSA, GLEP 14): which installed packages are vulnerable."""

import json
import logging
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from appliance.run import run
from buildfarm.index import split_cpv
from buildfarm.portage import Installed
from buildfarm.version import compare, without_revision

log = logging.getLogger(__name__)

PLACE = "metadata/glsa"
ORDERS = {"lt": (-1,), "le": (-1, 0), "eq": (0,), "ge": (0, 1), "gt": (1,)}


@dataclass(frozen=True)
class Range:
    """`lt 2.0`, `rge 1.2-r3`, perhaps in one slot only."""

    kind: str
    """lt, le, eq, ge, gt; with r in front only within the version's own revisions."""
    version: str
    slot: str = "*"


@dataclass(frozen=True)
class Advisory:
    """One package of one advisory."""

    id: str
    package: str
    arches: str
    vulnerable: tuple[Range, ...]
    unaffected: tuple[Range, ...]


def parse(text: bytes) -> list[Advisory]:
    """The packages of one advisory; ValueError when it is none."""
    try:
        top = ElementTree.fromstring(text)
    except ElementTree.ParseError as bad:
        raise ValueError(f"not XML: {bad}") from bad
    return [
        Advisory(
            id=top.get("id", ""),
            package=package.get("name", ""),
            arches=package.get("arch", "*"),
            vulnerable=tuple(map(_range, package.findall("vulnerable"))),
            unaffected=tuple(map(_range, package.findall("unaffected"))),
        )
        for package in top.iterfind("affected/package")
    ]


def _range(element: ElementTree.Element) -> Range:
    return Range(element.get("range", ""), (element.text or "").strip(), element.get("slot", "*"))


def vulnerable(advisories: Iterable[Advisory], installed: Iterable[Installed], arch: str) -> dict[str, str]:
    """Installed cpv -> the newest advisory it is vulnerable to."""
    by_name: dict[str, list[Installed]] = {}
    for one in installed:
        by_name.setdefault(split_cpv(one.cpv)[0], []).append(one)
    found: dict[str, str] = {}
    for advisory in sorted(advisories, key=lambda one: one.id):
        if advisory.arches != "*" and arch not in advisory.arches.split():
            continue
        for one in by_name.get(advisory.package, ()):
            if _hits(advisory, one):
                found[one.cpv] = advisory.id
    return found


def _hits(advisory: Advisory, one: Installed) -> bool:
    """One that is in no range at all is not known to be vulnerable."""
    within = any(_contains(each, one) for each in advisory.vulnerable)
    return within and not any(_contains(each, one) for each in advisory.unaffected)


def _contains(range_: Range, one: Installed) -> bool:
    version = split_cpv(one.cpv)[1]
    if range_.slot != "*" and range_.slot.partition("/")[0] != one.slot.partition("/")[0]:
        return False
    if range_.kind == "eq" and "*" in range_.version:
        return fnmatchcase(version, range_.version)
    bases = without_revision(version), without_revision(range_.version)
    try:
        if range_.kind.startswith("r") and compare(*bases):
            return False
        order = compare(version, range_.version)
    except ValueError:
        return False
    return order in ORDERS.get(range_.kind.removeprefix("r"), ())


def of_images(images: Sequence[Path]) -> list[Advisory]:
    """The advisories of snapshots; read once from each image and kept beside it."""
    return [advisory for image in images for advisory in _of_image(image)]


def _of_image(image: Path) -> list[Advisory]:
    kept = image.with_suffix(".advisories.json")
    if not kept.exists():
        part = kept.with_name(f".{kept.name}.partial")
        part.write_text(json.dumps([asdict(one) for one in _extract(image)]))
        part.rename(kept)
    return [_advisory(row) for row in json.loads(kept.read_text())]


def _advisory(row: dict[str, Any]) -> Advisory:
    ranges = {name: tuple(Range(**each) for each in row[name]) for name in ("vulnerable", "unaffected")}
    return Advisory(**{**row, **ranges})


def _extract(image: Path) -> list[Advisory]:
    found: list[Advisory] = []
    with TemporaryDirectory(prefix="advisories-") as scratch:
        place = Path(scratch) / "tree"
        # Status 1 or 2: the repository has no advisories.
        run(["unsquashfs", "-no-progress", "-quiet", "-dest", place, image, PLACE], ok=(0, 1, 2))
        for file in sorted(place.glob(f"{PLACE}/glsa-*.xml")):
            try:
                found += parse(file.read_bytes())
            except ValueError as bad:
                log.warning("%s of %s is passed over: %s", file.name, image.name, bad)
    return found
