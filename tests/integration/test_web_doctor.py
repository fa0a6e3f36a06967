"""The doctor's page: asked for by an operator, examined by the farm, shown with its age and its fixes."""

import shutil
import signal
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.desks.examinations import MOST_TRIES, Progress
from appliance.errors import Problem
from appliance.farm_process import examine_wanted
from appliance.findings import Examined, Finding, Level
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import CommandFailed, run
from appliance.services import Services
from appliance.store.examinations import KEPT
from appliance.up import Up
from tests.webdoor import sign_in, submit
from webui.app import make_app

MARKUP = '<img src=x onerror="1">'
BEGINS_AND_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from appliance.store import Store
assert Store(Path(sys.argv[1])).examinations.begin(now=2.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "ann")
    return client


def found(name: str, progress: Progress) -> Examined:
    progress(name, 1.0, 1)
    fine = Finding(Level.GREEN, "MTU", "is 1500")
    foreign = Finding(Level.RED, "192.0.2.1", f"offers {MARKUP}", "switch its PXE off")
    return Examined(name, 1, (fine, foreign))


def make(services: Services, *interfaces: str) -> bool:
    return services.examinations.make_next(interfaces, found, seconds=5)


def test_it_is_asked_for_once_made_by_the_farm_and_shown_the_worst_first(
    browser: FlaskClient, services: Services
) -> None:
    assert "Nobody has asked" in browser.get("/doctor").text
    assert not make(services, "eth0")
    assert submit(browser, "/doctor").status_code == 303
    submit(browser, "/doctor")
    assert "under way already" in browser.get("/doctor").text
    asked = [(one.who, one.action) for one in services.audit.page() if one.action == "doctor"]
    assert asked == [("web ann", "doctor")]
    assert make(services, "eth0", "eth1")
    shown = browser.get("/doctor").text
    assert shown.index("switch its PXE off") < shown.index("is 1500")
    assert "offers &lt;img" in shown and MARKUP not in shown
    assert "Examined" in shown and "eth1: 1 answer<" in shown
    assert not make(services, "eth0")


def test_progress_is_shown_beside_the_last_result(browser: FlaskClient, services: Services) -> None:
    submit(browser, "/doctor")
    make(services, "eth0")
    submit(browser, "/doctor")
    seen = []

    def look(name: str, progress: Progress) -> Examined:
        progress(name, 2.0, 3)
        seen.append(browser.get("/doctor").text)
        return Examined(name, 3, ())

    services.examinations.make_next(["eth7"], look, seconds=5)
    assert "asking on eth7, 3 answers" in seen[0] and 'value="2.0" max="5.0"' in seen[0]
    assert "switch its PXE off" in seen[0]
    assert "switch its PXE off" not in browser.get("/doctor").text


def test_one_whose_process_is_killed_is_made_again_but_not_for_ever(
    browser: FlaskClient, services: Services
) -> None:
    for tries in (1, MOST_TRIES):
        submit(browser, "/doctor")
        for _ in range(tries):
            with pytest.raises(CommandFailed) as killed:
                run([sys.executable, "-c", BEGINS_AND_IS_KILLED, str(services.tree.store)])
            assert killed.value.status == -signal.SIGKILL
            assert "running" in browser.get("/doctor").text
            if tries == MOST_TRIES:
                services.store.examinations.interrupt(now=3.0, most_tries=MOST_TRIES)
        assert make(services, "eth0") == (tries == 1)
    assert f"ended {MOST_TRIES} times without a word" in browser.get("/doctor").text


def test_without_a_served_interface_the_farm_says_so(browser: FlaskClient, services: Services) -> None:
    submit(browser, "/doctor")
    assert examine_wanted(Up(services.live.path, services.tree.path), services)
    assert "no network interface is served" in browser.get("/doctor").text
    assert "Examine now" in browser.get("/doctor").text


def test_an_interface_that_is_not_there_is_a_finding_of_the_real_doctor(
    browser: FlaskClient, services: Services
) -> None:
    submit(browser, "/doctor")
    assert examine_wanted(Up(services.live.path, services.tree.path, ("nowhere0",)), services)
    shown = browser.get("/doctor").text
    assert "nowhere0: 0 answers" in shown and "ip -brief address" in shown


def test_a_problem_is_said_and_the_next_one_is_made(browser: FlaskClient, services: Services) -> None:
    def refuse(name: str, progress: Progress) -> Examined:
        raise Problem(f"{name} is on fire", hint="pour water")

    submit(browser, "/doctor")
    services.examinations.make_next(["eth0"], refuse, seconds=5)
    assert "eth0 is on fire" in browser.get("/doctor").text
    submit(browser, "/doctor")
    make(services, "eth0")
    assert "on fire" not in browser.get("/doctor").text


def test_old_ones_are_forgotten(services: Services) -> None:
    for _ in range(KEPT + 3):
        assert services.examinations.want(who="web ann")
        make(services, "eth0")
    row = services.store.database.row("SELECT count(*) AS count FROM examination")
    assert row and row["count"] == KEPT


def test_a_viewer_sees_it_and_asks_for_nothing(browser: FlaskClient, services: Services) -> None:
    sign_in(browser, services, Role.VIEWER)
    shown = browser.get("/doctor").text
    assert "An operator can ask" in shown and "Examine now" not in shown


def test_pages_follow_it(services: Services) -> None:
    services.changes.look()
    services.examinations.want(who="web ann")
    assert "doctor" in services.changes.look()


def test_one_whose_end_could_not_be_noted_is_made_again(browser: FlaskClient, services: Services) -> None:
    submit(browser, "/doctor")
    assert services.store.examinations.begin(now=2.0)
    assert make(services, "eth0")
    assert "switch its PXE off" in browser.get("/doctor").text
