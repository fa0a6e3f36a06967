"""`/metrics` as a Prometheus gets it, and the dashboard, whose every query finds something there."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from appliance.account_model import Role
from appliance.farm_model import Package, Release
from appliance.model import Tree
from appliance.overlays import HOME, example_site
from appliance.services import Services
from tests.clock import Clock
from tests.web.scene import NOW, fill_farm
from tests.webdoor import make_account, sign_in
from webui.app import make_app

DASHBOARD = HOME / "examples/grafana/distserver.json"
SELECTOR = re.compile(r"(distserver_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|=)"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")
LEGEND = re.compile(r"\{\{(\w+)\}\}")
MAC = "52:54:00:00:00:01"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"), Clock(NOW))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    return make_app(lambda: Services(services.live.path, services.tree, services.clock)).test_client()


def token(services: Services) -> dict[str, str]:
    make_account(services, "ann", Role.ADMIN)
    _, text = services.api_tokens.make(services.accounts.get("ann"), "prometheus", Role.VIEWER, days=1)
    return {"Authorization": f"Bearer {text}"}


def scrape(browser: FlaskClient, services: Services) -> list[Sample]:
    answer = browser.get("/metrics", headers=token(services))
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return [one for family in text_string_to_metric_families(answer.text) for one in family.samples]


def filled(services: Services) -> Services:
    fill_farm(services)
    services.add_machine(MAC, profile="vm")
    services.store.releases.add(Release("20260101-00000000000a", "vm", NOW - 60, "gentoo:ab", 3, 5))
    made = {"source": "", "revision": "ab", "image": "", "validator": ""}
    services.store.snapshots.succeeded("gentoo", **made, now=NOW - 5)
    package = Package("ab" * 32, "sys-apps/sed-4.9", 1, 5, "k", NOW - 9, "", seconds=8.0, remote_share=0.25)
    services.store.packages.remember(package)
    return services


def queries() -> Iterator[tuple[str, str, str]]:
    """(title, expression, legend) of every query of the dashboard."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"], target["legendFormat"]


def selected(samples: list[Sample], name: str, matchers: str) -> list[Sample]:
    """What PromQL's selector finds; its regular expressions match the whole value."""

    def meets(sample: Sample) -> bool:
        return all(
            re.fullmatch(wanted if sign == "=~" else re.escape(wanted), sample.labels.get(label, ""))
            for label, sign, wanted in MATCHER.findall(matchers)
        )

    return [one for one in samples if one.name == name and meets(one)]


def test_numbers_are_those_of_the_store(browser: FlaskClient, services: Services) -> None:
    samples = scrape(browser, filled(services))
    assert [
        one.value for one in selected(samples, "distserver_machines", 'profile="vm",state="assigned"')
    ] == [1]
    assert [one.value for one in selected(samples, "distserver_machines", 'state="failed"')] == [0]
    assert [one.value for one in selected(samples, "distserver_jobs", 'state="waiting",kind="build"')] == [1]
    assert [one.value for one in selected(samples, "distserver_remote_share_ratio", "")] == [0.25]
    assert [one.value for one in selected(samples, "distserver_release_newest_timestamp_seconds", "")] == [
        NOW - 60
    ]


def test_every_query_of_the_dashboard_finds_what_it_asks_for(
    browser: FlaskClient, services: Services
) -> None:
    samples = scrape(browser, filled(services))
    asked = list(queries())
    assert len(asked) >= 18
    for title, expression, legend in asked:
        found = SELECTOR.findall(expression)
        assert found, title
        labels = {word.strip() for group in GROUPING.findall(expression) for word in group.split(",")}
        labels |= set(LEGEND.findall(legend))
        for name, matchers in found:
            known = selected(samples, name, matchers)
            assert known, (title, expression)
            assert all(labels <= set(one.labels) for one in known), (title, labels)


def test_every_number_is_on_the_dashboard(browser: FlaskClient, services: Services) -> None:
    shown = {name for _, expression, _ in queries() for name, _ in SELECTOR.findall(expression)}
    assert {one.name for one in scrape(browser, filled(services))} == shown


def test_an_empty_store_has_numbers_too(browser: FlaskClient, services: Services) -> None:
    assert len(selected(scrape(browser, services), "distserver_machines", 'profile=""')) == 6


def test_strangers_get_no_numbers_also_from_this_host(browser: FlaskClient, services: Services) -> None:
    answer = browser.get("/metrics")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "distserver_" not in answer.text


def test_a_person_who_is_signed_in_may_look_at_them(browser: FlaskClient, services: Services) -> None:
    sign_in(browser, services, Role.VIEWER)
    assert "distserver_machines" in browser.get("/metrics").text


def test_a_label_with_quotes_and_line_ends_stays_one_label(browser: FlaskClient, services: Services) -> None:
    odd = 'a"b\\c\nd'
    services.store.questions.update(odd, [("use", "x/y", "?", "")], now=NOW)
    found = selected(scrape(browser, services), "distserver_questions_open", "")
    assert [one.labels["profile"] for one in found] == [odd]
