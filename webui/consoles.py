"""A machine's serial console, read only: the last it said, growing while somebody watches."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import Problem
from webui.access import Role, needs
from webui.context import services, who
from webui.machine_actions import sentence

area = Blueprint("consoles", __name__)


@area.get("/machine/<mac>/console")
@needs(Role.OPERATOR)
def console(mac: str) -> str:
    machine = services().machine(mac)
    desk = services().consoles
    return render_template(
        "machine_console.html", machine=machine, seen=desk.seen(machine.mac), has=desk.has_console(machine)
    )


@area.post("/machine/<mac>/console")
@needs(Role.OPERATOR)
def watch(mac: str) -> Response:
    try:
        services().consoles.watch(mac, request.form.get("watch") != "no", who=who())
    except Problem as problem:
        flash(sentence(problem), "error")
    return redirect(url_for("consoles.console", mac=mac), code=303)
