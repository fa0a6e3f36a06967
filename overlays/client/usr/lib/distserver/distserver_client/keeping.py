"""The machine's own copy of releases: fetched, verified, shared by hash between releases, cleared away."""

import hashlib
import re
import shutil
from pathlib import Path

from distserver_client import central, durable, index, manifest, trust
from distserver_client.errors import Damaged, Problem
from distserver_client.fetching import Fetcher, is_item
from distserver_client.manifest import Item, Manifest
from distserver_client.paths import Places

SIGNED = ("manifest", "manifest.sig")
NAME = re.compile(r"([0-9a-f]{64})\.gpkg\.tar")


def take_manifest(places: Places, fetcher: Fetcher, release: str) -> Manifest:
    """The verified manifest of a release; the server is only asked when there is no good copy."""
    if not manifest.ID.fullmatch(release):
        raise Problem(f"{release[:80]!r} is no release")
    here = places.release(release)
    for fresh in (False, True):
        if fresh or not all((here / name).is_file() for name in SIGNED):
            for name in reversed(SIGNED):
                durable.replace(here / name, fetcher.small(f"/r/{release}/{name}"))
        try:
            trust.check_file(places.key, here / "manifest", here / "manifest.sig")
            found = manifest.parse((here / "manifest").read_text(errors="replace"))
            if found.id != release:
                raise Damaged(f"the manifest of {release} is that of {found.id}")
            return found
        except Damaged:
            forget(places, release)
            if fresh:
                raise
    raise AssertionError("not reached")


def take_files(places: Places, fetcher: Fetcher, wanted: Manifest, *more: str) -> None:
    """Everything a machine keeps of a release, and `more`; what another one has, too, is linked."""
    here = places.release(wanted.id)
    for item in (*wanted.kept, *(wanted.files[name] for name in more if name in wanted.files)):
        if not is_item(here / item.name, item):
            twin = _twin(places, item)
            if twin is None:
                fetcher.item(f"/r/{wanted.id}/{item.name}", item, here / item.name)
            else:
                (here / item.name).unlink(missing_ok=True)
                (here / item.name).hardlink_to(twin)


def listed(places: Places, release: str) -> tuple[index.Listed, ...]:
    return index.read((places.release(release) / "Packages").read_text())


def write_index(places: Places, release: str, place: Path, uri: str) -> None:
    """The release's index for Portage, which finds its packages at `uri`."""
    text = (places.release(release) / "Packages").read_text()
    durable.replace(place / "Packages", index.at(text, uri).encode())


def forget_indexes(places: Places) -> None:
    """Portage drops cached indexes only for newer ones; an older release has an older one."""
    shutil.rmtree(places.root / "var/cache/edb/binhost", ignore_errors=True)
    for path in places.binhost.glob("Packages*"):
        path.unlink()


def drop_strangers(places: Places, wanted: Manifest) -> list[str]:
    """Remove what Portage keeps and the release does not list; their names.

    Portage compares only MD5 and SHA1 of an index; the manifest's SHA256 decides.
    """
    dropped = []
    for path in sorted(places.binhost.rglob("*.gpkg.tar*")):
        with path.open("rb") as source:
            sha256 = hashlib.file_digest(source, "sha256").hexdigest()
        if sha256 not in wanted.sums:
            path.unlink()
            dropped.append(path.name)
    return dropped


def fetch_package(places: Places, fetcher: Fetcher, uri: str, target: Path) -> None:
    """What Portage calls to fetch: a package of a kept release, verified, under the name it wants."""
    found = NAME.fullmatch(uri.rpartition("/")[2])
    item = packages_of_all(places).get(found[1]) if found else None
    if item is None:
        raise Problem(f"{uri} is no package of a release that this machine follows")
    place = pool_place(places, item.sha256)
    fetcher.item(f"/pool/{place.parent.name}/{place.name}", item, place)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(place)
    except OSError:  # another file system
        shutil.copyfile(place, target)


def pool_place(places: Places, sha256: str) -> Path:
    return places.pool / sha256[:2] / f"{sha256}.gpkg.tar"


def received(places: Places) -> int:
    """Bytes of all packages that are here, also of those that came in part."""
    return sum(path.stat().st_size for path in places.pool.rglob("*") if path.is_file())


def tidy(places: Places, *releases: str) -> None:
    """Leave the files of these releases alone; packages were merged and are not needed any more."""
    for place in (places.cache / "r").glob("*"):
        if place.name not in releases:
            shutil.rmtree(place)
    for release in releases:
        for scratch in ("fetch", "merge"):
            shutil.rmtree(places.release(release) / scratch, ignore_errors=True)
    for place in (places.pool, places.binhost):
        shutil.rmtree(place, ignore_errors=True)


def forget(places: Places, release: str) -> None:
    for name in SIGNED:
        (places.release(release) / name).unlink(missing_ok=True)


def packages_of_all(places: Places) -> dict[str, Item]:
    """SHA256 -> package, of every release that is kept; the manifests were verified when they came."""
    found = {}
    for place in sorted((places.cache / "r").glob("*/manifest")):
        for item in central.load(places, place.parent.name).packages.values():
            found[item.sha256] = item
    return found


def _twin(places: Places, item: Item) -> Path | None:
    candidates = sorted((places.cache / "r").glob(f"*/{item.name}"))
    return next((path for path in candidates if is_item(path, item)), None)
