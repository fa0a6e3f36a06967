"""What is kept out of profiles: packages that stay where machines are, versions that are skipped."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import Problem
from webui.access import Role, needs
from webui.context import services, who

area = Blueprint("holds", __name__)

KEEPINGS = "<any(hold, skip, release):keeping>"


@area.get("/holds")
@needs(Role.VIEWER)
def holds() -> str:
    desk, asked = services(), request.args
    names = [one.name for one in desk.profiles()]
    profile = asked.get("profile", "")
    return render_template(
        "holds.html",
        profile=profile,
        profiles=names,
        package=asked.get("package", "")[:200],
        masks=desk.holds.all(profile),
        failed=[(name, *one) for name in names if profile in ("", name) for one in desk.failures.held(name)],
    )


@area.post(f"/holds/{KEEPINGS}")
@needs(Role.OPERATOR)
def change(keeping: str) -> Response:
    """The next build takes it into account; the farm begins it by itself."""
    form = request.form
    profile, package, why = form.get("profile", ""), form.get("package", "").strip(), form.get("why", "")
    try:
        flash(CHANGED[keeping](profile, package, why), "done")
    except Problem as problem:
        flash(f"{problem.message}{f': {problem.hint}' if problem.hint else ''}", "error")
    return redirect(url_for("holds.holds", profile=profile), code=303)


def hold(profile: str, package: str, why: str) -> str:
    mask = services().holds.hold(profile, package, who=who(), why=why)
    return f"{mask.subject} of {profile} stays at {mask.stays}."


def skip(profile: str, package: str, why: str) -> str:
    mask = services().holds.skip(profile, package, who=who(), why=why)
    return f"{profile} goes without {mask.subject}{f' and stays at {mask.stays}' if mask.stays else ''}."


def release(profile: str, package: str, why: str) -> str:
    services().holds.release(profile, package, who=who(), why=why)
    return f"{package} of {profile} is not kept out any more; the next build decides."


CHANGED: dict[str, Callable[[str, str, str], str]] = {"hold": hold, "skip": skip, "release": release}
