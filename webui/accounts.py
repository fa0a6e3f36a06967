"""One's own account: password, sessions, tokens; and for admins everybody's."""

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.account_model import Role
from appliance.errors import Problem
from appliance.store.tokens import hash_of
from webui.access import Answer, address, needs, session_secret, sign_in
from webui.context import services, signed_in, who

area = Blueprint("accounts", __name__)


@area.get("/account")
@needs(Role.VIEWER)
def own() -> str:
    return _own()


@area.post("/account/password")
@needs(Role.VIEWER)
def change_password() -> Answer | Response:
    account, form = signed_in(), request.form
    if form.get("password", "") != form.get("again", ""):
        return _own("These were two different passwords."), 400
    try:
        desk = services().accounts
        desk.change_password(account, form.get("old", ""), form.get("password", ""), address=address())
    except Problem as problem:
        return _own(problem.message), 403
    # All sessions are ended by that; this browser gets a new one.
    return sign_in(redirect(url_for("accounts.own"), code=303), account)


@area.post("/account/sessions/<hashed>")
@needs(Role.VIEWER)
def end_session(hashed: str) -> Response:
    services().accounts.end_session(signed_in().name, hashed, who=who())
    return redirect(url_for("accounts.own"), code=303)


@area.post("/account/tokens")
@needs(Role.VIEWER)
def add_token() -> Answer:
    form = request.form
    try:
        scope, days = _role(form.get("scope", "")), _days(form.get("days", ""))
        desk = services().api_tokens
        made, text = desk.make(signed_in(), form.get("label", ""), scope, days=days, who=who())
    except Problem as problem:
        return _own(problem.message), 400
    return _once(
        f"The token {made.label}",
        text,
        "It is shown this once. Programs send it as the header “Authorization: Bearer TOKEN”.",
        url_for("accounts.own"),
    )


@area.post("/account/tokens/<int:number>")
@needs(Role.VIEWER)
def end_token(number: int) -> Response:
    services().api_tokens.end(signed_in().name, number, who=who())
    return redirect(url_for("accounts.own"), code=303)


@area.get("/accounts")
@needs(Role.ADMIN)
def accounts() -> str:
    return _accounts()


@area.post("/accounts")
@needs(Role.ADMIN)
def invite() -> Answer:
    name = request.form.get("name", "").strip()
    try:
        secret = services().accounts.invite(name, _role(request.form.get("role", "")), who=who())
    except Problem as problem:
        return _accounts(str(problem)), 400
    address = url_for("signing.link", token=secret, _external=True)
    text = "Send it to them: with it they choose a password, once, within three days. It is shown this once."
    return _once(f"The invitation of {name}", address, text, url_for("accounts.accounts"))


@area.post("/accounts/<name>/<any(role, disable, enable, sessions):change>")
@needs(Role.ADMIN)
def change(name: str, change: str) -> Answer | Response:
    desk = services().accounts
    try:
        if change == "role":
            desk.set_role(name, _role(request.form.get("role", "")), who=who())
        elif change == "disable":
            desk.disable(name, who=who())
        elif change == "enable":
            desk.enable(name, who=who())
        else:
            desk.end_sessions(name, who=who())
    except Problem as problem:
        return _accounts(str(problem)), 409
    return redirect(url_for("accounts.accounts"), code=303)


def _own(sentence: str = "") -> str:
    account, desk = signed_in(), services()
    return render_template(
        "account.html",
        sentence=sentence,
        sessions=desk.accounts.sessions(account.name),
        this=hash_of(session_secret()),
        tokens=desk.api_tokens.of(account.name),
        scopes=[role.value for role in Role if account.role.covers(role)],
        now=desk.clock(),
    )


def _accounts(sentence: str = "") -> str:
    desk = services().accounts
    rows = [(one, len(desk.sessions(one.name))) for one in desk.all()]
    return render_template("accounts.html", sentence=sentence, rows=rows, roles=[role.value for role in Role])


def _once(title: str, secret: str, text: str, back: str) -> Answer:
    return render_template("once.html", title=title, secret=secret, text=text, back=back), 200


def _role(said: str) -> Role:
    try:
        return Role(said)
    except ValueError as wrong:
        raise Problem(f"{said!r} is no role, expected viewer, operator or admin") from wrong


def _days(said: str) -> float:
    try:
        return float(said)
    except ValueError as wrong:
        raise Problem(f"{said!r} is no number of days") from wrong
