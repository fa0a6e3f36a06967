"""Finds out, before anything is built, what a root will consist of and which packages of it are known."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.sandbox import Mount, Sandbox
from appliance.site_cluster import NATIVE
from buildfarm import (
    crossing,
    fetching,
    harvest,
    index,
    inside,
    kernel_source,
    planning,
    portage,
    probe,
    provenance,
    recipes,
    root,
)
from buildfarm.key import Recipe, build_key
from buildfarm.order import Order, Progress, processors
from buildfarm.portage import State
from buildfarm.resolution import Question, QuestionKind, Resolution
from buildfarm.root import Attempt

DISTFILE = "distfile "
"""How the part of a recipe begins that is a distfile."""
FLAGS = ("CFLAGS", "CXXFLAGS", "FFLAGS", "FCFLAGS")
USABLE = ("installed", "provided", "available")
ONLY_NOTES = frozenset({QuestionKind.SKIPPED, QuestionKind.INSTALLED_MASKED})
"""Questions with which emerge can go on."""


class Unresolved(Problem):
    """The resolver has questions that only a person can answer."""

    def __init__(self, message: str, hint: str, questions: Sequence[Question]) -> None:
        super().__init__(message, hint=hint)
        self.questions = tuple(questions)


@dataclass(frozen=True)
class Prepared:
    """A root with its configuration laid, and what the resolver wants to make of it."""

    sandbox: Sandbox
    before: State
    resolution: Resolution
    recipes: Mapping[str, Recipe]
    """Of everything that will be there, by cpv; what has no ebuild any more has none."""

    @property
    def keys(self) -> dict[str, str]:
        """cpv -> build key."""
        return {cpv: build_key(recipe) for cpv, recipe in self.recipes.items()}

    def distfiles(self, known: Collection[str]) -> list[str]:
        """Names of what all packages but these (cpvs) are made from."""
        parts = [name for cpv, recipe in self.recipes.items() if cpv not in known for name in recipe.parts]
        return sorted({name.removeprefix(DISTFILE) for name in parts if name.startswith(DISTFILE)})


def laid_files(order: Order) -> dict[str, root.Content]:
    """What is laid into the build root; no name of the profile is in it, so that equal ones are equal."""
    files = {**order.configuration, **kernel_source.configuration(order.profile)}
    files = crossing.laid(files, order.target)
    return provenance.with_hook(files, order.build_stage.root)


def build_sandbox(
    order: Order,
    attempt: Attempt,
    *,
    make_jobs: int = 0,
    env: Mapping[str, str] | None = None,
    shelves: Sequence[Mount] = (),
) -> Sandbox:
    """The profile's root as emerge sees it. `make_jobs`: processes within a package, 0 for all processors."""
    rooms = root.Rooms(order.tree.room("distfiles").resolve(), order.logs)
    own = portage.environment(make_jobs or processors())
    settings = {**own, **crossing.environment(order.target), **(env or {})}
    return root.sandbox(
        attempt, order.build_stage.root, order.snapshots, rooms=rooms, env=settings, shelves=shelves
    )


@dataclass(frozen=True)
class Asked:
    """A root with its configuration laid, and what the resolver said, questions and all."""

    sandbox: Sandbox
    before: State
    resolution: Resolution


def ask(order: Order, attempt: Attempt) -> Asked:
    """Lay the configuration and ask the resolver."""
    root.lay(attempt.upper, order.build_stage.root, laid_files(order), over=attempt.layers)
    sandbox = build_sandbox(order, attempt)
    questions = {
        "state": portage.state_question(order.profile.world),
        "plan": planning.question({"wanted": portage.wanted_plan()}),
    }
    answers = inside.ask(sandbox, questions)
    before = portage.parse_state(answers["state"])
    return Asked(sandbox, before, planning.parse(answers["plan"])["wanted"])


def prepare(order: Order, attempt: Attempt) -> Prepared:
    """Lay the configuration and ask the resolver; raises Unresolved when it has questions."""
    asked = ask(order, attempt)
    check_world(order, asked.before.world)
    check_resolution(order, asked.resolution)
    return identify(order, asked)


def identify(order: Order, asked: Asked) -> Prepared:
    """With the recipe of everything that will be there."""
    final = final_slots(asked.before, asked.resolution)
    made_of = recipes.read(
        asked.sandbox,
        named(final, asked.resolution),
        final=final,
        kernel_config=kernel_source.options(order.profile),
        strict=order.site.farm.strict,
        bashrc=provenance.OWN,
    )
    check_native(asked.sandbox, made_of.values())
    return Prepared(asked.sandbox, asked.before, asked.resolution, made_of)


def check_native(sandbox: Sandbox, made_of: Iterable[Recipe]) -> None:
    """Raise Problem when a package would be compiled for whatever processor this server has.

    The files of a site are checked when it is read; a repository's own profile may say it, too.
    """
    for recipe in made_of:
        words = [word for name in FLAGS for word in recipe.variable(name).split()]
        if bad := next((word for word in words if NATIVE.fullmatch(word)), None):
            probe.check_flags(sandbox, probe.read_flags(sandbox))
            raise Problem(
                f"{recipe.cpv} would be compiled with {bad}, which is another processor on each host",
                hint="its repository's profile says so: set its flags in portage/package.env",
            )


def final_slots(before: State, resolution: Resolution) -> dict[str, str]:
    """cpv -> slot of everything that will be installed."""
    gone = {choice.replaces for choice in resolution.choices} | set(resolution.uninstalls)
    stays = {one.cpv: one.slot for one in before.installed if one.cpv not in gone}
    return stays | {choice.cpv: choice.slot for choice in resolution.choices}


def named(final: Mapping[str, str], resolution: Resolution) -> list[str]:
    """`cat/name-1::repository` where the resolver chose one of several repositories."""
    repositories = {
        choice.cpv: f"::{choice.repository}" for choice in resolution.choices if choice.repository
    }
    return [f"{cpv}{repositories.get(cpv, '')}" for cpv in sorted(final)]


def offers(order: Order, prepared: Prepared, before: Sequence[Package]) -> list[Package]:
    """Packages to offer: known under the wanted keys; of `before` those whose ebuild left the tree."""
    found = order.ledger.known(harvest.keys(prepared.recipes))
    known = harvest.choose(found, prepared.before.installed, prepared.recipes)
    here = {(one.cpv, one.build_id, one.build_time) for one in prepared.before.installed}
    gone = (package for package in before if package.cpv not in prepared.recipes)
    kept = [package for package in gone if (package.cpv, package.build_id, int(package.built_at)) in here]
    return [*known, *kept]


def fetch_sources(
    order: Order, attempt: Attempt, prepared: Prepared, offered: Sequence[Package]
) -> list[fetching.Missed]:
    """Get the distfiles of everything that has to be compiled; what is missed, emerge will fail on."""
    place = fetching.Place(
        layers=(*attempt.layers, order.build_stage.root),
        snapshots=order.snapshots,
        configuration=laid_files(order),
        distfiles=order.tree.room("distfiles").resolve(),
        logs=order.logs,
    )
    repositories = {one.cpv: one.repository for one in prepared.resolution.choices}
    wanted = fetching.needs(prepared.recipes, repositories, {package.cpv for package in offered})
    return fetching.fetch(
        place, wanted, order.site.farm, say=lambda text: order.report(Progress("distfiles", text))
    )


def to_build_again(prepared: Prepared, offered: Sequence[Package]) -> list[str]:
    """Atoms of what stays installed though no package of it is known: it was built another way."""
    known = {package.cpv for package in offered}
    chosen = {choice.cpv for choice in prepared.resolution.choices}
    stale = [
        one
        for one in prepared.before.installed
        if one.cpv in prepared.recipes and one.cpv not in known | chosen
    ]
    return sorted(f"{index.split_cpv(one.cpv)[0]}:{one.slot.partition('/')[0]}" for one in stale)


def check_resolution(order: Order, resolution: Resolution) -> None:
    """Raise Unresolved with the resolver's own words; nothing it asks is passed over."""
    serious = [one for one in resolution.questions if one.kind not in ONLY_NOTES]
    if resolution.complete and not serious:
        return
    said = "\n".join(f"- {one.kind.value}: {one.subject}\n{one.text.rstrip()}" for one in serious)
    hint = "; ".join(dict.fromkeys(one.suggestion for one in serious if one.suggestion))
    raise Unresolved(
        f"profile {order.profile.name}: Portage cannot resolve it:\n{said}",
        hint or "the profile or the repository has to change",
        serious,
    )


def check_world(order: Order, atoms: Mapping[str, str]) -> None:
    """Raise Problem for a world atom that nothing can satisfy: emerge itself would end with status 0."""
    names = ", ".join(snapshot.repository for snapshot in order.snapshots)
    repository = f"repository {names}" if len(order.snapshots) == 1 else f"any of the repositories {names}"
    words = {
        "absent": f"is not in {repository}",
        "masked": f"is in {repository}, but masked for this profile",
        "invalid": "is not an atom",
    }
    for atom, state in sorted(atoms.items()):
        if state not in USABLE:
            place = _world_file(order, atom)
            raise Problem(
                f"profile {order.profile.name}: {atom} {words[state]}", hint=f"it stands in {place}"
            )


def _world_file(order: Order, atom: str) -> Path:
    """Where an atom comes from: the world file of the profile or of a parent, or [kernel]."""
    places = [order.site.path / "profiles" / name / "world" for name in reversed(order.profile.lineage)]
    for place in places:
        if place.is_file() and atom in place.read_text().split():
            return place
    file = "profile.toml" if atom == order.profile.kernel_package else "world"
    return order.site.path / "profiles" / order.profile.name / file
