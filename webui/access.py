"""Who may see a view, that a form is ours, and what every answer says to browsers about safety."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, g, jsonify, make_response, render_template, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from appliance.account_model import Account, Role
from webui.context import account, services

__all__ = ["Role", "add_access", "form_token", "form_token_text", "needs", "open_to_all", "sign_in", "takes"]

View = TypeVar("View", bound=Callable[..., Any])
OPEN = "open to all"
MARK = "may_be_seen_by"
MOST = "takes_bytes"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FIELD, HEADER = "form_token", "X-Form-Token"
SESSION, VISITOR = "distserver-session", "distserver-visitor"
PREFIX = "__Host-"
"""A browser takes a cookie of such a name over TLS from this very host only, RFC 6265bis 4.1.3.2."""
VISITOR_BYTES = 32
PROGRAMS = ("/api/", "/metrics")
"""Where programs come, with a token in the header Authorization."""
Answer = tuple[Response | str, int]
FOREIGN = "This form was not sent by a page of this session. Go back, load that page again and try again."
POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "script-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ONLY_TLS = "max-age=31536000"


def needs(role: Role) -> Callable[[View], View]:
    """A view for accounts with this role or a higher one."""

    def mark(view: View) -> View:
        setattr(view, MARK, role)
        return view

    return mark


def takes(most_bytes: int) -> Callable[[View], View]:
    """A view whose forms may have more bytes than those of others."""

    def mark(view: View) -> View:
        setattr(view, MOST, most_bytes)
        return view

    return mark


def open_to_all(view: View) -> View:
    """A view that strangers see, too."""
    setattr(view, MARK, OPEN)
    return view


def add_access(app: Flask) -> None:
    """Ask every request who it is before any view runs; call check_marks() when all views are there."""
    app.before_request(admit)
    app.after_request(harden)
    app.jinja_env.globals["form_token"] = form_token
    app.jinja_env.globals["account"] = account
    open_to_all(app.view_functions["static"])


def check_marks(app: Flask) -> None:
    """Raises LookupError for a view that does not say who may see it."""
    silent = [name for name, view in sorted(app.view_functions.items()) if not hasattr(view, MARK)]
    if silent:
        raise LookupError(f"views that do not say who may see them: {', '.join(silent)}")


def address() -> str:
    return request.remote_addr or "an unknown address"


def sign_in(response: Response, who: Account) -> Response:
    """Begin a session of this browser under a new secret; what it had before opens nothing any more."""
    old = request.cookies.get(_cookie(SESSION), "")
    browser = request.headers.get("User-Agent", "")
    secret = services().accounts.begin_session(who, address=address(), browser=browser, old=old)
    _set_cookie(response, SESSION, secret)
    response.delete_cookie(_cookie(VISITOR), secure=request.is_secure, httponly=True, samesite="Strict")
    g.visitor = ""
    return response


def sign_out(response: Response) -> Response:
    """Let the browser forget its session."""
    response.delete_cookie(_cookie(SESSION), secure=request.is_secure, httponly=True, samesite="Strict")
    return response


def session_secret() -> str:
    """What the browser's cookie holds; empty when nobody is signed in by one."""
    return str(g.get("session", ""))


def admit() -> Answer | None:
    """What is answered instead of the view: 401 to strangers, 403 to a lower role or a foreign form."""
    mark = _mark()
    if request.endpoint == "static":
        return None
    g.account = _by_token() or _by_cookie()
    if mark != OPEN:
        if g.account is None:
            return stranger()
        if isinstance(mark, Role) and not g.account.role.covers(mark):
            name, role = g.account.name, g.account.role
            return refuse(f"This needs the role {mark.value}, and {name} has the role {role.value}.")
    if most := getattr(current_app.view_functions.get(request.endpoint or ""), MOST, 0):
        # Not before it is known who sends so much.
        request.max_content_length = request.max_form_memory_size = most
    if request.method not in SAFE_METHODS and not g.get("by_token") and not _is_ours():
        return refuse(FOREIGN)
    return None


def stranger() -> Answer:
    """What somebody gets who is not signed in: the page to do that, which leads back to where they were."""
    if _is_program():
        answer = make_response(jsonify(error="this needs a token that is good, in the header Authorization"))
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer, 401
    target = request.full_path.rstrip("?") if request.method == "GET" else "/"
    return render_template("login.html", next=target, nobody=services().accounts.nobody_yet), 401


def refuse(sentence: str, status: int = 403) -> Answer:
    if _is_program():
        return jsonify(error=sentence), status
    return render_template("refused.html", sentence=sentence), status


def form_token_text() -> str:
    """What forms of this session carry and no other site can know.

    A stranger's browser gets a secret of its own for it: a form that signs in is ours, too. The secret of a
    session is never in a page: its hash is.
    """
    secret = session_secret()
    if not secret:
        if not g.get("visitor"):
            g.visitor = request.cookies.get(_cookie(VISITOR), "") or _new_visitor()
        secret = g.visitor
    return _form_hash(secret)


def form_token() -> Markup:
    """The hidden input of a form."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, form_token_text())


def harden(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = ONLY_TLS
    response.headers.setdefault("Cache-Control", "no-store")
    if g.get("new_visitor") and g.get("visitor"):
        _set_cookie(response, VISITOR, g.visitor)
    return response


def _by_token() -> Account | None:
    """Who comes with an API token; programs send no cookies, and a browser sends none of these by itself."""
    kind, _, text = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not _is_program():
        return None
    found = services().api_tokens.account(text.strip())
    if found:
        g.by_token = True
        services().audit.who = f"api {found.name}"
    return found


def _by_cookie() -> Account | None:
    secret = request.cookies.get(_cookie(SESSION), "")
    found = services().accounts.of_session(secret) if secret else None
    if found:
        g.session = secret
    services().audit.who = found.who if found else "web"
    return found


def _mark() -> Role | str | None:
    """None when there is no such page: strangers are not told."""
    view = current_app.view_functions.get(request.endpoint or "")
    found: Role | str | None = getattr(view, MARK, None)
    return found


def _is_program() -> bool:
    return request.path.startswith(PROGRAMS)


def _is_ours() -> bool:
    secret = session_secret() or request.cookies.get(_cookie(VISITOR), "")
    said = request.headers.get(HEADER) or request.form.get(FIELD, "")
    return bool(secret) and hmac.compare_digest(said.encode(), _form_hash(secret).encode())


def _form_hash(secret: str) -> str:
    return hashlib.sha256(f"form {secret}".encode()).hexdigest()


def _new_visitor() -> str:
    g.new_visitor = True
    return secrets.token_urlsafe(VISITOR_BYTES)


def _cookie(name: str) -> str:
    return PREFIX + name if request.is_secure else name


def _set_cookie(response: Response, name: str, value: str) -> None:
    response.set_cookie(
        _cookie(name), value, path="/", secure=request.is_secure, httponly=True, samesite="Strict"
    )
