"""The web page: machines with their timelines, releases and jobs, behind a login."""

import secrets
import time
from collections.abc import Callable
from typing import cast

from flask import Flask, Response, abort, g, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response as BaseResponse

from appliance.errors import Problem
from appliance.services import Services
from webui.picture import draw

SECRET_BYTES = 32
SESSION_KEY = "signed-in"


def make_app(open_services: Callable[[], Services]) -> Flask:
    """A Flask application; each request opens its own store."""
    app = Flask(__name__, template_folder="templates", static_folder="static")
    app.config.update(
        SECRET_KEY=secrets.token_bytes(SECRET_BYTES),  # sessions end with the process
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
        MAX_CONTENT_LENGTH=64 * 1024,
    )

    def services() -> Services:
        if "services" not in g:
            g.services = open_services()
        return cast(Services, g.services)

    @app.teardown_appcontext
    def close(_: BaseException | None) -> None:
        if "services" in g:
            g.services.store.close()

    @app.before_request
    def need_login() -> BaseResponse | None:
        if request.endpoint in ("login", "enter", "static") or session.get(SESSION_KEY):
            return None
        return redirect(url_for("login"))

    @app.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; style-src 'self'; form-action 'self'"
        )
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        return response

    @app.errorhandler(Problem)
    def explain(problem: Problem) -> tuple[str, int]:
        return render_template("problem.html", problem=problem), 404

    @app.get("/login")
    def login() -> tuple[str, int]:
        return render_template("login.html"), 401

    @app.get("/login/<token>")
    def enter(token: str) -> BaseResponse:
        if not services().log_in(token):
            abort(redirect(url_for("login")))
        session[SESSION_KEY] = True
        return redirect(url_for("overview"))

    @app.get("/")
    def overview() -> str:
        desk = services()
        return render_template(
            "overview.html",
            machines=desk.machines(),
            profiles=desk.profiles(),
            releases=desk.release_desk.releases(),
            jobs=desk.jobs(),
        )

    @app.get("/machine/<mac>")
    def machine(mac: str) -> str:
        shown = services().show_machine(mac)
        events = [event for _, event in shown.events]
        return render_template("machine.html", shown=shown, picture=draw(events, time.time()), events=events)

    @app.get("/machine/<mac>/explain")
    def why(mac: str) -> str:
        machine = services().machine(mac)
        explained = services().explain.explain(machine.mac)
        return render_template("explain.html", machine=machine, explained=explained)

    @app.get("/release/<release>")
    def release(release: str) -> str:
        desk = services().release_desk
        return render_template("release.html", release=release, manifest=desk.manifest(release))

    return app
