"""The compile cluster's page: what it shows, what operators change by it, and that it writes no orders."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm.toolchain import Toolchain
from tests.webdoor import sign_in, submit
from webui.app import make_app

GCC = "ab" * 32
MARKUP = '<img src=x onerror="1">'
MAC = "52:54:00:00:00:01"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "ann")
    return client


def put(services: Services, name: str, state: HostState, *, problem: str = "") -> None:
    report = HostReport(name, "x86_64", 8, load=3.0, runs={GCC: 3640}, problem=problem)
    host = CompileHost(name, "192.0.2.7", state, seen_at=services.clock(), report=report)
    services.store.compile_hosts.put(host)


def keep_toolchain(services: Services) -> None:
    made = Toolchain(GCC, "x86_64-pc-linux-gnu", "x86_64", "12.2.0", ("gcc",), ("distccd",), 2**20, "cc")
    (services.tree.room("toolchains") / f"{GCC}.json").write_text(json.dumps(asdict(made)))


def state_of(services: Services, name: str) -> HostState:
    found = services.store.compile_hosts.get(name)
    assert found
    return found.state


def notes(services: Services) -> list[tuple[str, str, str, str]]:
    return [
        (one.who, one.action, one.subject, one.detail)
        for one in services.audit.page()
        if one.action != "login"
    ]


def test_an_empty_cluster_says_what_to_do_and_looking_makes_nothing(
    browser: FlaskClient, services: Services
) -> None:
    before = sorted(services.tree.path.iterdir())
    assert "No compile host." in browser.get("/cluster").text
    assert "No machine lends itself." in browser.get("/cluster/machines").text
    assert sorted(services.tree.path.iterdir()) == before


def test_a_host_that_said_hello_is_let_in_and_the_farm_is_left_to_order(
    browser: FlaskClient, services: Services
) -> None:
    put(services, "stranger", HostState.UNKNOWN)
    assert submit(browser, "/cluster/host/stranger", "/cluster", {"name": "stranger"}).status_code == 303
    assert state_of(services, "stranger") is HostState.READY
    assert notes(services)[0] == ("web ann", "host add", "stranger", "192.0.2.7")
    assert not (services.tree.path / "cluster").exists()
    assert "stranger may be used" in browser.get("/cluster").text


def test_a_quarantine_says_why_and_until_when_and_a_person_ends_it(
    browser: FlaskClient, services: Services
) -> None:
    put(services, "builder", HostState.READY)
    page = "/cluster/host/builder"
    submit(browser, page, f"{page}/quarantine", {"reason": f"smells {MARKUP}"})
    shown = browser.get(page).text
    assert "smells &lt;img" in shown and "until <time" in shown and MARKUP not in shown
    assert "smells &lt;img" in browser.get("/cluster").text
    until = services.cluster.host("builder").until
    submit(browser, page, f"{page}/quarantine", {"reason": "twice"})
    assert "is quarantined already" in browser.get(page).text
    assert services.cluster.host("builder").until == until
    submit(browser, page, f"{page}/release")
    assert state_of(services, "builder") is HostState.READY
    assert [one[:3] for one in notes(services)] == [
        ("web ann", "host release", "builder"),
        ("web ann", "host quarantine", "builder"),
    ]


def test_a_host_nobody_let_in_is_not_let_in_by_the_end_of_a_quarantine(
    browser: FlaskClient, services: Services
) -> None:
    put(services, "stranger", HostState.UNKNOWN)
    page = "/cluster/host/stranger"
    for what in ("quarantine", "release"):
        submit(browser, page, f"{page}/{what}", {"reason": "odd"})
        assert state_of(services, "stranger") is HostState.UNKNOWN
    assert notes(services) == []


def test_probes_are_shown_and_asked_for_again(browser: FlaskClient, services: Services) -> None:
    put(services, "builder", HostState.READY)
    keep_toolchain(services)
    services.store.compile_hosts.set_ports("builder", {GCC: 3640})
    services.store.compile_hosts.set_probed("builder", GCC, services.clock())
    page = "/cluster/host/builder"
    assert "passed <time" in browser.get(page).text
    assert "1 of 1 run, 1 probed" in browser.get("/cluster").text
    submit(browser, page, f"{page}/probe")
    assert "before its first use" in browser.get(page).text
    assert services.store.compile_hosts.probed_at("builder", GCC) == 0


def test_a_toolchain_is_ordered_for_the_farm_to_sign(browser: FlaskClient, services: Services) -> None:
    keep_toolchain(services)
    assert "not ordered" in browser.get("/cluster").text
    submit(browser, "/cluster", f"/cluster/toolchain/{GCC}")
    assert "not ordered" not in browser.get("/cluster").text
    assert services.store.compile_hosts.wanted(now=services.clock()) == [GCC]
    submit(browser, "/cluster", "/cluster/toolchain/none")
    assert "there is no toolchain none" in browser.get("/cluster").text


def test_a_host_of_the_site_is_not_removed_here(browser: FlaskClient, services: Services) -> None:
    put(services, "builder", HostState.READY)
    submit(browser, "/cluster/host/builder", "/cluster/host/builder/remove")
    assert services.store.compile_hosts.get("builder") is None
    file = services.live.path / "appliance.toml"
    file.write_text(file.read_text() + '\n[[cluster.host]]\nname = "named"\naddress = "192.0.2.9"\n')
    assert "It stands in the site" in browser.get("/cluster/host/named").text
    submit(browser, "/cluster", "/cluster/host/named/remove")
    assert "take it out of appliance.toml" in browser.get("/cluster").text


def test_machines_lend_themselves_and_an_armed_one_does_not(browser: FlaskClient, services: Services) -> None:
    services.store.machines.add(Machine(MAC, MachineState.ASSIGNED, "idle", "vm"))
    services.store.machines.add(Machine("52:54:00:00:00:02", MachineState.ARMED, "busy", "vm"))
    submit(browser, "/cluster/machines", "/cluster/machines/lend", {"machine": "idle"})
    submit(browser, "/cluster/machines", "/cluster/machines/lend", {"machine": "busy"})
    shown = browser.get("/cluster/machines").text
    assert "1 machine<" in shown and "it will be installed first" in shown
    assert notes(services) == [("web ann", "machine lend", MAC, "boots to compile")]
    submit(browser, "/cluster/machines", "/cluster/machines/keep", {"machine": MAC})
    assert services.store.machines.count_lending() == 0


@pytest.mark.parametrize(
    "data", [{"name": "../x"}, {"name": "one", "address": "no"}, {"name": "one", "slots": "-1"}]
)
def test_what_makes_no_sense_is_said_and_changes_nothing(
    browser: FlaskClient, services: Services, data: dict[str, str]
) -> None:
    assert submit(browser, "/cluster", "/cluster", {"address": "192.0.2.9", **data}).status_code == 303
    assert 'role="alert"' in browser.get("/cluster").text
    assert services.store.compile_hosts.all() == [] and notes(services) == []


def test_a_viewer_sees_all_of_it_and_no_button(browser: FlaskClient, services: Services) -> None:
    put(services, "builder", HostState.READY, problem=MARKUP)
    sign_in(browser, services, Role.VIEWER)
    for page in ("/cluster", "/cluster/host/builder", "/cluster/machines"):
        shown = browser.get(page).text
        assert shown.count("<form") == 1, page  # which signs out
        assert MARKUP not in shown
