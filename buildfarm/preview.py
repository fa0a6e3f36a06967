"""What a build of a profile would do: asked in a throw-away layer over its root, which stays as it is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from appliance.farm_model import Package
from buildfarm import outcome, root
from buildfarm.compiling import made_of
from buildfarm.index import split_cpv
from buildfarm.key import Recipe, build_key
from buildfarm.order import Order
from buildfarm.portage import Installed
from buildfarm.preparing import ask, identify, offers, to_build_again
from buildfarm.reference import exclusive, workplace
from buildfarm.resolution import Resolution
from buildfarm.root import Attempt


@dataclass(frozen=True)
class Preview:
    """What was found out."""

    resolution: Resolution
    """What the resolver wants to make of the root, as if there were no packages."""
    installed: tuple[Installed, ...]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    """What decides about each package that will be there."""
    known: frozenset[str] = frozenset()
    """cpvs of which there is a package that fits."""
    again: tuple[str, ...] = ()
    """cpvs that are installed and stay, but were built another way."""
    packages: tuple[Package, ...] = ()
    """What the root was committed with."""
    asked: bool = True
    """False: Portage was not asked, because nothing changed."""

    @property
    def keys(self) -> dict[str, str]:
        return {cpv: build_key(recipe) for cpv, recipe in self.recipes.items()}


def preview(order: Order) -> Preview:
    """Changes neither the root nor the pool; a build of the same profile may run meanwhile."""
    own = root.Root(order.tree.room("roots").resolve() / order.profile.name)
    known = outcome.read(own)
    if known and known.identity == made_of(order):
        nothing = Resolution(portage="", method="the root was built from just the same things")
        return Preview(nothing, known.state.installed, asked=False)
    with _layer_over(own, order.build_stage.sha256) as attempt:
        asked = ask(order, attempt)
        if not asked.resolution.complete:
            return Preview(asked.resolution, asked.before.installed)
        prepared = identify(order, asked)
    offered = offers(order, prepared, known.packages if known else ())
    names = {
        f"{split_cpv(one.cpv)[0]}:{one.slot.partition('/')[0]}": one.cpv for one in asked.before.installed
    }
    return Preview(
        resolution=asked.resolution,
        installed=asked.before.installed,
        recipes=prepared.recipes,
        known=frozenset(package.cpv for package in offered if order.pool.holds(package.sha256)),
        again=tuple(names[atom] for atom in to_build_again(prepared, offered)),
        packages=known.packages if known else (),
    )


@contextmanager
def _layer_over(own: root.Root, stage: str) -> Iterator[Attempt]:
    """A root of its own that shares the layers; what a killed one left is removed by the next."""
    roots, prefix = own.path.parent, f".plan-{own.path.name}-"
    roots.mkdir(parents=True, exist_ok=True)
    with exclusive(roots / f"{prefix}lock"), workplace(roots, f"{prefix}at-") as place:
        copy = root.Root(place)
        copy.seed(own)
        yield copy.begin(stage)
