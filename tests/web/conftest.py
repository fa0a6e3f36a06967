"""Debian's Chromium before a served web page; a page that complains on its console fails the test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, sync_playwright

from tests.web.scene import Scene, served, set_scene
from tests.webdoor import COOKIE, begin_session

CHROMIUM = "/usr/bin/chromium"
DESK, PHONE = (1280, 900), (360, 740)
Opens = Callable[..., Page]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with served(set_scene(Path(tmp_path_factory.mktemp("scene")))) as one:
        yield one


# Of a module and not of the session: until it ends, Playwright's event loop counts as this thread's, and
# tests of other modules that come to the same process could not run theirs. After the scene, so that its
# connections end before the server waits for them.
@pytest.fixture(scope="module")
def chromium(scene: Scene) -> Iterator[Browser]:
    with sync_playwright() as driver:
        # Its own sandbox does not run as root; what it shows is ours.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opens(chromium: Browser, scene: Scene) -> Iterator[Opens]:
    """A browser of its own at a path, signed in; `refused` is a path that may fail."""
    complaints: list[str] = []
    contexts = []

    def open_(
        path: str = "/",
        *,
        scheme: str = "light",
        size: tuple[int, int] = DESK,
        scripts: bool = True,
        refused: str = "",
    ) -> Page:
        context = chromium.new_context(
            color_scheme="dark" if scheme == "dark" else "light",
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=scripts,
            timezone_id="Asia/Kolkata",
            locale="en-GB",
        )
        contexts.append(context)
        page = context.new_page()
        watch(page, complaints, refused)
        enter(page, scene)
        page.goto(scene.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def watch(page: Page, complaints: list[str], refused: str = "") -> None:
    """Note errors of scripts, what the policy refused, and parts of the page that are not there."""

    def console(said: ConsoleMessage) -> None:
        if said.type == "error" and not said.text.startswith("Failed to load resource"):
            complaints.append(said.text)

    def answered(answer: Response) -> None:
        expected = refused and answer.url.endswith(refused)
        if answer.status >= 400 and not (expected or answer.request.is_navigation_request()):
            complaints.append(f"{answer.status} {answer.url}")

    page.on("console", console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("response", answered)


def enter(page: Page, scene: Scene) -> None:
    """Sign in as an admin."""
    services = scene.services()
    page.context.add_cookies([{"name": COOKIE, "value": begin_session(services), "url": scene.url}])
    services.store.close()
