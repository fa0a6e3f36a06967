"""Brings a profile's root up to date with emerge, offering it what the pool already has."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Package
from appliance.run import run
from appliance.sandbox import Sandbox
from buildfarm import harvest, kernel_source, outcome, portage, recipes, root
from buildfarm.failures import Failure, classify, plain
from buildfarm.key import Recipe, build_key
from buildfarm.order import Order, Progress, processors
from buildfarm.outcome import Outcome
from buildfarm.portage import Action, State
from buildfarm.root import Attempt

ANY_STATUS = range(-255, 256)
TAIL_LINES = 30
USABLE = ("installed", "provided", "available")


@dataclass(frozen=True)
class Compiled:
    """What emerge made of a root."""

    status: int
    output: str
    ended_well: bool
    state: State
    remaining: tuple[Action, ...]
    packages: tuple[Package, ...]
    """Of what is installed now, as far as it is in the pool."""
    built: tuple[Package, ...]
    reused: tuple[Package, ...]
    failures: tuple[Failure, ...]
    keys: Mapping[str, str]
    """Build keys of everything that was wanted."""


def compile_profile(order: Order, attempt: Attempt) -> Compiled:
    """Lay the configuration, offer known packages, run emerge, take what it finished into the pool."""
    files = laid_files(order)
    root.lay(attempt.upper, order.build_stage.root, files, over=attempt.layers)
    sandbox = build_sandbox(order, attempt)
    before = portage.read_state(sandbox, order.profile.world)
    check_world(order, before.world)
    made_of = _recipes(order, sandbox)
    keys = {cpv: build_key(recipe) for cpv, recipe in made_of.items()}
    attempt.keys.write_text(json.dumps(keys, indent=1, sort_keys=True))
    known = harvest.choose(order.ledger.known(set(keys.values())), before.installed)
    offered = harvest.offer(attempt, order.pool, known, chost=order.profile.chost)
    order.report(Progress("plan", f"{len(keys)} packages, {len(offered)} of them known", status="done"))
    run_ = _emerge_all(order, sandbox)
    built = harvest.gather(attempt, order.pool, order.ledger)
    after = portage.read_state(sandbox, order.profile.world)
    instances = {(p.cpv, p.build_id, int(p.built_at)): p for p in (*offered, *built)}
    present = [instances.get((one.cpv, one.build_id, one.build_time)) for one in after.installed]
    packages = tuple(package for package in present if package)
    return Compiled(
        status=run_.status,
        output=run_.output,
        ended_well=run_.ended_well,
        state=after,
        remaining=tuple(portage.plan(sandbox, portage.update_plan())) if run_.status == 0 else (),
        packages=packages,
        built=tuple(built),
        reused=tuple(package for package in packages if package in offered),
        failures=_failures(order, run_.output, keys),
        keys=keys,
    )


def build_sandbox(order: Order, attempt: Attempt) -> Sandbox:
    """The profile's root as emerge sees it."""
    rooms = root.Rooms(order.tree.room("distfiles").resolve(), order.logs)
    env = portage.environment(processors())
    return root.sandbox(attempt, order.build_stage.root, order.snapshots, rooms=rooms, env=env)


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
    """The world file, of the profile or of the parent that brought the atom."""
    places = [order.site.path / "profiles" / name / "world" for name in reversed(order.profile.lineage)]
    for place in places:
        if place.is_file() and atom in place.read_text().split():
            return place
    return order.site.path / "profiles" / order.profile.name / "world"


def laid_files(order: Order) -> dict[str, root.Content]:
    """What is laid into the build root; no name of the profile is in it, so that equal ones are equal."""
    return {**order.configuration, **kernel_source.configuration(order.profile)}


def made_of(order: Order) -> str:
    """The identity of the root this order asks for."""
    rules = {"environment": portage.environment(1), "update": portage.update(1), "chost": order.profile.chost}
    return outcome.identity(
        stage=order.build_stage.sha256,
        revisions=[f"{one.repository} {one.revision}" for one in order.snapshots],
        files=outcome.digests(laid_files(order)),
        rules=json.dumps(rules, sort_keys=True),
    )


def recall(known: Outcome) -> Compiled:
    """A finished root as if it had just been compiled: nothing was built, everything reused."""
    return Compiled(
        status=0,
        output="",
        ended_well=True,
        state=known.state,
        remaining=(),
        packages=known.packages,
        built=(),
        reused=known.packages,
        failures=(),
        keys={package.cpv: package.build_key for package in known.packages},
    )


def _recipes(order: Order, sandbox: Sandbox) -> dict[str, Recipe]:
    """What decides about everything the profile consists of now."""
    cpvs = [action.cpv for action in portage.plan(sandbox, portage.whole_plan()) if action.kind == "ebuild"]
    return recipes.read(sandbox, cpvs, kernel_config=kernel_source.options(order.profile))


@dataclass(frozen=True)
class _Run:
    status: int
    output: str
    ended_well: bool


def _emerge_all(order: Order, sandbox: Sandbox) -> _Run:
    """Update, rebuild users of old libraries, remove what nothing needs; stops at the first that fails."""
    lines: list[str] = []
    status = 0
    steps = (portage.update(order.jobs), portage.rebuild_preserved(order.jobs), portage.depclean())
    for argv in steps:
        watch = _watch(order, lines)
        log = order.logs / "emerge.out"
        status = run(argv, prefix=sandbox.prefix(), output=log, on_line=watch, ok=ANY_STATUS).status
        if status != 0:
            break
    emerge_log = order.logs / "emerge.log"
    text = emerge_log.read_text(errors="replace") if emerge_log.exists() else ""
    return _Run(status, "\n".join(lines), portage.ended_well(text))


def _watch(order: Order, lines: list[str]) -> Callable[[str], None]:
    """Keep emerge's lines and report the ones that say how far it is."""
    begun: dict[str, float] = {}

    def see(line: str) -> None:
        lines.append(line)
        step = portage.parse_step(line)
        if step is None:
            return
        if step.verb.startswith("Emerging"):
            begun[step.cpv] = order.tools.now()
            order.report(Progress("packages", step.verb, step.cpv, step.number, step.total, "begin"))
        elif step.verb == "Completed":
            seconds = order.tools.now() - begun.get(step.cpv, order.started)
            order.report(Progress("packages", step.verb, step.cpv, step.number, step.total, "done", seconds))

    return see


def _failures(order: Order, output: str, keys: Mapping[str, str]) -> tuple[Failure, ...]:
    found = []
    for package, inside in sorted(portage.parse_failures(output).items()):
        log = order.logs / Path(inside).relative_to(root.LOGS) if inside else None
        text = log.read_text(errors="replace") if log and log.is_file() else ""
        said = classify(text)
        failure = Failure(
            package=package,
            log=log,
            tail="\n".join(plain(text).splitlines()[-TAIL_LINES:]),
            kind=said.kind,
            evidence=said.evidence,
            build_key=keys.get(package, ""),
            remembered=said.remembered,
        )
        found.append(failure)
        order.report(Progress("packages", str(failure), package, status="failed"))
    return tuple(found)
