"""Packages of the pool: where one came from, what decided about it, which releases use it."""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.errors import Problem
from appliance.farm_model import Package, Release
from appliance.model import Tree
from appliance.store import Store
from buildfarm import provenance
from buildfarm.key import Recipe, changed
from buildfarm.pool import Pool
from buildfarm.provenance import Provenance


@dataclass(frozen=True)
class Shown:
    """One package of the pool and all that is known of it."""

    package: Package
    provenance: Provenance | None
    """What it says of itself; None when it does not, or when its file is gone."""
    recipe: Mapping[str, str]
    releases: tuple[Release, ...]
    """Those that hold it, the newest first."""
    differs: tuple[str, ...]
    """Why it was built although the one before it was there."""


class PackageDesk:
    def __init__(self, tree: Tree, store: Store) -> None:
        self.store = store
        self.pool = Pool(tree.path / "pool")

    def show(self, text: str) -> list[Shown]:
        """By the beginning of a sha256, or by name with or without category and version; the newest first.

        Raises Problem when there is none.
        """
        found = self.store.packages.find(text)
        if not found:
            raise Problem(
                f"there is no package {text} in the pool",
                hint="name it as `hello`, `app-misc/hello`, `app-misc/hello-2.10`, or by its sha256",
            )
        before = [*found[1:], None]
        return [self._shown(one, older) for one, older in zip(found, before, strict=True)]

    def _shown(self, package: Package, older: Package | None) -> Shown:
        recipe = self.store.packages.recipe(package.sha256)
        was = self.store.packages.recipe(older.sha256) if older else {}
        return Shown(
            package=package,
            provenance=self._provenance(package),
            recipe=recipe,
            releases=tuple(self.store.releases.using(package.sha256)),
            differs=tuple(changed(Recipe(older.cpv, was), Recipe(package.cpv, recipe)))
            if older and was and recipe
            else (),
        )

    def _provenance(self, package: Package) -> Provenance | None:
        if not self.pool.whole(package.sha256, package.size_bytes):
            return None
        return provenance.read(self.pool.file(package.sha256))
