"""The backlog of a site, read from its state: what waits, what it waits for, and who may have it."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.cli.queue import rows, summary
from appliance.desks.backlog import BacklogDesk, Unwanted, flag_class, kind_of
from appliance.desks.work import Work, failure_kind
from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.farm_process import build_job
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import CommandFailed, run
from appliance.services import Services
from appliance.store import Store
from appliance.store.history import Effort, Subject
from appliance.up import Up
from buildfarm import outcome
from buildfarm.key import Recipe
from buildfarm.meter import Reading, Tally
from buildfarm.order import Progress
from buildfarm.outcome import Outcome
from buildfarm.portage import Installed, State
from buildfarm.preview import Preview
from buildfarm.resolution import Choice, Resolution
from buildfarm.root import Busy, Head, Root
from tests.clock import Clock

DAY = 24 * 3600.0
PROFILE = 'parent = ["vm"]\ndescription = "another one"\n'


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    for name in ("web", "other"):
        (site / "profiles" / name / "portage").mkdir(parents=True)
        (site / "profiles" / name / "profile.toml").write_text(PROFILE)
    (site / "profiles/other/portage/make.conf").write_text('CFLAGS="-O3"\n')
    with (site / "appliance.toml").open("a") as file:
        file.write('workers = 2\nmemory = "64 GiB"\n')
    return Services(site, Tree(tmp_path / "state"), clock)


@pytest.fixture
def desk(services: Services) -> BacklogDesk:
    return services.backlog


def run_job(services: Services, name: str, state: str, *, seconds: float = 60.0, failure: str = "") -> None:
    job = services.backlog.take(services.live.now().profiles[name])
    services.store.jobs.end(
        job.id, state, now=services.clock() + seconds, failure=failure, message="it ended"
    )


def change(services: Services, name: str) -> None:
    with (services.live.path / f"profiles/{name}/world").open("a") as world:
        world.write("app-editors/nano\n")


def starting(desk: BacklogDesk) -> list[str]:
    return [job.profile for job, decision in desk.decide() if decision.starts]


def test_one_profile_of_each_flag_class_starts_on_new_repositories(
    services: Services, desk: BacklogDesk
) -> None:
    profiles = services.live.now().profiles
    assert flag_class(profiles["vm"]) == flag_class(profiles["web"]) != flag_class(profiles["other"])
    desk.refresh()
    assert starting(desk) == ["other", "vm"]
    why = {one.task.profile: one.why for one in desk.board().waiting}
    assert why["web"] == "vm builds the same packages, which it then reuses"


def test_when_one_of_a_class_is_done_the_others_run_side_by_side(
    services: Services, desk: BacklogDesk
) -> None:
    for name in ("vm", "other"):
        desk.refresh()
        run_job(services, name, "done")
    change(services, "vm")
    desk.refresh()
    assert starting(desk) == ["web", "other"]
    assert desk.board().waiting[-1].why == "all 2 workers are busy"


def test_what_is_to_be_done_is_the_same_however_often_one_looks(
    services: Services, desk: BacklogDesk
) -> None:
    desk.refresh()
    before = services.store.jobs.all()
    desk.refresh()
    assert services.store.jobs.all() == before
    assert {job.state for job in before} == {"waiting"}


def test_newer_inputs_take_the_place_of_waiting_ones(
    services: Services, desk: BacklogDesk, clock: Clock
) -> None:
    desk.refresh()
    clock.now += 600
    change(services, "other")
    desk.refresh()
    board = desk.board()
    assert [job.profile for job in board.replaced] == ["other"]
    (task,) = [one.task for one in board.waiting if one.task.profile == "other"]
    assert clock.now - task.since == 600


def test_what_is_not_wanted_any_more_leaves_the_backlog(services: Services, desk: BacklogDesk) -> None:
    desk.refresh()
    shutil.rmtree(services.live.path / "profiles/web")
    desk.refresh()
    assert {one.task.profile for one in desk.board().waiting} == {"vm", "other"}


def test_a_message_whose_job_is_done_is_not_wanted(services: Services, desk: BacklogDesk) -> None:
    desk.refresh()
    (job,) = services.store.jobs.waiting("build", "vm")
    run_job(services, "vm", "done")
    with pytest.raises(Unwanted):
        desk.take(services.live.now().profiles["vm"], job.id)


def test_a_build_starts_from_the_inputs_as_they_are_then(services: Services, desk: BacklogDesk) -> None:
    desk.refresh()
    (job,) = services.store.jobs.waiting("build", "vm")
    change(services, "vm")
    taken = desk.take(services.live.now().profiles["vm"], job.id)
    assert taken.inputs != job.inputs
    assert taken.inputs == services.inputs(services.live.now().profiles["vm"])
    desk.refresh()
    assert services.store.jobs.waiting("build", "vm") == []


def test_a_profile_is_not_built_twice_at_once(services: Services, desk: BacklogDesk) -> None:
    profile = services.live.now().profiles["vm"]
    desk.take(profile)
    before = services.store.jobs.all()
    with pytest.raises(Problem, match="being built already"):
        desk.take(profile)
    assert services.store.jobs.all() == before


def test_a_person_may_build_what_is_not_due(services: Services, desk: BacklogDesk) -> None:
    run_job(services, "vm", "done")
    assert "vm" not in desk.due()
    assert desk.take(services.live.now().profiles["vm"]).state == "running"


def test_failures_wait_longer_and_longer_and_newer_inputs_end_that(
    services: Services, desk: BacklogDesk, clock: Clock
) -> None:
    for wait in (1, 2, 4):
        run_job(services, "vm", "failed", seconds=0.0, failure="compile")
        clock.now += wait * DAY - 1
        assert "vm" not in desk.due()
        clock.now += 1
        assert "vm" in desk.due()
    run_job(services, "vm", "failed", failure="compile")
    assert "vm" not in desk.due()
    change(services, "vm")
    assert "vm" in desk.due()


def test_a_clock_that_went_back_does_not_put_a_retry_off(
    services: Services, desk: BacklogDesk, clock: Clock
) -> None:
    run_job(services, "vm", "failed", seconds=0.0, failure="fetch")
    clock.now -= 300 * DAY
    (wanted,) = [one for one in desk.wanted() if one.profile == "vm"]
    assert wanted.not_before - clock.now == 900


def test_after_running_out_of_memory_there_are_half_as_many_jobs(
    services: Services, desk: BacklogDesk
) -> None:
    full = desk.rules().jobs
    run_job(services, "vm", "failed", failure="memory")
    desk.refresh()
    (job,) = services.store.jobs.waiting("build", "vm")
    assert job.max_jobs == max(1, full // 2)


def test_what_is_expected_comes_from_earlier_builds_of_the_profile(
    services: Services, desk: BacklogDesk, clock: Clock
) -> None:
    for seconds, peak in ((100, 5), (9000, 7), (120, 3)):
        job = desk.take(services.live.now().profiles["vm"])
        services.store.jobs.measure(job.id, peak)
        clock.now += seconds
        services.store.jobs.end(job.id, "done", now=clock.now)
    change(services, "vm")
    (wanted,) = [one for one in desk.wanted() if one.profile == "vm"]
    assert (wanted.expected.seconds, wanted.expected.memory_bytes) == (120, 7)


def test_the_queue_reads_well(services: Services, desk: BacklogDesk, clock: Clock) -> None:
    assert summary(desk.board()) == "nothing runs and nothing waits"
    job = desk.take(services.live.now().profiles["vm"])
    Work(services.store, job.id, lambda progress: None, clock=clock).report(
        Progress("packages", "Completed", "a/b-1", 1, 3)
    )
    run_job(services, "other", "failed", failure="fetch", seconds=0.0)
    desk.refresh()
    clock.now += 60
    table = [(name, state, since, why) for name, state, since, _, why in rows(desk.board())]
    assert ("vm", "running", "for 1 min", "packages: (1/3) a/b-1 Completed") in table
    assert ("web", "waiting 2", "for 1 min", "vm builds the same packages, which it then reuses") in table
    assert ("other", "waiting 1", "for 1 min", "it failed and is tried again in 14 min") in table
    assert ("other", "failed", "fetch: it ended") in [(row[0], row[1], row[3]) for row in table]
    assert summary(desk.board()).startswith("1 running, 2 waiting; all done in about 1 h 59 min")


def package(key: str) -> Package:
    return Package(key * 64, f"app/{key}-1", 1, 10, key, 1.0, f"CPV: app/{key}-1\n")


def work(services: Services, *, report: Callable[[Progress], None] = lambda progress: None) -> Work:
    job = services.store.jobs.start("build", "vm", now=services.clock())
    return Work(services.store, job, report, clock=services.clock, look_again_seconds=0.01)


def test_a_package_that_another_build_makes_is_waited_for_and_reused(
    services: Services, tmp_path: Path
) -> None:
    services.store.claims.take({"a"}, "builder2@1", now=0.0, until=services.clock() + 60)
    said: list[str] = []
    elsewhere = Store(tmp_path / "state/store/store.sqlite")

    def see(progress: Progress) -> None:
        said.append(progress.message)
        elsewhere.packages.remember(package("a"))
        elsewhere.claims.release("builder2@1")

    found = work(services, report=see).known({"a": "", "b": ""})
    assert [one.build_key for one in found] == ["a"]
    assert said[0] == "waiting: builder2@1 builds 1 of the same packages"
    assert elsewhere.claims.take({"b"}, "builder2@1", now=0.0, until=1.0) != {}


def test_a_build_with_claims_of_its_own_does_not_wait_for_others(services: Services) -> None:
    with work(services) as mine:
        assert mine.known({"b": ""}) == []
        services.store.claims.take({"a"}, "builder2@1", now=0.0, until=services.clock() + 60)
        assert mine.known({"a": ""}) == []
    assert services.store.claims.take({"b"}, "builder2@1", now=0.0, until=1.0) == {}


def test_what_a_build_cost_is_remembered_for_each_package_it_made(services: Services) -> None:
    mine = work(services)
    mine.remember(package("a"), {"USE": ""})
    mine.remember(package("b"), {"USE": ""})
    mine.report(Progress("packages", "Completed", "app/a-1", 1, 2, "done", 42.0))
    tally = Tally()
    for now, seconds in ((0.0, 1.0), (5.0, 30.0)):
        tally.take(now, [Reading((9, 1), 1, seconds, 1000, "app/a-1", "compile")])
    mine.account(tally)
    (noted,) = services.store.packages.known(["a"])
    assert (noted.seconds, noted.cpu_seconds, noted.peak_bytes) == (42.0, 30.0, 1000)
    history = services.store.history
    assert history.estimate(Subject("app/a", build_key="a")) == Effort(42.0, 30.0, 1000, "key")
    # b was over before anybody looked.
    assert history.estimate(Subject("app/b")) == Effort(0.0, 0.0, 0, "name and flags")
    (job,) = services.store.jobs.running()
    assert job.peak_bytes == 1000


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (OSError(errno.ENOSPC, "full"), "disk"),
        (CommandFailed(["cp"], 1, "cp: x: No space left on device"), "disk"),
        (MemoryError(), "memory"),
        (KeyboardInterrupt(), "interrupted"),
        (Problem("no stage"), "problem"),
        (Busy("somebody is in it"), "busy"),
        (ValueError("a bug"), "unknown"),
    ],
)
def test_failures_that_are_no_packages_have_a_kind(failure: BaseException, kind: str) -> None:
    assert failure_kind(failure) == kind


def test_what_cannot_be_offered_to_another_host_fails_and_is_built_here(services: Services) -> None:
    for file in services.live.path.rglob("profile.toml"):
        file.write_text(file.read_text().replace("reference:", "/nowhere/"))
    services.backlog.refresh()
    build = services.store.jobs.waiting("build", "vm")[0]
    job = services.remote.open(build)
    with pytest.raises(Problem):
        build_job(Up(services.live.path, services.tree.path, ("lo",)), job, 0)
    found = services.store.jobs.get(job)
    assert found
    assert found.state == "failed"
    assert found.message.startswith("it cannot be offered")
    services.store.workers.seen("builder2", now=services.clock())
    elsewhere = services.backlog.decide(elsewhere=1)
    assert "vm" not in {one.profile for one, decision in elsewhere if decision.starts}


def test_a_job_that_did_not_fail_has_no_kind(services: Services) -> None:
    run_job(services, "vm", "done")
    (job,) = services.store.jobs.recent("build", "vm")
    assert kind_of(job) == ""


GLSA = """<glsa id="202611-01"><affected><package name="sys-apps/sed" arch="*">
<unaffected range="ge">4.9</unaffected><vulnerable range="lt">4.9</vulnerable>
</package></affected></glsa>"""


def test_a_profile_with_something_vulnerable_goes_first(
    services: Services, desk: BacklogDesk, tmp_path: Path
) -> None:
    desk.refresh()
    assert starting(desk) == ["other", "vm"]
    place = tmp_path / "tree/metadata/glsa"
    place.mkdir(parents=True)
    (place / "glsa-202611-01.xml").write_text(GLSA)
    image = services.tree.room("snapshots") / "new.sqfs"
    run(["mksquashfs", tmp_path / "tree", image, "-quiet", "-no-progress"])
    image.with_suffix(".json").write_text("{}")
    source = services.live.now().repositories[0].source
    services.store.snapshots.succeeded(
        "distserver", source=source, revision="new", image=image.name, validator="", now=services.clock()
    )
    own = Root(services.tree.room("roots") / "vm")
    own.path.mkdir()
    Head("stage", ("000001",)).write(own.path / "head")
    sed = Installed("sys-apps/sed-4.8", 1, 1, "0")
    outcome.write(Outcome("old", ("000001",), {}, State({}, (sed,), {}, {}), ()), own)
    assert services.advisories.of(services.live.now().profiles["vm"]) == {"sys-apps/sed-4.8": "202611-01"}
    desk.refresh()
    assert starting(desk) == ["vm", "other"]
    assert desk.board().waiting[0].why == "a security update"


def test_a_build_that_waits_for_a_worker_is_planned_and_the_longest_goes_first(
    services: Services, desk: BacklogDesk
) -> None:
    for name in ("vm", "other"):
        desk.refresh()
        run_job(services, name, "done")
    for name in ("vm", "other"):
        change(services, name)
    desk.refresh()
    assert starting(desk) == ["web", "other"]
    waiting = services.foresight.unforeseen()
    assert waiting
    assert waiting.profile == "vm"
    services.store.plans.put("vm", waiting.inputs, 7200.0, 1 << 30)
    assert services.foresight.unforeseen() is None
    desk.refresh()
    assert starting(desk) == ["vm", "web"]
    assert desk.board().waiting[0].task.expected.seconds == 7200.0


def test_a_plan_takes_its_critical_path_or_its_work_whichever_is_longer(services: Services) -> None:
    for name, seconds in (("a", 100.0), ("b", 50.0), ("c", 10.0)):
        effort = Effort(seconds, seconds, 1 << 20)
        services.store.history.record(Subject(f"app-misc/{name}", flags="f"), effort, at=1.0)
    recipes = {f"app-misc/{name}-1": Recipe(f"app-misc/{name}-1") for name in "abc"}
    choices = (
        Choice("app-misc/a-1", "0", "x", "ebuild"),
        Choice("app-misc/b-1", "0", "x", "ebuild", needs=("app-misc/a-1",)),
        Choice("app-misc/c-1", "0", "x", "ebuild"),
    )
    found = Preview(Resolution("3", "m", choices), (), recipes)
    jobs = services.backlog.rules().jobs
    assert services.foresight.expect(found, "f").seconds == max(150.0, 160.0 / jobs)
    known = replace(found, known=frozenset({"app-misc/a-1"}))
    assert services.foresight.expect(known, "f").seconds == max(50.0, 60.0 / jobs)


def test_a_job_that_waits_no_more_is_not_planned(services: Services, desk: BacklogDesk) -> None:
    job = desk.take(services.live.now().profiles["vm"])
    assert services.foresight.foresee(job.id) is None
