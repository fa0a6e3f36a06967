"""Webhooks, for admins: who is told what happens, and what came of the last messages."""

from collections.abc import Callable

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import Problem
from appliance.webhook_model import MEANINGS
from webui.access import Answer, Role, needs
from webui.context import services, who

area = Blueprint("webhooks", __name__)

SHOWN = 50
"""Deliveries on a page."""


@area.get("/webhooks")
@needs(Role.ADMIN)
def webhooks() -> str:
    return _page()


@area.post("/webhooks")
@needs(Role.ADMIN)
def add() -> Answer:
    form = request.form
    try:
        made, secret = services().webhooks.add(form.get("url", "").strip(), form.getlist("event"), who=who())
    except Problem as problem:
        return _page(str(problem)), 400
    text = (
        f"This secret signs what {made.url} is told: the header X-DistServer-Signature is “sha256=” and the"
        " HMAC-SHA256 of the message. It is shown this once."
    )
    back = url_for("webhooks.webhooks")
    title = "The webhook's secret"
    return render_template("once.html", title=title, secret=secret, text=text, back=back), 200


@area.get("/webhooks/<int:number>")
@needs(Role.ADMIN)
def webhook(number: int) -> str:
    desk = services().webhooks
    before = request.args.get("before", type=int)
    shown = desk.deliveries(number, before, limit=SHOWN + 1)
    older = shown[SHOWN - 1].id if len(shown) > SHOWN else None
    return render_template(
        "webhook.html", one=desk.get(number), deliveries=shown[:SHOWN], older=older, before=before
    )


@area.post("/webhooks/<int:number>/<any(test, pause, resume, remove):act>")
@needs(Role.ADMIN)
def change(number: int, act: str) -> Response:
    desk = services().webhooks
    acts: dict[str, tuple[Callable[[], object], str]] = {
        "test": (lambda: desk.test(number, who=who()), "The farm sends a test within seconds."),
        "pause": (lambda: desk.switch(number, False, who=who()), "It is told nothing for now."),
        "resume": (lambda: desk.switch(number, True, who=who()), "It is told again."),
        "remove": (lambda: desk.remove(number, who=who()), "It is told nothing more."),
    }
    change_it, said = acts[act]
    try:
        change_it()
    except Problem as problem:
        flash(str(problem), "error")
    else:
        flash(said, "done")
    there = act != "remove"
    target = url_for("webhooks.webhook", number=number) if there else url_for("webhooks.webhooks")
    return redirect(target, code=303)


def _page(sentence: str = "") -> str:
    rows = [(one, _last(one.id)) for one in services().webhooks.all()]
    meanings = [(one.value, text) for one, text in MEANINGS.items()]
    return render_template("webhooks.html", sentence=sentence, rows=rows, meanings=meanings)


def _last(number: int) -> object:
    """The newest delivery; None when there was none."""
    return next(iter(services().webhooks.deliveries(number, limit=1)), None)
