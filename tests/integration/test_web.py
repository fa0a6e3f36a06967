"""The web page as a browser gets it, over a real store."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.farm_model import Release
from appliance.install import planned
from appliance.model import Disk, Event, Facts, Firmware, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from tests.webdoor import sign_in
from webui.app import make_app

MAC = "52:54:00:00:00:01"
RELEASE = Release("20260101-00000000000a", "vm", 1.0, "snap", 3, 5 * 2**20)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    app = make_app(lambda: Services(services.live.path, services.tree))
    return app.test_client()


def test_the_overview_counts_machines_and_names_profiles_and_what_failed(
    browser: FlaskClient, services: Services
) -> None:
    services.add_machine(MAC, profile="vm", name="web1")
    services.store.releases.add(RELEASE)
    job = services.store.jobs.start("build", "vm", now=1.0)
    services.store.jobs.end(job, "failed", now=2.0, message="sys-apps/sed failed")
    sign_in(browser, services)
    text = browser.get("/").text
    for wanted in ("assigned</span> <b>1</b>", "a virtual machine of QEMU", "sys-apps/sed failed"):
        assert wanted in text
    assert RELEASE.id in browser.get("/releases").text
    for wanted in (MAC, "web1", "assigned"):
        assert wanted in browser.get("/machines").text


def test_a_machines_page_draws_its_timeline(browser: FlaskClient, services: Services) -> None:
    services.add_machine(MAC, profile="vm")
    disk = Disk("/dev/vda", 8 * 2**30, "virtio")
    services.store.machines.set_facts(MAC, Facts(MAC, Firmware.UEFI, 2**30, vendor="QEMU", disks=(disk,)))
    for at, stage, seconds in ((10.0, "discover", None), (14.0, "stage", 3.0), (20.0, "packages", 5.0)):
        services.store.events.add(Event(MAC, at, stage, "done", seconds, 2_000_000))
    services.store.events.add(Event(MAC, 21.0, "plan", message=planned("r1", "uefi", "ab" * 32)))
    sign_in(browser, services)
    text = browser.get(f"/machine/{MAC}").text
    assert text.count("<rect") >= 3
    assert "/dev/vda 8.0 GiB" in text
    assert "2.0 MB" in text
    assert f"<code>{'ab' * 32}</code>" in text


def test_a_machines_page_leads_to_why_it_boots_what_it_boots(
    browser: FlaskClient, services: Services
) -> None:
    services.add_machine(MAC, profile="vm")
    sign_in(browser, services)
    way = f"/machine/{MAC}/explain"
    assert way in browser.get(f"/machine/{MAC}").text
    text = browser.get(way).text
    for said in ("DISCOVER of the firmware", "it has the profile vm and is not armed", "inherits amd64"):
        assert said in text


def test_what_a_machine_says_is_text_and_never_markup(browser: FlaskClient, services: Services) -> None:
    services.add_machine(MAC)
    services.store.events.add(Event(MAC, 1.0, "stage", "failed", message="<script>alert(1)</script>"))
    services.store.machines.move(MAC, MachineState.ARMED)
    services.store.machines.move(MAC, MachineState.FAILED, problem="<b>no</b>")
    sign_in(browser, services)
    text = browser.get(f"/machine/{MAC}").text
    assert "<script>" not in text
    assert "<b>no</b>" not in text


def test_a_machine_that_does_not_exist_is_a_sentence(browser: FlaskClient, services: Services) -> None:
    sign_in(browser, services)
    answer = browser.get("/machine/52:54:00:00:00:99")
    assert answer.status_code == 404
    assert "there is no machine" in answer.text
