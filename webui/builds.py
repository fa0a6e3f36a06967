"""Builds: what ran and waits, what became of each package and why, and logs in parts and searched."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.build_story import PackageStory
from appliance.errors import Problem
from appliance.farm_model import Job
from webui.access import Role, needs
from webui.context import services, who
from webui.effort_picture import draw
from webui.paging import sheet_of

area = Blueprint("builds", __name__)

STATES = ("waiting", "running", "done", "failed", "replaced", "interrupted")
MOST_DIGITS = 15


@area.get("/builds")
@needs(Role.VIEWER)
def builds() -> str:
    desk, asked = services(), request.args
    profile, state = asked.get("profile", ""), asked.get("state", "")
    sheet = sheet_of(asked, desk.builds.count(profile, state))
    return render_template(
        "builds.html",
        profile=profile,
        state=state,
        states=STATES,
        sheet=sheet,
        jobs=desk.builds.page(profile, state, limit=sheet.size, offset=sheet.offset),
        profiles=[one.name for one in desk.profiles()],
        failures=[(one, desk.failures.due_at(one)) for one in desk.failures.all(profile or None)[:50]],
        held=len(desk.holds.all()) + sum(len(desk.failures.held(one.name)) for one in desk.profiles()),
        board=desk.backlog.board(),
        numbers=desk.builds.numbers(),
    )


@area.get("/build/<int:number>")
@needs(Role.VIEWER)
def build(number: int) -> str:
    desk = services().builds
    job = desk.job(number)
    counts = desk.package_counts(job)
    total = sum(count for name, count in counts.items() if name != "reused")
    sheet = sheet_of(request.args, total)
    now = services().clock()
    stories = desk.packages(job, limit=sheet.size, offset=sheet.offset)
    return render_template(
        "build.html",
        job=job,
        logs=desk.logs(job),
        failures=list(desk.failures(job)),
        reasons=desk.reasons(job) if job.reasons else [],
        endings=desk.endings(job, stories),
        counts=counts,
        sheet=sheet,
        packages=[
            (story, took, draw(took, story.past, story.usual))
            for story in stories
            for took in [seconds_of(story, job, now)]
        ],
    )


def seconds_of(story: PackageStory, job: Job, now: float) -> float:
    """What a package took, or takes by now; what the build's end cut off ends with it."""
    if story.entry.seconds is not None:
        return story.entry.seconds
    return max(0.0, (job.ended_at or now) - story.entry.begun_at)


@area.get("/build/<int:number>/log")
@needs(Role.VIEWER)
def build_log(number: int) -> str:
    desk, asked = services().builds, request.args
    job, name, text = desk.job(number), asked.get("name", ""), asked.get("text", "")[:200]
    start = whole(asked.get("start", ""))
    return render_template(
        "build_log.html",
        job=job,
        name=name,
        text=text,
        failure=next((one for one in desk.failures(job).values() if one.log.endswith(f"/{name}")), None),
        grows=job.state == "running" and start is None and not text,
        found=desk.search(job, name, text, start or 0) if text else None,
        page=None if text else desk.read(job, name, start),
    )


@area.post("/builds/want")
@needs(Role.OPERATOR)
def want() -> Response:
    """Build a profile as soon as a worker is free; what failed, or one package of that, is tried again."""
    form = request.form
    profile, package, why = form.get("profile", ""), form.get("package", ""), form.get("why", "")
    try:
        asked = services().build_requests.build(profile, package, who=who(), why=why)
    except Problem as problem:
        flash(problem.message, "error")
    else:
        again = [one.cpv for one in asked.forgotten]
        tried = (
            f" {again[0] if len(again) == 1 else f'{len(again)} packages'} tried again then." if again else ""
        )
        after = "when the build that runs has ended" if asked.running else "as soon as a worker is free"
        flash(f"{profile} is built {after}.{tried}", "done")
    return redirect(url_for("builds.builds"), code=303)


@area.get("/package/<digest>")
@needs(Role.VIEWER)
def package(digest: str) -> str:
    shown = services().packages.show(digest)[0]
    return render_template("package.html", shown=shown, one=shown.package)


def whole(text: str) -> int | None:
    """A number of bytes; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else None
