"""Plans on the web page, by the API and from afar: wanted by a person, made by the farm, kept and shown."""

import shutil
import threading
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.cli import main
from appliance.deadline import wait_until
from appliance.desks.errands import PLANS, ErrandDesk
from appliance.errors import Problem
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.errands import Errand, ErrandKind, ErrandState
from appliance.store.plan_views import PlanRecord
from tests.afar import Afar, said_by
from tests.integration.test_remote_commands import afar
from tests.web.scene import LONG, MARKUP, plan_document
from tests.webdoor import sign_in, submit
from webui.app import make_app

__all__ = ["afar"]
PLAN = "/plan/vm"
DEADLINE_SECONDS = 30.0


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def keep(services: Services) -> str:
    inputs = services.inputs(services.live.now().profiles["vm"])
    services.store.plan_views.put(PlanRecord("vm", inputs, 1.0, "web olga", 90.0, plan_document()))
    return "1 to build"


def farm(services: Services) -> ErrandDesk:
    """One whose Portage has its answer ready."""
    return ErrandDesk(services.release_desk, services.clock, {ErrandKind.PLAN: lambda errand: keep(services)})


def test_a_plan_is_asked_for_made_by_the_farm_and_shown(browser: FlaskClient, services: Services) -> None:
    assert "Nobody asked for a plan yet." in browser.get(PLAN).text
    assert submit(browser, PLAN).location == PLAN
    assert "asked by web olga" in browser.get(PLAN).text
    done = farm(services).do_next(PLANS)
    assert done and (done.state, done.said) == (ErrandState.DONE, "1 to build")
    page = browser.get(PLAN).text
    assert "1 to build (60 s of building), 1 to reuse, 1 to remove, 1 kept" in page
    assert "nothing changed" in page and "asked by web olga" not in page
    assert MARKUP not in page and "&lt;img src=x" in page
    assert f"app-misc/{LONG}-remove-1" not in browser.get(f"{PLAN}?deed=build").text
    assert [one.who for one in services.audit.page(action="plan want")] == ["web olga"]


def test_a_plan_of_what_has_changed_since_says_so(browser: FlaskClient, services: Services) -> None:
    keep(services)
    with (services.live.path / "profiles/vm/world").open("a") as world:
        world.write("app-editors/nano\n")
    assert "the profile or a repository changed: ask again" in browser.get(PLAN).text


def test_what_kept_a_plan_from_being_made_is_said(browser: FlaskClient, services: Services) -> None:
    def fail(errand: Errand) -> str:
        raise Problem(f"the stage is gone {MARKUP}")

    submit(browser, PLAN)
    ErrandDesk(services.release_desk, services.clock, {ErrandKind.PLAN: fail}).do_next(PLANS)
    page = browser.get(PLAN).text
    assert "could not be made: the stage is gone &lt;img" in page and MARKUP not in page


def test_how_far_the_farm_is_is_shown_while_it_asks(browser: FlaskClient, services: Services) -> None:
    submit(browser, PLAN)
    errand = services.store.errands.begin(PLANS, now=2.0)
    assert errand
    services.changes.look()
    services.store.errands.note(errand.id, "snapshot: gentoo")
    assert "builds" in services.changes.look()
    assert "snapshot: gentoo" in browser.get(PLAN).text


def test_a_profile_that_is_not_there_has_no_plan(browser: FlaskClient) -> None:
    assert browser.get("/plan/nosuch").status_code == 404


def test_a_plan_is_made_and_shown_from_afar(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    def make() -> None:
        own = Services(afar.services.live.path, afar.services.tree)
        wait_until(lambda: farm(own).do_next(PLANS), seconds=DEADLINE_SECONDS, what="somebody wants a plan")
        own.store.close()

    thread = threading.Thread(target=make)
    thread.start()
    try:
        shown = said_by(capsys, [*afar.options(), "plan", "vm"])
    finally:
        thread.join()
    assert f"app-misc/{LONG}-build-1" in shown and "-keep-1" not in shown
    assert "? use a/b" in shown
    assert main([*afar.options(), "plan", "nosuch"]) == 1
    assert "there is no profile nosuch" in capsys.readouterr().err
