"""What a request stands on: the services of its thread, and whose request it is."""

import threading
from collections.abc import Callable
from typing import cast

from flask import Flask, Response, current_app, g

from appliance.account_model import Account
from appliance.services import Common, Services

KEPT = "services"


class Kept(threading.local):
    """One for each thread, kept from request to request.

    Opening a store, reading the site and checking the signatures of channels cost more than most pages; what
    one thread found of the channels and of the site, all know.
    """

    def __init__(self, open_services: Callable[[], Services], first: list[Common]) -> None:
        self.open_services = open_services
        self.first = first
        """Of the thread that came first."""
        self.services: Services | None = None

    def take(self) -> Services:
        if self.services is None:
            self.services = self.open_services()
            self.first.append(self.services.common)
            self.services.share(self.first[0])
            del self.first[1:]
        return self.services

    def drop(self) -> None:
        if self.services is not None:
            self.services.store.close()
            self.services = None


def add_context(app: Flask, open_services: Callable[[], Services]) -> None:
    """Let requests have services; what a request broke off in is given to no other one."""
    kept = app.extensions[KEPT] = Kept(open_services, [])

    @app.after_request
    def let_go(answer: Response) -> Response:
        if kept.services is not None:
            kept.services.live.let_go()  # what is streamed from here on may last for long
        return answer

    @app.teardown_appcontext
    def end(failure: BaseException | None) -> None:
        if failure is not None:
            kept.drop()


def services() -> Services:
    """Those of this request's thread; all of a page stands on the site as it was when it began."""
    kept: Kept = current_app.extensions[KEPT]
    found = kept.take()
    if "holds" not in g:
        g.holds = True
        found.live.hold()
    return found


def account() -> Account | None:
    """Who is signed in; None is a stranger."""
    return cast("Account | None", g.get("account"))


def signed_in() -> Account:
    """Who is signed in, for views that need a role."""
    found = account()
    if found is None:
        raise LookupError("nobody is signed in, and this view says that somebody must be")
    return found


def who() -> str:
    """Who acts, for use cases that change something."""
    return services().audit.who
