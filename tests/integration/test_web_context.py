"""Threads of the web process keep their services, but none that a request broke off in."""

import shutil
import threading
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from tests.webdoor import sign_in
from webui.access import open_to_all
from webui.app import make_app
from webui.context import services


class Counted:
    def __init__(self, place: Path) -> None:
        self.site = Path(shutil.copytree(example_site(), place / "site"))
        self.tree = Tree(place / "state")
        self.opened: list[Services] = []

    def __call__(self) -> Services:
        self.opened.append(Services(self.site, self.tree))
        return self.opened[-1]


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


@pytest.fixture
def app(counted: Counted) -> Flask:
    return make_app(counted)


def test_one_thread_opens_once_and_sees_what_others_write(app: Flask, counted: Counted) -> None:
    browser = app.test_client()
    other = Services(counted.site, counted.tree)
    sign_in(browser, other)
    for number in range(3):
        other.store.machines.add(Machine(f"52:54:00:00:00:0{number}", MachineState.ASSIGNED, f"new{number}"))
        assert f"new{number}" in browser.get("/machines").text
    (counted.site / "profiles/fresh").mkdir()
    (counted.site / "profiles/fresh/profile.toml").write_text(
        'parent = ["vm"]\ndescription = "just written"\n'
    )
    assert "just written" in browser.get("/").text
    assert len(counted.opened) == 1


def test_each_thread_has_its_own(app: Flask, counted: Counted) -> None:
    browser = app.test_client()
    sign_in(browser, Services(counted.site, counted.tree))
    browser.get("/")
    clients: list[FlaskClient] = [browser]
    thread = threading.Thread(target=lambda: [one.get("/") for one in clients])
    thread.start()
    thread.join()
    assert len(counted.opened) == 2


def test_a_page_stands_on_one_site_and_the_next_one_on_the_new(app: Flask, counted: Counted) -> None:
    world = counted.site / "profiles/vm/world"

    def look() -> str:
        before = services().live.now()
        world.write_text(world.read_text() + "app-misc/fresh\n")
        return str(services().live.now() is before)

    app.add_url_rule("/look", "look", open_to_all(look))
    browser = app.test_client()
    sign_in(browser, Services(counted.site, counted.tree))
    assert browser.get("/look").text == "True"
    assert "app-misc/fresh" in counted.opened[0].live.now().profiles["vm"].world
    assert "app-misc/fresh" in browser.get("/profile/vm").text


def test_a_request_that_breaks_off_in_a_change_leaves_nothing_behind(app: Flask, counted: Counted) -> None:
    def broken() -> str:
        services().store.database.execute("BEGIN IMMEDIATE")
        raise RuntimeError("in the middle")

    app.add_url_rule("/broken", "broken", open_to_all(broken))
    app.config["PROPAGATE_EXCEPTIONS"] = False
    browser = app.test_client()
    other = Services(counted.site, counted.tree)
    sign_in(browser, other)
    assert browser.get("/broken").status_code == 500
    assert browser.get("/").status_code == 200
    other.store.machines.add(Machine("52:54:00:00:00:01", MachineState.ASSIGNED, "free"))
    assert "free" in browser.get("/machines").text
    assert len(counted.opened) == 2
