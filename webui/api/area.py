"""Registers the table of operations as routes, and answers in JSON whatever happens below `/api/v1`."""

import json
import re
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import HTTPException

from appliance.edit_model import Changed
from appliance.errors import Problem
from webui.access import Role, needs, takes
from webui.api.document import ETAG_PATTERN, MATCH, NONE_MATCH, VARIES, document
from webui.api.operation import Absent, Forbidden, Operation
from webui.api.operations import OPERATIONS
from webui.api.schema import Malformed, read, read_words, to_json
from webui.api.shapes import Fault
from webui.context import services

BASE = "/api/v1"
ETAG = re.compile(ETAG_PATTERN)


class Unconditional(Exception):
    """A change that does not say what it was made of, RFC 6585 3."""


area = Blueprint("api", __name__, url_prefix=BASE)


def answer(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(to_json(value)), status=status, content_type="application/json")


def fault(error: str, status: int, hint: str = "") -> Response:
    return answer(Fault(error, hint), status)


def view_of(one: Operation) -> Callable[..., Response]:
    names = VARIES.findall(one.path)

    @needs(one.role)
    def view(**varies: str) -> Response:
        try:
            came = [varies[name] for name in names]
            sent = [*_query(one), *_body(one)]
            parts = [*came, *_as_read(one), *sent]
        except Unconditional as missing:
            return fault(str(missing), 428, "GET it, and send its ETag along")
        except Changed as contradiction:
            return fault(contradiction.message, 412)
        except Malformed as wrong:
            return fault(str(wrong), 400, f"{BASE}/openapi.json says what {one.name} takes")
        try:
            found = one.run(services(), *parts)
        except Problem as problem:
            return fault(problem.message, status_of(problem), problem.hint)
        made = answer(found, one.status)
        if one.tag:
            made.set_etag(getattr(found, one.tag))
        return made

    return takes(one.most_bytes)(view) if one.most_bytes else view


def status_of(problem: Problem) -> int:
    match problem:
        case Absent():
            return 404
        case Forbidden():
            return 403
        case Changed():
            return 412
    return 409


def _as_read(one: Operation) -> list[str]:
    """The ETag that was read; empty: there was nothing to read."""
    if not one.as_read:
        return []
    match, none = request.headers.get(MATCH), request.headers.get(NONE_MATCH)
    if none == "*" and match is None:
        return [""]
    if match is None and none is None:
        raise Unconditional(f"{one.name} needs the header {MATCH}, or {NONE_MATCH}: * for what is new")
    if none not in (None, "*") or not ETAG.fullmatch(match or ""):
        raise Malformed(f"expected {MATCH} with one ETag, or {NONE_MATCH}: *")
    if none:
        raise Changed("no file both is one that was read and is not there")
    return [(match or "").strip('"')]


def _query(one: Operation) -> list[Any]:
    words = request.args.to_dict()
    if one.query:
        return [read_words(one.query, words)]
    if words:
        raise Malformed(f"{min(words)!r} is not known here, expected no query")
    return []


def _body(one: Operation) -> list[Any]:
    return [read(one.body, request.get_json())] if one.body else []


@area.get("/openapi.json")
@needs(Role.VIEWER)
def openapi() -> Response:
    return answer(document(OPERATIONS, BASE))


@area.app_errorhandler(HTTPException)
def refused(error: HTTPException) -> Response | HTTPException:
    """What Flask says itself: no such route, another method, no JSON."""
    if not request.path.startswith(f"{BASE}/"):
        return error
    made = error.get_response()
    said = fault(error.description or error.name, error.code or 500)
    said.headers.extend((name, value) for name, value in made.headers if name == "Allow")
    return said


for operation in OPERATIONS:
    rule = VARIES.sub(r"<\1>", operation.path)
    area.add_url_rule(rule, operation.name, view_of(operation), methods=[operation.method])
