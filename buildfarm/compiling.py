"""Brings a profile's root up to date with emerge, offering it what the pool already has."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from appliance.errors import Problem
from appliance.farm_model import FailureRecord, Held, Package
from appliance.sandbox import Sandbox
from buildfarm import (
    ccache,
    crossing,
    failures,
    harvest,
    holds,
    inside,
    outcome,
    planning,
    portage,
    provenance,
    root,
)
from buildfarm.compilers import is_part
from buildfarm.emerging import Run, emerge_all, steps_of
from buildfarm.failures import Effort, Failure, Retry
from buildfarm.key import KERNEL, TOOLCHAIN, Recipe
from buildfarm.order import Order, Progress, lend_none, processors
from buildfarm.outcome import Outcome
from buildfarm.portage import State
from buildfarm.preparing import (
    Prepared,
    build_sandbox,
    fetch_sources,
    laid_files,
    offers,
    prepare,
    to_build_again,
)
from buildfarm.resolution import Choice, Question, Resolution
from buildfarm.root import Attempt


@dataclass(frozen=True)
class Compiled:
    """What emerge made of a root."""

    status: int
    output: str
    ended_well: bool
    state: State
    remaining: tuple[Choice, ...]
    packages: tuple[Package, ...]
    """Of what is installed now, as far as it is in the pool."""
    built: tuple[Package, ...]
    reused: tuple[Package, ...]
    failures: tuple[Failure, ...]
    keys: Mapping[str, str]
    """Build keys of everything that was wanted."""
    questions: tuple[Question, ...] | None = None
    """What the resolver noted and could go on with; None: it was not asked."""
    earlier: tuple[Failure, ...] = ()
    """Of versions that failed in this build and are held back since."""


def made_of(order: Order) -> str:
    """The identity of the root this order asks for."""
    rules = {
        "environment": portage.environment(1),
        "update": portage.update(1),
        "chost": order.profile.chost,
        "strict": order.site.farm.strict,
        **crossing.environment(order.target),
    }
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


@dataclass
class _Tally:
    """What the rounds of one build came to."""

    keys: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    built: dict[str, Package] = field(default_factory=dict)

    def add(self, compiled: Compiled) -> Compiled:
        """The last round's outcome with what all of them built, wanted and failed."""
        self.keys |= compiled.keys
        self.failed |= {one.package: one for one in compiled.failures}
        self.built |= {one.sha256: one for one in compiled.built}
        return replace(
            compiled,
            built=tuple(self.built.values()),
            reused=tuple(one for one in compiled.reused if one.sha256 not in self.built),
            keys=dict(self.keys),
            earlier=tuple(one for one in self.failed.values() if one not in compiled.failures),
        )


def compile_profile(order: Order, attempt: Attempt, before: Sequence[Package] = ()) -> tuple[Order, Compiled]:
    """Build what is missing; when all that fails may stay at its version it is held back and the rest built.

    `before`: the packages the root was committed with. The order that comes back is the one that was built:
    it has the holds in its configuration. Raises Unresolved when the resolver has questions.
    """
    plain, may_hold, compilers_first = order, order.profile.hold, True
    first: Compiled | None = None
    tally = _Tally()
    while True:
        try:
            prepared = prepare(order, attempt)
        except Problem:
            if not order.held:
                raise
            if first:  # the others cannot do without the new versions
                return plain, first
            order, may_hold = plain, False
            continue
        tally.keys |= prepared.keys
        if compilers_first and (tools := _toolchain(prepared)):
            # What is compiled with a new compiler has other keys, which are known when it is in the root.
            compilers_first = False
            tally.add(_compile(order, attempt, prepared, before, first=tools))
            continue
        known = order.tools.not_due(order.profile.name, prepared.keys)
        held = _may_stay([one.cpv for one in known], prepared, before) if may_hold else ()
        if not held:
            compiled = tally.add(_compile(order, attempt, prepared, before, known=known))
            first = first or compiled
            held = _may_stay([one.package for one in compiled.failures], prepared, before) if may_hold else ()
        if not held:
            return order, compiled
        order.report(Progress("packages", "; ".join(f"{one.cpv} waits, {one.at} stays" for one in held)))
        both = (*order.held, *held)
        order = replace(plain, held=both, configuration=holds.mask_files(plain.configuration, both))


def _toolchain(prepared: Prepared) -> tuple[str, ...]:
    """New compilers, linkers and C libraries."""
    return tuple(sorted(one.cpv for one in prepared.resolution.choices if is_part(one.cpv)))


def _may_stay(cpvs: Sequence[str], prepared: Prepared, before: Sequence[Package]) -> tuple[Held, ...]:
    return holds.stand_ins(cpvs, prepared.before.installed, before) if cpvs else ()


def _lay_again(order: Order, attempt: Attempt, *more: Mapping[str, root.Content]) -> None:
    """The configuration with what only concerns this run of emerge."""
    files = laid_files(order)
    added = {name: content for each in more for name, content in each.items()}
    if added:
        root.lay(attempt.upper, order.build_stage.root, {**files, **added}, over=attempt.layers)


def _cached(
    order: Order, attempt: Attempt, prepared: Prepared, offered: Sequence[Package]
) -> dict[str, root.Content]:
    """Turn the compiler cache on for kernels and for what replaces an installed package."""
    if not ccache.is_installed((attempt.upper, *attempt.layers, order.build_stage.root)):
        return {}
    there = {package.cpv for package in offered}
    before = {choice.cpv for choice in prepared.resolution.choices if choice.replaces}
    before |= {one.cpv for one in prepared.before.installed}
    again = [
        cpv
        for cpv, made in prepared.recipes.items()
        if cpv not in there and (KERNEL in made.parts or cpv in before)
    ]
    return ccache.package_files(laid_files(order), again)


def _compile(
    order: Order,
    attempt: Attempt,
    prepared: Prepared,
    before: Sequence[Package],
    *,
    first: Sequence[str] = (),
    known: Sequence[FailureRecord] = (),
) -> Compiled:
    """Offer known packages, run emerge, take what it finished into the pool.

    `first`: only these packages. `known`: what failed under the same key fails at once, beside the others.
    """
    keys = prepared.keys
    name = order.profile.name
    harvest.note(attempt, prepared.recipes, profile=name)
    provenance.lay(attempt, prepared.recipes, profile=name, snapshots=order.snapshots)
    chosen = offers(order, prepared, before)
    offered = harvest.offer(attempt, order.pool, order.ledger, chosen, chost=order.profile.chost)
    order.report(Progress("plan", f"{len(keys)} packages, {len(offered)} of them known", status="done"))
    order.tools.get_distfiles(prepared.distfiles({package.cpv for package in offered}))
    for missed in fetch_sources(order, attempt, prepared, offered):
        order.report(Progress("distfiles", missed.reason, missed.cpv, status="failed"))
    _lay_again(order, attempt, failures.skip_files(known), _cached(order, attempt, prepared, offered))
    if first:
        order.report(Progress("packages", f"the toolchain first: {', '.join(first)}"))
    again = to_build_again(prepared, offered)
    ran, built = _emerge_until_done(order, attempt, prepared, again, first=first)
    if ran.status != 0:
        # Portage refuses an altered package; without it the next build makes that package again.
        harvest.condemn_damaged(order.pool, order.ledger, offered)
    after, left = _look(order, prepared.sandbox)
    instances = {(p.cpv, p.build_id, int(p.built_at)): p for p in (*offered, *built)}
    present = [instances.get((one.cpv, one.build_id, one.build_time)) for one in after.installed]
    packages = tuple(package for package in present if package)
    return Compiled(
        status=ran.status,
        output=ran.output,
        ended_well=ran.ended_well,
        state=after,
        remaining=left.choices,
        packages=packages,
        built=tuple(built),
        reused=tuple(package for package in packages if package in offered),
        failures=ran.failures,
        keys=keys,
        questions=prepared.resolution.questions,
    )


def _look(order: Order, sandbox: Sandbox) -> tuple[State, Resolution]:
    """What is in the root now, and what the resolver would still do."""
    questions = {
        "state": portage.state_question(order.profile.world),
        "plan": planning.question({"left": portage.remaining_plan()}),
    }
    answers = inside.ask(sandbox, questions)
    return portage.parse_state(answers["state"]), planning.parse(answers["plan"])["left"]


class WrongObjects(Exception):
    """A compile host returned other objects than the toolchain makes: nothing of this attempt may be kept."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        self.wrong = dict(wrong)
        super().__init__("; ".join(f"{host}: {reason}" for host, reason in sorted(wrong.items())))


def _emerge_until_done(
    order: Order, attempt: Attempt, prepared: Prepared, again: Sequence[str], *, first: Sequence[str]
) -> tuple[Run, list[Package]]:
    """Run emerge; what failed for want of memory or of a compile host is tried once more, more carefully."""
    efforts = [Effort(order.jobs, processors())]
    built: list[Package] = []
    while True:
        effort = efforts[-1]
        update = portage.only(effort.jobs, first) if first else portage.update(effort.jobs, again)
        ran = _try(order, attempt, prepared, update, effort, clean=not first)
        built += harvest.gather(attempt, order.pool, order.ledger, ran.figures)
        step = failures.next_step(ran.failures, efforts)
        if not ran.failures or not isinstance(step, Retry):
            return ran, list({package.sha256: package for package in built}.values())
        order.report(Progress("packages", f"again: {step.reason}"))
        efforts.append(Effort(step.jobs, step.make_jobs, step.local))


def _try(
    order: Order,
    attempt: Attempt,
    prepared: Prepared,
    update: Sequence[str],
    effort: Effort,
    *,
    clean: bool,
) -> Run:
    """One run of emerge, with compile hosts (unless the effort is local) and a compiler cache."""
    toolchain = main_toolchain(prepared.recipes.values())
    lend = lend_none if effort.local else order.tools.lend
    cross = cross_sandbox(order, attempt)
    with (
        lend(prepared.sandbox, effort.make_jobs, identity=toolchain, cross=cross) as hosts,
        _cache(order, attempt, toolchain, distcc=bool(hosts.hosts)) as shelf,
    ):
        own = build_sandbox(order, attempt, make_jobs=hosts.slots, env=shelf.env, shelves=shelf.mounts)
        steps = steps_of(order, attempt, update, clean=clean)
        ran = emerge_all(order, hosts.into(own), steps, prepared.keys, distributed=bool(hosts.hosts))
        counts = shelf.counts()
        if total := counts.hits + counts.misses:
            order.report(Progress("packages", f"{counts.hits} of {total} compilations came from the cache"))
    if hosts.hosts:
        usage = hosts.report()
        order.report(Progress("cluster", str(usage)))
        if usage.wrong:
            ccache.drop(order.tree.room("ccache").resolve(), toolchain)
            raise WrongObjects(usage.wrong)
        names = ", ".join(sorted(usage.remote))
        shared = {
            cpv: replace(one, hosts=names, remote_share=usage.share) for cpv, one in ran.figures.items()
        }
        return replace(ran, figures=shared)
    return ran


def cross_sandbox(order: Order, attempt: Attempt) -> Sandbox | None:
    """Where the native cross compiler of an emulated profile is; None: the root's own compiler is native."""
    if order.cross_stage is None:
        return None
    scratch = attempt.path / "cross"
    scratch.mkdir(exist_ok=True)
    return root.client_sandbox(scratch, order.cross_stage.root, (), shelves=(), env={})


def main_toolchain(recipes: Iterable[Recipe]) -> str:
    """Identity of the toolchain most of the profile is compiled with; empty when nothing is."""
    counts = Counter(recipe.parts[TOOLCHAIN].split()[0] for recipe in recipes if TOOLCHAIN in recipe.parts)
    return counts.most_common(1)[0][0] if counts else ""


@contextmanager
def _cache(order: Order, attempt: Attempt, toolchain: str, *, distcc: bool) -> Iterator[ccache.Shelf]:
    if not toolchain:
        yield ccache.Shelf()
        return
    with ccache.shelf(
        order.tree.room("ccache").resolve(),
        (attempt.upper, *attempt.layers, order.build_stage.root),
        toolchain=toolchain,
        build=order.logs.name,
        bound_bytes=order.site.ccache_bytes,
        distcc=distcc,
    ) as shelf:
        yield shelf
