"""Through the web page's door: a browser of somebody who is signed in, and what its forms carry."""

import re
from collections.abc import Mapping

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.account_model import Role
from appliance.services import Services

FORM_TOKEN = re.compile(r'name="form_token" value="([0-9a-f]+)"')
COOKIE = "distserver-session"
PASSWORD = "correct horse battery"
NOT_EMPTY = "a hash that no password has"


def make_account(services: Services, name: str, role: Role) -> None:
    """An account whose owner came already; without the work of argon2."""
    if services.store.accounts.add(name, role, now=services.clock()):
        services.store.accounts.set_password(name, NOT_EMPTY)


def begin_session(services: Services, role: Role = Role.ADMIN, name: str = "") -> str:
    """What the cookie of a browser holds that is signed in; the account is made when there is none."""
    name = name or role.value
    make_account(services, name, role)
    return services.accounts.begin_session(services.accounts.get(name), address="127.0.0.1")


def sign_in(browser: FlaskClient, services: Services, role: Role = Role.ADMIN, name: str = "") -> None:
    """As an account with this role; it is made when there is none of that name."""
    browser.set_cookie(COOKIE, begin_session(services, role, name))


def token_on(browser: FlaskClient, page: str) -> str:
    """What the forms of a page carry."""
    found = FORM_TOKEN.search(browser.get(page).text)
    assert found, f"{page} has no form"
    return found[1]


def submit(
    browser: FlaskClient, page: str, action: str = "", data: Mapping[str, str] | None = None
) -> TestResponse:
    """Send a form that stands on a page; `action` when it goes elsewhere."""
    return browser.post(action or page, data={**(data or {}), "form_token": token_on(browser, page)})
