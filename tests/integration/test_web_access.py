"""Who gets in: every view says who may see it, and forms that are not ours change nothing."""

import shutil
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import AnyConverter, IntegerConverter, Rule

from appliance.account_model import Role
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from tests.webdoor import sign_in, submit, token_on
from webui.access import MARK, OPEN, PROGRAMS, check_marks
from webui.api.operations import OPERATIONS
from webui.app import make_app

SAMPLES = {
    "machine": "52:54:00:00:00:01",
    "mac": "52:54:00:00:00:01",
    "profile": "vm",
    "release": "20260101-00000000000a",
    "name": "ann",
}
"""Of what varies in an address; whatever else does is `ab`, a number, or the first of what it may be."""
IMAGE = "/release/20260101-00000000000a/online"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def app(services: Services) -> Flask:
    return make_app(lambda: Services(services.live.path, services.tree))


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    return app.test_client()


def is_open(app: Flask, endpoint: str) -> bool:
    return bool(getattr(app.view_functions[endpoint], MARK) == OPEN)


def sample(rule: Rule, name: str) -> object:
    converter = rule._converters[name]
    if isinstance(converter, AnyConverter):
        return min(converter.items)
    return 1 if isinstance(converter, IntegerConverter) else SAMPLES.get(name, "ab")


def way(app: Flask, rule: Rule, method: str) -> str:
    """An address of a rule, with sample values in its variable parts."""
    values = {name: sample(rule, name) for name in rule.arguments}
    return str(app.url_map.bind("localhost").build(rule.endpoint, values, method))


def methods(rule: Rule) -> list[str]:
    return sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})


def routes(app: Flask, *, open_ones: bool) -> list[tuple[str, str]]:
    """Every (method, path) there is."""
    return [
        (method, way(app, rule, method))
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static" and is_open(app, rule.endpoint) == open_ones
        for method in methods(rule)
    ]


def test_all_views_are_walked_those_of_the_api_too(app: Flask) -> None:
    walked = routes(app, open_ones=False) + routes(app, open_ones=True)
    adapter = app.url_map.bind("localhost")
    met = {(adapter.match(path, method)[0], method) for method, path in walked}
    there = {(rule.endpoint, method) for rule in app.url_map.iter_rules() for method in methods(rule)}
    assert met == there - {("static", "GET")}
    assert {endpoint for endpoint, _ in met} == app.view_functions.keys() - {"static"}
    assert {f"api.{one.name}" for one in OPERATIONS} < {endpoint for endpoint, _ in met}


def test_every_view_says_who_may_see_it_and_an_application_with_another_is_not_made(app: Flask) -> None:
    check_marks(app)
    app.add_url_rule("/new", "new", lambda: "secret")
    with pytest.raises(LookupError, match="new"):
        check_marks(app)


def test_every_route_that_is_not_open_asks_a_stranger_to_sign_in(app: Flask, browser: FlaskClient) -> None:
    guarded = routes(app, open_ones=False)
    assert len(guarded) >= 7
    for method, path in guarded:
        answer = browser.open(path, method=method)
        assert (method, path, answer.status_code) == (method, path, 401)
        programs = path.startswith(PROGRAMS)
        assert ("needs a token" if programs else "Sign in") in answer.text


def test_every_route_refuses_a_role_that_is_too_low(
    app: Flask, browser: FlaskClient, services: Services
) -> None:
    refused = 0
    for rule in app.url_map.iter_rules():
        needed = getattr(app.view_functions[rule.endpoint], MARK)
        if not isinstance(needed, Role):
            continue
        for role in (one for one in Role if not one.covers(needed)):
            sign_in(browser, services, role)
            for method in methods(rule):
                path = way(app, rule, method)
                answer = browser.open(path, method=method, data={"form_token": token_on(browser, "/")})
                assert (role, method, path, answer.status_code) == (role, method, path, 403)
                assert f"needs the role {needed.value}" in answer.text
                refused += 1
    assert refused >= 8


def test_every_unsafe_route_refuses_a_form_that_is_not_ours(
    app: Flask, browser: FlaskClient, services: Services
) -> None:
    stranger = app.test_client()
    sign_in(stranger, services, name="bob")
    foreign = token_on(stranger, "/")
    before_signing_in = token_on(app.test_client(), "/login")
    sign_in(browser, services)
    unsafe = [one for one in routes(app, open_ones=False) if one[0] != "GET"]
    assert unsafe
    for method, path in unsafe:
        for token in ("", "0" * 64, foreign, before_signing_in):
            answer = browser.open(path, method=method, data={"form_token": token})
            assert (method, path, answer.status_code) == (method, path, 403)
            assert "was not sent by a page of this session" in answer.text
    assert services.store.media.images() == []


def test_who_signs_out_is_a_stranger_again(browser: FlaskClient, services: Services) -> None:
    sign_in(browser, services)
    assert submit(browser, "/", "/logout").status_code == 303
    assert browser.get("/").status_code == 401


def test_a_form_of_the_session_is_taken_also_with_its_token_in_a_header(
    browser: FlaskClient, services: Services
) -> None:
    sign_in(browser, services)
    assert submit(browser, IMAGE).status_code != 403
    token = token_on(browser, IMAGE)
    assert browser.post(IMAGE, headers={"X-Form-Token": token}).status_code != 403


def test_an_address_that_is_no_page_says_nothing_to_a_stranger(
    browser: FlaskClient, services: Services
) -> None:
    assert browser.get("/no/such/page").status_code == 401
    sign_in(browser, services)
    assert browser.get("/no/such/page").status_code == 404


def test_every_answer_has_the_headers_that_keep_others_out(browser: FlaskClient, services: Services) -> None:
    sign_in(browser, services)
    for path in ("/", "/login", "/no/such/page"):
        headers = browser.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
