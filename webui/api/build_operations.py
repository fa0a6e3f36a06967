"""What the API does with builds, what is held of them and what did not build."""

import re
from collections.abc import Sequence

from appliance.account_model import Role
from appliance.services import Services
from webui.api import build_shapes as shapes
from webui.api.operation import Absent, Operation, Page, cut, looking
from webui.api.shapes import Errand, NumberQuery, errand

VIEWER, OPERATOR = Role.VIEWER, Role.OPERATOR
JOB = re.compile("[0-9]{1,15}", re.ASCII)


def known(desk: Services, profile: str) -> str:
    if profile not in {one.name for one in desk.profiles()}:
        raise Absent(f"there is no profile {profile}", hint="/api/v1/profiles lists those there are")
    return profile


def want_plan(desk: Services, profile: str) -> Errand:
    return errand(desk.plans.want(known(desk, profile)))


def show_plan(desk: Services, profile: str) -> shapes.Plan:
    kept = desk.plans.last(known(desk, profile))
    if kept is None:
        raise Absent(f"nobody asked for a plan of {profile} yet", hint="POST to this address asks for one")
    rows = (
        shapes.PlannedPackage(r.cpv, r.deed.value, r.before, r.reasons, r.seconds) for r in kept.view.rows
    )
    asked = (shapes.PlanQuestion(q.kind.value, q.subject, q.text, q.suggestion) for q in kept.view.questions)
    told = kept.at, kept.who, kept.view.complete, kept.fresh, kept.seconds, kept.summary
    return shapes.Plan(profile, *told, tuple(rows), tuple(asked))


def list_holds(desk: Services, query: shapes.ProfileQuery) -> Page:
    names = [query.profile] if query.profile else [one.name for one in desk.profiles()]
    failed = [shapes.failed_hold(name, *one) for name in names for one in desk.failures.held(name)]
    return Page((*map(shapes.hold, desk.holds.all(query.profile)), *failed), None)


def list_failures(desk: Services, query: shapes.ProfileQuery) -> Page:
    found = desk.failures.all(query.profile or None)
    return Page(tuple(shapes.failure(one, desk.failures.due_at(one)) for one in found), None)


def hold_package(desk: Services, profile: str, body: shapes.Wish) -> shapes.Hold:
    return shapes.hold(desk.holds.hold(known(desk, profile), body.package, why=body.why))


def skip_version(desk: Services, profile: str, body: shapes.Wish) -> shapes.Hold:
    return shapes.hold(desk.holds.skip(known(desk, profile), body.package, why=body.why))


def release_hold(desk: Services, profile: str, body: shapes.Wish) -> shapes.Hold:
    return shapes.hold(desk.holds.release(known(desk, profile), body.package, why=body.why))


def want_build(desk: Services, profile: str, body: shapes.Wish) -> shapes.BuildAsked:
    asked = desk.build_requests.build(known(desk, profile), body.package, why=body.why)
    return shapes.BuildAsked(profile, tuple(one.cpv for one in asked.forgotten), asked.running)


def list_job_packages(desk: Services, job: str, query: NumberQuery) -> Page:
    with looking():
        found = desk.builds.job(int(job) if JOB.fullmatch(job) else 0)
    offset = int(query.cursor or 0)
    listed = desk.builds.packages(found, limit=query.limit + 1, offset=offset)
    return cut(
        [shapes.job_package(one) for one in listed], query.limit, lambda one: str(offset + query.limit)
    )


def list_queue(desk: Services) -> Page:
    board = desk.backlog.board()
    runs = [
        shapes.Place(job.profile, "running", job.started_at, board.ends_at(job.profile), job.message)
        for job in board.running
    ]
    waits = [
        shapes.Place(task.profile, "waiting", task.since, board.ends_at(task.profile), one.why)
        for one in board.waiting
        for task in [one.task]
    ]
    return Page((*runs, *waits), None)


BUILD_OPERATIONS: Sequence[Operation] = (
    Operation(
        "wantBuild", "POST", "/profiles/{profile}/build", OPERATOR,
        "Build it as soon as a worker is free, and try again what failed, or one package of that.",
        want_build, shapes.BuildAsked, body=shapes.Wish, status=202,
    ),
    Operation(
        "wantPlan", "POST", "/profiles/{profile}/plan", OPERATOR,
        "Let the farm find out what a build would do; nothing is changed by it.", want_plan, Errand,
        status=202,
    ),
    Operation(
        "showPlan", "GET", "/profiles/{profile}/plan", VIEWER, "The last plan of a profile, whole.",
        show_plan, shapes.Plan,
    ),
    Operation(
        "holdPackage", "POST", "/profiles/{profile}/hold", OPERATOR,
        "Keep a package at the version machines have, whatever comes.", hold_package, shapes.Hold,
        body=shapes.Wish,
    ),
    Operation(
        "skipVersion", "POST", "/profiles/{profile}/skip", OPERATOR,
        "Leave one version out: the last stays until the next comes.", skip_version, shapes.Hold,
        body=shapes.Wish,
    ),
    Operation(
        "releaseHold", "POST", "/profiles/{profile}/release-hold", OPERATOR,
        "Let a held package move again, or a skipped version in.", release_hold, shapes.Hold,
        body=shapes.Wish,
    ),
    Operation(
        "listHolds", "GET", "/holds", VIEWER, "What stays out of profiles, by whom and why.", list_holds,
        shapes.Hold, listed=True, query=shapes.ProfileQuery,
    ),
    Operation(
        "listFailures", "GET", "/failures", VIEWER, "What did not build, the last first.", list_failures,
        shapes.Failure, listed=True, query=shapes.ProfileQuery,
    ),
    Operation(
        "listJobPackages", "GET", "/jobs/{job}/packages", VIEWER,
        "What a build did with its packages and why, those that failed first.", list_job_packages,
        shapes.JobPackage, listed=True, query=NumberQuery,
    ),
    Operation(
        "listQueue", "GET", "/queue", VIEWER, "What is built now and next, and when each will be done.",
        list_queue, shapes.Place, listed=True,
    ),
)  # fmt: skip
