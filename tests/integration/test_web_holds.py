"""Held packages in the browser, by the API and on the command line: the same use cases, each with who."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.cli import main
from appliance.farm_model import FailureKind, FailureRecord, Held
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm.signing import Signer
from tests.clock import Clock
from tests.press import START, Press
from tests.webdoor import make_account, sign_in, submit
from webui.app import make_app

MARKUP = "<script>alert(1)</script>"
HELD = "app-misc/a"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Machines of `vm` have app-misc/a-1."""
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    tree = Tree(tmp_path / "state")
    press = Press(tree, site, Signer(tree.room("keys")), Clock(START))
    press.published(b"one")
    return Services(site, press.tree)


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def test_a_package_is_held_with_a_reason_and_let_go_again(browser: FlaskClient, services: Services) -> None:
    form = {"profile": "vm", "package": HELD, "why": f"2 is bad {MARKUP}"}
    assert submit(browser, "/holds", "/holds/hold", form).status_code == 303
    page = browser.get("/holds?profile=vm").text
    assert f"{HELD} of vm stays at 1." in page and "2 is bad &lt;script&gt;" in page and MARKUP not in page
    assert "Held packages</a>: 1" in browser.get("/builds").text
    submit(browser, "/holds", "/holds/release", {"profile": "vm", "package": HELD, "why": "3 came"})
    assert "Nothing is held." in browser.get("/holds").text
    notes = [(one.action, one.detail) for one in services.audit.page(subject=f"vm/{HELD}")]
    assert notes == [("package release", "hold 3 came"), ("package hold", f"1 2 is bad {MARKUP}")]


def test_a_version_is_skipped_from_the_list_of_what_failed(browser: FlaskClient, services: Services) -> None:
    record = ("vm", "app-misc/a-2", "k", FailureKind.COMPILE, f"error {MARKUP}", "", "tail")
    services.store.failures.add(FailureRecord(*record, 2, 1.0, 2.0))
    submit(browser, "/builds", "/holds/skip", {"profile": "vm", "package": "app-misc/a-2"})
    assert "vm goes without app-misc/a-2 and stays at 1." in browser.get("/holds").text
    assert [one.atoms for one in services.holds.all("vm")] == [("=app-misc/a-2",)]


def test_what_cannot_be_held_is_said_with_what_to_do(browser: FlaskClient, services: Services) -> None:
    for package in ("app-misc/none", f"x {MARKUP}", "app-misc/a\n>sys-libs/glibc-0"):
        submit(browser, "/holds", "/holds/hold", {"profile": "vm", "package": package})
        page = browser.get("/holds").text
        assert 'class="flash error"' in page and MARKUP not in page
    assert services.holds.all() == []


def test_what_does_not_build_is_listed_beside_what_persons_hold(
    browser: FlaskClient, services: Services
) -> None:
    services.failures.hold("vm", [Held("app-misc/a-2", "app-misc/a-1")])
    page = browser.get("/holds").text
    assert "does not build" in page and "app-misc/a-2" in page
    assert "app-misc/a-2" not in browser.get("/holds?profile=nosuch").text


def test_programs_hold_release_and_ask_for_builds(browser: FlaskClient, services: Services) -> None:
    make_account(services, "ann", Role.ADMIN)
    _, text = services.api_tokens.make(services.accounts.get("ann"), "x", Role.OPERATOR, days=1)
    headers = {"Authorization": f"Bearer {text}"}

    def post(action: str, **body: str) -> tuple[int, dict[str, object]]:
        answer = browser.post(f"/api/v1/profiles/vm/{action}", headers=headers, json=body)
        return answer.status_code, answer.json or {}

    assert post("hold", package=HELD, why="bad")[1]["stays"] == "1"
    assert post("skip", package="app-misc/a-9")[0] == 200
    listed = browser.get("/api/v1/holds?profile=vm", headers=headers).json
    assert listed and [(one["subject"], one["kind"], one["who"]) for one in listed["items"]] == [
        (HELD, "hold", "api ann"),
        ("app-misc/a-9", "skip", "api ann"),
    ]
    assert post("release-hold", package=HELD)[0] == 200
    assert post("release-hold", package=HELD)[0] == 409
    for _ in range(2):
        services.store.jobs.start("build", "vm", now=1.0)
    for cpv in ("app-misc/a-2", "app-misc/b-2", "app-misc/c-2"):
        services.store.job_packages.begin(2, cpv, reused=False, now=1.0)
    first = browser.get("/api/v1/jobs/2/packages?limit=2", headers=headers).json or {}
    rest = browser.get(f"/api/v1/jobs/2/packages?cursor={first['next']}", headers=headers).json or {}
    assert [one["package"] for one in (*first["items"], *rest["items"])] == [
        "app-misc/a-2", "app-misc/b-2", "app-misc/c-2",
    ]  # fmt: skip
    assert browser.get("/api/v1/jobs/nine/packages", headers=headers).status_code == 404
    queue = browser.get("/api/v1/queue", headers=headers).json or {}
    assert {one["profile"] for one in queue["items"]} == {"vm"}
    for job in (1, 2):
        services.store.jobs.end(job, "done", now=2.0)
    assert post("build", why="now") == (202, {"profile": "vm", "tried_again": [], "running": False})
    waiting = services.build_requests.waiting("vm")
    assert waiting and (waiting.who, waiting.why) == ("api ann", "now")


def test_the_command_line_holds_skips_lists_and_releases(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    site = ["--site", str(services.live.path)]

    def said(*words: str, status: int = 0) -> str:
        assert main(["--state", str(services.tree.path), *words, *site]) == status
        captured = capsys.readouterr()
        return captured.out + captured.err

    assert said("hold", "add", "vm", HELD, "--why", "bad") == f"{HELD} of vm stays at 1\n"
    assert "goes without app-misc/a-9 and stays at 1" in said("hold", "skip", "vm", "app-misc/a-9")
    services.failures.hold("vm", [Held("app-misc/b-2", "app-misc/b-1")])
    listed = said("hold", "list")
    assert all(word in listed for word in (HELD, "app-misc/a-9", "app-misc/b-2 does not build", "bad"))
    assert "is not kept out any more" in said("hold", "release", "vm", HELD)
    assert "vm is built as soon as a worker is free" in said("retry", "vm")
    assert "did not fail" in said("retry", "vm", "app-misc/a-1", status=1)
