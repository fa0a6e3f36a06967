"""The compile cluster: its hosts, what they run, who is kept out and why; machines that lend themselves."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import Problem
from webui.access import Role, needs
from webui.context import services, who
from webui.paging import sheet_of

area = Blueprint("cluster", __name__)


@area.get("/cluster")
@needs(Role.VIEWER)
def cluster() -> str:
    desk = services().hosts
    yard = desk.yard()
    sheet = sheet_of(request.args, len(yard.hosts))
    shown = yard.hosts[sheet.offset : sheet.offset + sheet.size]
    return render_template(
        "cluster.html",
        yard=yard,
        sheet=sheet,
        hosts=[(host, desk.duties(host)) for host in shown],
        toolchains=desk.toolchains(),
    )


@area.post("/cluster")
@needs(Role.OPERATOR)
def add() -> Response:
    form = request.form
    name = form.get("name", "").strip()

    def act() -> None:
        services().hosts.add(
            name,
            address=form.get("address", "").strip(),
            slots=_slots(form.get("slots", "")),
            arch=form.get("arch", "").strip(),
            who=who(),
        )

    return _done(act, f"{name} may be used; the farm orders toolchains onto it.", url_for("cluster.cluster"))


@area.get("/cluster/host/<name>")
@needs(Role.VIEWER)
def host(name: str) -> str:
    desk = services().hosts
    found = desk.host(name)
    return render_template("cluster_host.html", host=found, duties=desk.duties(found), now=services().clock())


@area.post("/cluster/host/<name>/<any(quarantine, release, probe):what>")
@needs(Role.OPERATOR)
def change(name: str, what: str) -> Response:
    desk = services().hosts
    acts: dict[str, tuple[Callable[[], None], str]] = {
        "quarantine": (
            lambda: desk.quarantine(name, request.form.get("reason", ""), who=who()),
            f"{name} is not used for now.",
        ),
        "release": (
            lambda: desk.release(name, who=who()),
            f"{name} may be used again; it is probed first.",
        ),
        "probe": (
            lambda: desk.probe_again(name, who=who()),
            f"{name} is probed before a build uses it.",
        ),
    }
    return _done(*acts[what], url_for("cluster.host", name=name))


@area.post("/cluster/host/<name>/remove")
@needs(Role.OPERATOR)
def remove(name: str) -> Response:
    return _done(
        lambda: services().hosts.remove(name, who=who()), f"{name} is not used.", url_for("cluster.cluster")
    )


@area.post("/cluster/toolchain/<digest>")
@needs(Role.OPERATOR)
def order(digest: str) -> Response:
    said = f"The farm orders toolchain {digest[:12]} onto the hosts."
    return _done(lambda: services().hosts.order(digest, who=who()), said, url_for("cluster.cluster"))


@area.get("/cluster/machines")
@needs(Role.VIEWER)
def machines() -> str:
    desk = services().hosts
    sheet = sheet_of(request.args, desk.count_lending())
    lending = desk.lending(limit=sheet.size, offset=sheet.offset)
    return render_template("cluster_machines.html", machines=lending, sheet=sheet)


@area.post("/cluster/machines/<any(lend, keep):lending>")
@needs(Role.OPERATOR)
def lend(lending: str) -> Response:
    name = request.form.get("machine", "").strip()
    lends = lending == "lend"

    def act() -> None:
        services().hosts.lend(services().machine(name), lends, who=who())

    said = "boots as a compile host from now on" if lends else "is no compile host any more"
    return _done(act, f"{name} {said}.", url_for("cluster.machines"))


def _done(act: Callable[[], None], said: str, target: str) -> Response:
    """Back to a page that says what was done, or why not."""
    try:
        act()
    except Problem as problem:
        flash(str(problem), "error")
    else:
        flash(said, "done")
    return redirect(target, code=303)


def _slots(text: str) -> int:
    """0 when it is empty; raises Problem."""
    plain = text.strip() or "0"
    if not (plain.isascii() and plain.isdecimal() and len(plain) < 10):
        raise Problem(f"slots is {plain[:40]!r}, expected a number")
    return int(plain)
