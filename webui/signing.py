"""Signing in and out, by password or by a one-time link."""

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.account_model import Refused
from appliance.errors import Problem
from webui.access import Answer, Role, address, needs, open_to_all, session_secret, sign_in, sign_out
from webui.context import services, signed_in

area = Blueprint("signing", __name__)


@area.get("/login")
@open_to_all
def login() -> Answer:
    return _form("", "/", 200)


@area.post("/login")
@open_to_all
def log_in() -> Answer | Response:
    target = own_path(request.form.get("next", "/"))
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    try:
        found = services().accounts.log_in(name, password, address=address())
    except Refused as refused:
        if not refused.wait_seconds:
            return _form(refused.message, target, 403)
        answer = make_response(*_form(refused.message, target, 429))
        answer.headers["Retry-After"] = str(round(refused.wait_seconds) + 1)
        return answer
    return sign_in(redirect(target, code=303), found)


@area.get("/login/<token>")
@open_to_all
def link(token: str) -> Answer:
    """Looking at a link does not use it up: programs that preview links do that, too."""
    return _link_page(token, "", 200)


@area.post("/login/<token>")
@open_to_all
def follow(token: str) -> Answer | Response:
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    if password != request.form.get("again", password):
        return _link_page(token, "These were two different passwords.", 400)
    try:
        found = services().accounts.follow(token, name=name, password=password, address=address())
    except Refused as refused:
        return _form(refused.message, "/", 403)
    except Problem as problem:
        return _link_page(token, problem.message[:1].upper() + problem.message[1:] + ".", 400)
    return sign_in(redirect(url_for("overview.overview"), code=303), found)


@area.post("/logout")
@needs(Role.VIEWER)
def leave() -> Response:
    services().accounts.end_secret(signed_in().name, session_secret())
    return sign_out(redirect(url_for("signing.login"), code=303))


def own_path(said: str) -> str:
    """A path of this page, whatever a form says: nobody is led elsewhere."""
    if not said.startswith("/") or said.startswith(("//", "/\\")) or any(ord(one) < 33 for one in said):
        return "/"
    return said


def _form(sentence: str, target: str, status: int) -> Answer:
    nobody = services().accounts.nobody_yet
    return render_template("login.html", sentence=sentence, next=target, nobody=nobody), status


def _link_page(token: str, sentence: str, status: int) -> Answer:
    found = services().accounts.link_for(token)
    if found is None:
        return _form("This link was used already, or it is over.", "/", 403)
    purpose, whose = found
    return render_template("link.html", token=token, purpose=purpose, whose=whose, sentence=sentence), status
