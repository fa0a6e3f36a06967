"""What a build did with each package, why, and how its time compares."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.build_story import log_of, why_built, why_reused
from appliance.desks.builds import BuildDesk
from appliance.desks.work import Work
from appliance.farm_model import Job, Package
from appliance.model import Tree
from appliance.store import Store
from appliance.store.history import Effort, Subject
from appliance.store.job_packages import KEPT_JOBS
from buildfarm.order import Progress
from tests.clock import Clock
from webui.effort_picture import WIDTH, draw

CPV = "app-misc/a-2"
OLD = Package("ab" * 32, "app-misc/a-1", 1, 5, "old key", 500.0, "", profile="web")


@pytest.fixture
def desk(tmp_path: Path) -> BuildDesk:
    return BuildDesk(Tree(tmp_path / "state"), Store(tmp_path / "store.sqlite"))


def begin(desk: BuildDesk) -> tuple[Work, Job]:
    number = desk.store.jobs.start("build", "vm", now=1000.0)
    return Work(desk.store, number, lambda progress: None, clock=Clock(1000.0)), desk.job(number)


def step(cpv: str, verb: str, status: str, seconds: float | None = None) -> Progress:
    return Progress("packages", verb, cpv, 1, 3, status, seconds)


def test_each_package_is_told_with_its_reason_those_first_that_failed(desk: BuildDesk) -> None:
    desk.store.packages.remember(OLD, {"ebuild": "1" * 64, "USE": "a"})
    for seconds in (30.0, 10.0, 20.0):
        desk.store.history.record(Subject("app-misc/a"), Effort(seconds, 0.0, 0), at=600.0)
    kept = replace(OLD, sha256="cd" * 32, cpv="app-misc/kept-1", build_key="kept key")
    desk.store.packages.remember(kept)
    work, job = begin(desk)
    with work:
        work.known({"kept key": ""})
        work.report(step("app-misc/kept-1", "Emerging binary", "begin"))
        work.report(step("app-misc/kept-1", "Completed", "done", 0.5))
        work.report(step(CPV, "Emerging", "begin"))
        work.report(step(CPV, "Completed", "done", 45.0))
        made = Package("ef" * 32, CPV, 1, 5, "new key", 1000.0, "")
        work.remember(made, {"ebuild": "2" * 64, "USE": "a b"})
        work.report(step("app-misc/new-1", "Emerging", "begin"))
        work.report(Progress("packages", "does not build", "app-misc/bad-1", status="failed"))
    bad, taken, built, running = sorted(
        desk.packages(job, limit=9), key=lambda one: ("bad", "kept", "a-2", "new").index(
            next(word for word in ("bad", "kept", "a-2", "new") if word in one.entry.cpv)
        ),
    )  # fmt: skip
    assert [one.entry.cpv for one in desk.packages(job, limit=2)] == ["app-misc/bad-1", "app-misc/new-1"]
    assert (bad.entry.state, bad.entry.said) == ("failed", "does not build")
    assert taken.why == ("a package that was built just this way was in the pool, built for web",)
    assert taken.entry.sha256 == kept.sha256
    assert built.why == ("version: 1 -> 2", "USE: +b", "ebuild changed")
    assert (built.usual, built.entry.seconds) == (20.0, 45.0)
    assert running.why == ("it was never built here",) and running.entry.state == "running"
    assert desk.package_counts(job) == {"failed": 1, "running": 1, "done": 2, "reused": 1}


def test_a_second_try_takes_the_place_of_the_first(desk: BuildDesk) -> None:
    work, job = begin(desk)
    with work:
        for status in ("begin", "failed", "begin", "done"):
            work.report(step(CPV, "Emerging", status, 3.0 if status == "done" else None))
    (one,) = desk.packages(job, limit=9)
    assert (one.entry.state, one.entry.said, one.entry.seconds) == ("done", "", 3.0)


def test_packages_of_old_jobs_are_forgotten(desk: BuildDesk) -> None:
    for job in (1, 2, 1 + KEPT_JOBS):
        desk.store.job_packages.begin(job, CPV, reused=False, now=1.0)
    kept = [job for job in (1, 2, 1 + KEPT_JOBS) if desk.store.job_packages.get(job, CPV)]
    assert kept == [2, 1 + KEPT_JOBS]


def test_reasons_when_no_recipe_is_known() -> None:
    assert why_built(CPV, None, ()) == ("it was never built here",)
    assert why_built(CPV, OLD, ()) == ("app-misc/a-1 was the last that was built",)
    assert why_built(OLD.cpv, OLD, ())[0].startswith("no package in the pool was built just this way")
    assert why_reused(None) == ("a package that was built just this way was in the pool",)


def test_a_reason_of_the_gate_leads_to_the_log_that_tells_more() -> None:
    names = ["emerge.out", "client.out", "build/app-misc/a-2:1.log", "build/app-misc/a-2:2.log"]
    assert log_of("app-misc/a-2 does not build (compile): error", names) == "build/app-misc/a-2:2.log"
    assert log_of("a fresh machine cannot install it:\nemerge: ...", names) == "client.out"
    assert log_of("emerge ended with status 1", names) == "emerge.out"
    assert log_of("a virtual machine did not boot", ["client.out"]) == ""


def test_a_bar_is_as_long_as_its_part_of_the_longest() -> None:
    assert draw(5.0, [10.0, 4.0], 7.0).width == WIDTH / 2
    assert draw(5.0, [10.0, 4.0], 7.0).mark == 700.0
    assert draw(30.0, [10.0], 10.0).slow and not draw(12.0, [10.0], 10.0).slow
    assert draw(0.0, [], None) == draw(-1.0, [], None)
    marked = draw(1.0, [8.0], 8.0).mark
    assert marked is not None and marked < WIDTH
