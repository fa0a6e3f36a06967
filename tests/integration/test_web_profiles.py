"""The pages of profiles: each value with its file and line, and a site that was broken by hand."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.farm_model import Release
from appliance.good_site import CURRENT
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.site_keeper import keep_good_site, store_group
from appliance.up import Up, open_services
from tests.webdoor import sign_in
from webui.app import make_app

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    return client(services)


def client(services: Services) -> FlaskClient:
    made = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(made, services)
    return made


def write(services: Services, name: str, text: str) -> None:
    file = services.live.path / "profiles" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_list_is_the_tree_of_who_inherits_with_machines_releases_and_what_waits(
    browser: FlaskClient, services: Services
) -> None:
    write(services, "other/profile.toml", f'description = "{MARKUP}"\nparent = ["vm"]\n')
    services.add_machine("52:54:00:00:00:01", profile="vm")
    now = services.clock()
    services.store.releases.add(Release("20260101-00000000000a", "vm", now - 7200, "s:1", 3, 5))
    services.store.jobs.end(
        services.store.jobs.start("build", "vm", now=1.0), "failed", now=2.0, message=MARKUP
    )
    text = browser.get("/profiles").text
    places = [text.index(f'id="profile-{name}"') for name in ("amd64", "vm", "other")]
    assert places == sorted(places)
    for wanted in (
        'depth-2"',
        "inherits vm",
        "20260101-00000000000a",
        "2 h old",
        "profile=vm",
        "only a parent",
    ):
        assert wanted in text
    assert "the last build failed" in text and MARKUP not in text
    assert 'aria-current="page">Profiles' in text


def test_one_profile_has_every_value_with_its_place(browser: FlaskClient, services: Services) -> None:
    write(services, "vm/portage/package.use/lua", f"dev-lang/lua readline # {MARKUP}\n")
    write(services, "amd64/kernel.config", "CONFIG_A=y\nCONFIG_B=y\n")
    write(services, "vm/kernel.config", "CONFIG_B=m\n")
    text = browser.get("/profile/vm").text
    for place in (
        "/profile.toml:6",
        "/portage/make.conf:1",
        "/portage/package.use/lua:1",
        "/world:1",
        "/kernel.config:2",
        "/portage/profile/package.provided:",
    ):
        assert place in text, place
    assert text.count("<svg") == 2 and "BIOS: 2 partitions" in text and "the rest" in text
    assert "vendor <code>QEMU*</code>: it waits to be armed" in text
    assert "dev-lang/lua readline # &lt;img" in text and MARKUP not in text
    assert 'href="/machines?profile=vm"' in text and 'href="/releases?profile=vm"' in text
    parent = browser.get("/profile/amd64").text
    assert "only a parent" in parent and '<a href="/profile/vm">vm</a>' in parent


def test_a_profile_that_is_not_there_names_the_nearest(browser: FlaskClient) -> None:
    answer = browser.get("/profile/amd46")
    assert answer.status_code == 404 and "did you mean amd64?" in answer.text


def test_a_site_broken_by_hand_serves_what_it_was_and_says_where_the_mistake_is(
    browser: FlaskClient, services: Services
) -> None:
    assert "1 mistake" not in browser.get("/profiles").text
    toml = services.live.path / "profiles/vm/profile.toml"
    right = toml.read_text()
    toml.write_text(right.replace("description", f"x = '{MARKUP}'\ndescripton"))
    for page in ("/", "/profiles", "/profile/vm"):
        text = browser.get(page).text
        assert "The site&#39;s files have 2 mistakes" in text or "The site's files have 2 mistakes" in text
        assert f"{toml}:2: descripton: unknown key, did you mean description?" in text
        assert "a virtual machine of QEMU" in text and MARKUP not in text
    assert browser.get("/machines").status_code == 200
    toml.write_text(right)
    assert "mistake" not in browser.get("/profiles").text


def test_the_last_good_site_outlives_the_processes_and_is_read_by_the_service_user_only(
    services: Services,
) -> None:
    group = store_group(services.tree)
    keep_good_site(services, group)
    toml = services.live.path / "profiles/vm/profile.toml"
    toml.write_text("[[[")
    keep_good_site(services, group)
    text = client(services).get("/profiles").text
    assert "1 mistake." in text and "a virtual machine of QEMU" in text
    farm = open_services(Up(services.live.path, services.tree.path), "farm")
    assert farm.live.now().profiles["vm"].description == "a virtual machine of QEMU or KVM"
    keep_good_site(farm, group)
    copy = services.tree.path / "good-site" / CURRENT / "profiles/vm/profile.toml"
    assert "a virtual machine" in copy.read_text() and copy.stat().st_mode & 0o7 == 0
