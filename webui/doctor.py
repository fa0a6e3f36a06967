"""The doctor: what would keep machines of this network from booting, and what to do about it."""

from flask import Blueprint, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response

from webui.access import Role, needs
from webui.context import services, who

area = Blueprint("doctor", __name__)


@area.get("/doctor")
@needs(Role.VIEWER)
def doctor() -> str:
    return render_template("doctor.html", seen=services().examinations.look())


@area.post("/doctor")
@needs(Role.OPERATOR)
def examine() -> Response:
    if not services().examinations.want(who=who()):
        flash("An examination is under way already; it is the one shown here.", "done")
    return redirect(url_for("doctor.doctor"), code=303)
