"""Signing in with a browser: links, passwords, sessions, and what their cookies let nobody do."""

import re
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.account_model import FREE_FOR_ACCOUNT, IDLE_SECONDS, Role
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from tests.clock import Clock
from tests.webdoor import COOKIE, PASSWORD, sign_in, submit, token_on
from webui.app import make_app

ELSEWHERE = ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil", ""]
pytestmark = pytest.mark.usefixtures("cheap_passwords")


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"), clock)


def browser_of(services: Services) -> FlaskClient:
    """A browser and a web process of its own: another one is a restart."""
    return make_app(lambda: Services(services.live.path, services.tree, services.clock)).test_client()


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    return browser_of(services)


@pytest.fixture
def ann(services: Services) -> str:
    link = services.accounts.first_link()
    return services.accounts.follow(link, name="ann", password=PASSWORD).name


def log_in(browser: FlaskClient, name: str, password: str = PASSWORD, **more: str) -> TestResponse:
    return submit(browser, "/login", data={"name": name, "password": password, **more})


def cookie_of(browser: FlaskClient) -> str:
    found = browser.get_cookie(COOKIE)
    return found.value if found else ""


def test_the_first_start_makes_an_admin_by_a_link(browser: FlaskClient, services: Services) -> None:
    assert "There is no account yet" in browser.get("/").text
    link = f"/login/{services.accounts.first_link()}"
    for _ in range(2):  # looking at it does not use it up
        assert "The first account" in browser.get(link).text
    wrong = {"name": "ann", "password": PASSWORD, "again": "something else"}
    assert "two different passwords" in submit(browser, link, data=wrong).text
    made = submit(browser, link, data={"name": "ann", "password": PASSWORD, "again": PASSWORD})
    assert (made.status_code, made.headers["Location"]) == (303, "/")
    assert browser.get("/accounts").status_code == 200
    assert "used already" in browser_of(services).get(link).text


def test_a_login_link_works_once_and_says_whose(browser: FlaskClient, services: Services, ann: str) -> None:
    link = f"/login/{services.accounts.login_link()[1]}"
    other = browser_of(services)
    token = token_on(other, link)
    assert "Sign in as ann" in browser.get(link).text
    assert submit(browser, link).status_code == 303
    replay = other.post(link, data={"form_token": token})
    assert replay.status_code == 403 and "used already" in replay.text
    assert cookie_of(other) == "" and other.get("/").status_code == 401


def test_a_password_leads_back_to_the_page_that_was_asked_for(browser: FlaskClient, ann: str) -> None:
    asked = browser.get("/audit?who=web+ann")
    assert asked.status_code == 401
    target = re.search(r'name="next" value="([^"]+)"', asked.text)
    assert target and target[1] == "/audit?who=web+ann"
    assert log_in(browser, ann, next=target[1]).headers["Location"] == "/audit?who=web+ann"


@pytest.mark.parametrize("target", ELSEWHERE)
def test_nobody_is_led_elsewhere(browser: FlaskClient, ann: str, target: str) -> None:
    assert log_in(browser, ann, next=target).headers["Location"] == "/"


def test_a_cookie_that_somebody_planted_is_no_session_after_signing_in(
    browser: FlaskClient, services: Services, ann: str
) -> None:
    browser.set_cookie(COOKIE, "planted")
    log_in(browser, ann)
    assert cookie_of(browser) not in ("", "planted")
    thief = browser_of(services)
    thief.set_cookie(COOKIE, "planted")
    assert thief.get("/").status_code == 401
    before = cookie_of(browser)
    log_in(browser, ann)
    thief.set_cookie(COOKIE, before)
    assert thief.get("/").status_code == 401


def test_a_form_that_signs_in_must_be_ours(browser: FlaskClient, ann: str) -> None:
    answer = browser.post("/login", data={"name": ann, "password": PASSWORD})
    assert answer.status_code == 403 and cookie_of(browser) == ""


def test_a_session_outlives_the_web_process_and_ends_when_it_idles(
    browser: FlaskClient, services: Services, ann: str, clock: Clock
) -> None:
    log_in(browser, ann)
    again = browser_of(services)
    again.set_cookie(COOKIE, cookie_of(browser))
    assert again.get("/").status_code == 200
    clock.now += IDLE_SECONDS + 1
    assert again.get("/").status_code == 401


def test_wrong_passwords_wait_also_after_the_web_process_was_started_again(
    browser: FlaskClient, services: Services, ann: str
) -> None:
    for _ in range(FREE_FOR_ACCOUNT):
        answer = log_in(browser, ann, "wrong password")
        assert answer.status_code == 403 and "Name or password is not right." in answer.text
    answer = log_in(browser_of(services), ann)
    assert answer.status_code == 429 and "Try again in" in answer.text
    assert int(answer.headers["Retry-After"]) >= 1


def test_a_new_password_ends_all_other_sessions(browser: FlaskClient, services: Services, ann: str) -> None:
    log_in(browser, ann)
    other = browser_of(services)
    log_in(other, ann)
    new = "another horse battery"
    wrong = {"old": "wrong password", "password": new, "again": new}
    assert submit(browser, "/account", "/account/password", wrong).status_code == 403
    right = {**wrong, "old": PASSWORD}
    assert submit(browser, "/account", "/account/password", right).status_code == 303
    assert browser.get("/account").status_code == 200
    assert other.get("/").status_code == 401
    assert log_in(other, ann, new).status_code == 303


def test_signing_out_ends_the_session_on_the_server_too(
    browser: FlaskClient, services: Services, ann: str
) -> None:
    log_in(browser, ann)
    kept = cookie_of(browser)
    submit(browser, "/account", "/logout")
    browser.set_cookie(COOKIE, kept)
    assert browser.get("/").status_code == 401


def test_one_ends_ones_own_sessions_and_nobody_elses(
    browser: FlaskClient, services: Services, ann: str
) -> None:
    log_in(browser, ann)
    other = browser_of(services)
    log_in(other, ann)
    bob = browser_of(services)
    sign_in(bob, services, Role.VIEWER, "bob")
    [foreign] = services.accounts.sessions("bob")
    assert submit(browser, "/account", f"/account/sessions/{foreign.hash}").status_code == 404
    assert bob.get("/").status_code == 200
    ends = re.findall(r"/account/sessions/[0-9a-f]{64}", browser.get("/account").text)
    assert len(ends) == 1
    submit(browser, "/account", ends[0])
    assert other.get("/").status_code == 401 and browser.get("/").status_code == 200


def test_an_admin_invites_changes_and_disables(browser: FlaskClient, services: Services, ann: str) -> None:
    log_in(browser, ann)
    shown = submit(browser, "/accounts", data={"name": "bob", "role": "viewer"}).text
    link = re.search(r"http://localhost(/login/[0-9a-f]+)", shown)
    assert link and "/login/" not in browser.get("/accounts").text
    bob = browser_of(services)
    assert submit(bob, link[1], data={"password": PASSWORD, "again": PASSWORD}).status_code == 303
    assert bob.get("/accounts").status_code == 403
    submit(browser, "/accounts", "/accounts/bob/role", {"role": "admin"})
    assert bob.get("/accounts").status_code == 200
    submit(browser, "/accounts", "/accounts/bob/disable")
    assert bob.get("/").status_code == 401
    assert "the only admin" in submit(browser, "/accounts", "/accounts/ann/disable").text
    told = [(one.who, one.action, one.subject) for one in services.audit.page(subject="bob")]
    assert told[::-1] == [
        ("web ann", "account invite", "bob"),
        ("web bob", "account accept", "bob"),
        ("web bob", "login", "bob"),
        ("web ann", "account role", "bob"),
        ("web ann", "account disable", "bob"),
    ]


def test_a_token_is_shown_once(browser: FlaskClient, services: Services, ann: str) -> None:
    log_in(browser, ann)
    wish = {"label": "backup", "scope": "operator", "days": "30"}
    shown = submit(browser, "/account", "/account/tokens", wish).text
    found = re.search(r"dst_[\w-]{40,}", shown)
    assert found
    comes = services.api_tokens.account(found[0])
    assert comes and (comes.name, comes.role) == (ann, Role.OPERATOR)
    assert "dst_" not in browser.get("/account").text and "backup" in browser.get("/account").text
    [made] = services.api_tokens.of(ann)
    submit(browser, "/account", f"/account/tokens/{made.id}")
    assert services.api_tokens.account(found[0]) is None


def test_a_token_opens_no_page_that_is_for_people(browser: FlaskClient, services: Services, ann: str) -> None:
    _, text = services.api_tokens.make(services.accounts.get(ann), "backup", Role.ADMIN, days=1)
    bearer = {"Authorization": f"Bearer {text}"}
    assert browser.get("/accounts", headers=bearer).status_code == 401
    answer = browser.get("/api/v1/nothing")
    assert answer.status_code == 401 and "this needs a token" in answer.text
    assert browser.get("/api/v1/nothing", headers=bearer).status_code == 404


def test_the_audit_page_shows_who_did_what_as_text(
    browser: FlaskClient, services: Services, ann: str
) -> None:
    for number in range(120):
        services.audit.note("cli root", "arm", f"<b>machine {number}</b>")
    log_in(browser, ann)
    page = browser.get("/audit?action=arm").text
    assert "&lt;b&gt;machine 119&lt;/b&gt;" in page and "machine 10&" not in page
    older = re.search(r'href="(/audit\?[^"]*before=[^"]*)">Older', page)
    assert older
    assert "machine 10&" in browser.get(older[1].replace("&amp;", "&")).text
    assert "Nothing of that kind" in browser.get("/audit?who=nobody").text


def test_cookies_are_for_this_site_alone_and_over_tls_for_tls_alone(browser: FlaskClient, ann: str) -> None:
    cookies = log_in(browser, ann).headers.getlist("Set-Cookie")
    assert any(one.startswith(f"{COOKIE}=") for one in cookies)
    for one in cookies:
        assert "HttpOnly" in one and "SameSite=Strict" in one and "Path=/" in one and "Secure" not in one
    secure = {"base_url": "https://localhost"}
    page = browser.get("/login", **secure)
    assert page.headers["Strict-Transport-Security"].startswith("max-age=")
    token = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
    assert token
    data = {"name": ann, "password": PASSWORD, "form_token": token[1]}
    cookies = browser.post("/login", data=data, **secure).headers.getlist("Set-Cookie")
    assert any(one.startswith(f"__Host-{COOKIE}=") for one in cookies)
    for one in cookies:
        assert one.startswith("__Host-") and "Secure" in one and "Domain" not in one
    assert "Strict-Transport-Security" not in browser.get("/login").headers


def test_a_form_that_is_too_long_is_refused(browser: FlaskClient) -> None:
    answer = browser.post("/login", data={"name": "x" * 100_000, "password": "y"})
    assert answer.status_code == 413
