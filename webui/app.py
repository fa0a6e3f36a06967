"""The web page: its areas put together, each behind the door."""

import secrets
from collections.abc import Callable

from flask import Flask, render_template

from appliance.errors import Problem
from appliance.services import Services
from webui import (
    accounts,
    arming,
    audit,
    builds,
    cluster,
    consoles,
    doctor,
    holds,
    images,
    live,
    machine_actions,
    machines,
    merges,
    metrics,
    overview,
    plans,
    profile_edits,
    profiles,
    releases,
    signing,
    webhooks,
)
from webui.access import add_access, check_marks
from webui.api import area as api
from webui.context import add_context
from webui.moments import moment
from webui.words import add_words

AREAS = (
    signing.area,
    accounts.area,
    audit.area,
    webhooks.area,
    overview.area,
    machines.area,
    machine_actions.area,
    arming.area,
    profiles.area,
    profile_edits.area,
    releases.area,
    builds.area,
    holds.area,
    plans.area,
    merges.area,
    cluster.area,
    consoles.area,
    doctor.area,
    images.area,
    live.area,
    metrics.area,
    api.area,
)
MOST_BYTES = 64 * 1024
"""Of what a browser sends; a form is far smaller."""


def make_app(open_services: Callable[[], Services]) -> Flask:
    """A Flask application; each of its threads keeps a store of its own."""
    app = Flask(__name__, template_folder="templates", static_folder="static")
    app.config.update(
        MAX_CONTENT_LENGTH=MOST_BYTES,
        # Flask's own cookie holds what was done and is said on the next page, and nothing else.
        SECRET_KEY=secrets.token_bytes(32),
        SESSION_COOKIE_NAME="distserver-said",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Strict",
    )
    add_context(app, open_services)
    add_access(app)
    add_words(app)
    live.add_live(app, open_services)
    app.jinja_env.filters["moment"] = moment
    app.register_error_handler(Problem, explain)
    for area in AREAS:
        app.register_blueprint(area)
    check_marks(app)
    return app


def explain(problem: Problem) -> tuple[str, int]:
    return render_template("problem.html", problem=problem), 404
