"""What a build of a profile would do, package by package: asked of the farm, kept and shown."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from webui.access import Role, needs
from webui.context import services, who
from webui.paging import sheet_of

area = Blueprint("plans", __name__)

DEEDS = ("build", "reuse", "remove", "keep")


@area.get("/plan/<profile>")
@needs(Role.VIEWER)
def plan(profile: str) -> str:
    desk, asked = services().plans, request.args
    kept = desk.last(profile)
    deed = asked.get("deed", "")
    rows = [row for row in kept.view.rows if deed in ("", row.deed.value)] if kept else []
    sheet = sheet_of(asked, len(rows))
    return render_template(
        "plan.html",
        profile=profile,
        kept=kept,
        errand=desk.asked(profile),
        deed=deed,
        deeds=DEEDS,
        sheet=sheet,
        rows=rows[sheet.offset : sheet.offset + sheet.size],
    )


@area.post("/plan/<profile>")
@needs(Role.OPERATOR)
def ask(profile: str) -> Response:
    """The farm asks Portage, which may take minutes: the page shows how far it is."""
    services().plans.want(profile, who=who())
    flash("The farm asks Portage now; the plan is here when it is done.", "done")
    return redirect(url_for("plans.plan", profile=profile), code=303)
