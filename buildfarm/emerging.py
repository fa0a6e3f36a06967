"""Runs emerge in a root, step by step: what it said, how long each package took, what failed and why."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.farm_model import Figures
from appliance.run import run
from appliance.sandbox import Sandbox
from buildfarm import failures, layers, portage, root
from buildfarm.failures import Failure
from buildfarm.order import Order, Progress
from buildfarm.root import Attempt

ANY_STATUS = range(-255, 256)
TAIL_LINES = 30
PRESERVED = "var/lib/portage/preserved_libs_registry"


@dataclass(frozen=True)
class Run:
    """What emerge came to."""

    status: int
    output: str
    ended_well: bool
    failures: tuple[Failure, ...]
    figures: Mapping[str, Figures]
    """cpv -> what its build took."""


def steps_of(
    order: Order, attempt: Attempt, update: Sequence[str], *, clean: bool
) -> Iterator[Sequence[str]]:
    """Update; rebuild users of old libraries and remove what nothing needs, unless more is to come."""
    yield update
    if clean and _preserved(order, attempt):
        yield portage.rebuild_preserved(order.jobs)
    if clean:
        yield portage.depclean()


def _preserved(order: Order, attempt: Attempt) -> bool:
    """Are there old libraries that something still uses?"""
    places = (attempt.upper, *attempt.layers, order.build_stage.root)
    below = order.target.relative_to("/") if order.target else PurePosixPath()
    registry = layers.find(places, str(below / PRESERVED))
    return registry is not None and bool(json.loads(registry.read_text() or "{}"))


def emerge_all(
    order: Order,
    sandbox: Sandbox,
    steps: Iterable[Sequence[str]],
    keys: Mapping[str, str],
    *,
    distributed: bool,
) -> Run:
    """Run emerge step by step; stops at the first that fails."""
    lines: list[str] = []
    took: dict[str, float] = {}
    log = order.logs / "emerge.out"
    status = 0
    for argv in steps:
        watch = _watch(order, lines, took)
        status = run(argv, prefix=sandbox.prefix(), output=log, on_line=watch, ok=ANY_STATUS).status
        if status != 0:
            break
    emerge_log = order.logs / "emerge.log"
    text = emerge_log.read_text(errors="replace") if emerge_log.exists() else ""
    output = "\n".join(lines)
    figures = {cpv: Figures(seconds=seconds) for cpv, seconds in took.items()}
    failed = _failures(order, output, keys, distributed=distributed)
    return Run(status, output, portage.ended_well(text), failed, figures)


def _watch(order: Order, lines: list[str], took: dict[str, float]) -> Callable[[str], None]:
    """Keep emerge's lines and the seconds of each package, and report how far it is."""
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
            took[step.cpv] = seconds
            order.report(Progress("packages", step.verb, step.cpv, step.number, step.total, "done", seconds))

    return see


def _failures(
    order: Order, output: str, keys: Mapping[str, str], *, distributed: bool
) -> tuple[Failure, ...]:
    found = []
    for package, place in sorted(portage.parse_failures(output).items()):
        log = order.logs / Path(place).relative_to(root.LOGS) if place else None
        text = log.read_text(errors="replace") if log and log.is_file() else ""
        said = failures.classify(text, distributed=distributed)
        failure = Failure(
            package=package,
            log=log,
            tail="\n".join(failures.plain(text).splitlines()[-TAIL_LINES:]),
            kind=said.kind,
            evidence=said.evidence,
            build_key=keys.get(package, ""),
            remembered=said.remembered,
        )
        found.append(failure)
        order.report(Progress("packages", str(failure), package, status="failed"))
    return tuple(found)
