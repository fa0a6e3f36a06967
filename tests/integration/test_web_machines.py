"""Machines on the web page: many and one at a time, and who did what."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.desks.errands import LONG, MOVES
from appliance.desks.switching import SWITCHES
from appliance.model import Event, MachineState
from appliance.services import Services
from appliance.store.errands import ErrandKind
from appliance.store.media import KnownMedium
from buildfarm.signing import Signer
from tests.machine_pages import (
    MARKUP,
    ONE,
    RULE,
    THREE,
    TWO,
    act,
    add,
    make_services,
    operator,
    published,
    state,
)
from tests.press import Press
from tests.webdoor import sign_in, submit


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return make_services(tmp_path)


@pytest.fixture
def release(services: Services) -> str:
    return published(services)


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    return operator(services)


def test_the_same_is_done_with_all_that_were_chosen_and_who_did_it_is_noted(
    browser: FlaskClient, services: Services
) -> None:
    for mac in (ONE, TWO):
        services.add_machine(mac)
    assert "2 machines: profile vm" in act(browser, ONE, TWO, action="assign", profile="vm")
    assert "2 machines: follows canary" in act(browser, ONE, TWO, action="channel", channel="canary")
    assert services.machine(TWO).channel == "canary"
    services.arm(ONE)
    said = act(browser, ONE, THREE, action="disarm")
    assert f"{ONE}: disarmed" in said and f"there is no machine {THREE}" in said
    assert state(services, ONE) is MachineState.ASSIGNED
    notes = services.audit.page(who="web olga")
    wanted = {"machine assign", "machine channel", "machine disarm"}
    assert {note.action for note in notes if note.subject == ONE} == wanted


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "assign", "profile": "amd64"}, "profile vm becomes amd64, not armed; its installation"),
        ({"action": "channel", "channel": "canary"}, "channel stable becomes canary"),
        ({"action": "disarm"}, "it is installing and becomes assigned; its installation is stopped"),
        ({"action": "power", "power": "off"}, "nothing: the site names no controller of it"),
        ({"action": "wake"}, "sends it a magic packet"),
        ({"action": "rescue"}, "it starts into the rescue shell once"),
        ({"action": "retire"}, "nothing: it is being installed"),
    ],
)
def test_what_would_happen_to_each_machine_is_shown_before_it_does(
    browser: FlaskClient, services: Services, form: dict[str, str], said: str
) -> None:
    add(services, ONE)
    services.arm(ONE)
    services.store.machines.move(ONE, MachineState.INSTALLING)
    before, notes = services.machine(ONE), len(services.audit.page())
    text = submit(browser, "/machines", "/machines/preview", {"mac": ONE, **form}).text
    assert said in text and f'name="action" value="{form["action"]}"' in text
    assert services.machine(ONE) == before and len(services.audit.page()) == notes


def test_many_machines_are_retired_and_one_that_is_being_installed_stays(
    browser: FlaskClient, services: Services
) -> None:
    for mac in (ONE, TWO, THREE):
        add(services, mac)
    services.arm(TWO)
    services.store.machines.move(TWO, MachineState.INSTALLING)
    text = act(browser, ONE, TWO, THREE, action="retire")
    assert "2 machines: retired" in text and "web2: machine" in text
    assert [one.mac for one in services.machines()] == [TWO]


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"action": "assign", "profile": "none such"}, "none such"),
        ({"action": "channel", "channel": "purple"}, "purple"),
        ({"action": "power", "power": "explode"}, "nothing a controller does"),
        ({"action": "power", "power": "on"}, "the site names no controller"),
        ({"action": "wipe"}, "nothing one can do"),
        ({"action": "rename", "name": "-no-"}, "is no host name"),
        ({"action": "rename", "name": "web2"}, "there is another machine web2"),
    ],
)
def test_what_makes_no_sense_is_a_sentence_and_changes_nothing(
    browser: FlaskClient, services: Services, form: dict[str, str], said: str
) -> None:
    add(services, ONE)
    add(services, TWO)
    before = services.machine(ONE)
    assert said in act(browser, ONE, **form)
    assert services.machine(ONE) == before
    assert "No machine was chosen" in act(browser, action="disarm")


def test_a_machine_is_renamed_from_its_page(browser: FlaskClient, services: Services) -> None:
    add(services, ONE)
    assert "<h1>db1 " in act(browser, ONE, action="rename", name="db1", page_of=ONE)
    assert services.audit.page(action="machine rename")[0].who == "web olga"


def test_the_farm_wakes_and_switches_machines_for_the_page(browser: FlaskClient, services: Services) -> None:
    add(services, ONE)
    with (services.live.path / "appliance.toml").open("a") as site:
        site.write(f'[[machine]]\nmac = "{ONE}"\n[machine.bmc]\nkind = "ipmi"\naddress = "192.0.2.9"\n')
        site.write('user = "ann"\npassword_file = "nowhere"\n')
    assert "the farm wakes it" in act(browser, ONE, action="wake", page_of=ONE)
    text = act(browser, ONE, action="power", power="status", page_of=ONE)
    assert "power status</td>" in text and "wanted" in text
    assert [one.who for one in services.audit.page(action="machine want power-status")] == ["web olga"]
    done = services.errands.do_next(SWITCHES), services.errands.do_next(SWITCHES)
    assert [one.kind for one in done if one] == [ErrandKind.WAKE, ErrandKind.POWER_STATUS]
    assert services.errands.do_next(LONG | MOVES) is None
    text = browser.get(f"/machine/{ONE}").text
    assert "nowhere cannot be read" in text
    failed = services.audit.page(action="machine power")[0]
    assert (failed.who, failed.detail[-8:]) == ("web olga", "(failed)")


def test_a_machine_is_sent_into_the_rescue_shell_from_its_page_and_back(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE)
    assert "Do not boot into rescue" in act(browser, ONE, action="rescue", page_of=ONE)
    assert "rescue shell" in services.desk.explain(ONE)
    assert "Boot once into rescue" in act(browser, ONE, action="no rescue", page_of=ONE)
    assert services.machine(ONE).rescue == 0
    assert [one.who for one in services.audit.page(action="machine rescue")] == ["web olga"] * 2


def test_without_a_release_there_is_no_rescue_shell(browser: FlaskClient, services: Services) -> None:
    add(services, ONE)
    assert "no release yet whose installer" in act(browser, ONE, action="rescue")
    assert services.machine(ONE).rescue == 0


def test_the_way_back_keeps_the_search_and_leads_nowhere_else(
    browser: FlaskClient, services: Services
) -> None:
    add(services, ONE)
    token = browser.get("/machines").text.split('name="form_token" value="')[1][:64]
    form = {"form_token": token, "mac": ONE, "action": "disarm", "list_text": "web", "list_page": "2"}
    assert browser.post("/machines/act", data=form).location == "/machines?text=web&page=2"
    form |= {"page_of": "//evil.example/"}
    assert browser.post("/machines/act", data=form).location.startswith("/machine/")
    for words in ("endpoint=x", "_external=1", "_scheme=javascript", "_anchor=x"):
        assert browser.get(f"/machines?{words}").status_code == 200


def test_a_viewer_sees_machines_and_nothing_to_do_with_them(services: Services, browser: FlaskClient) -> None:
    add(services, ONE)
    sign_in(browser, services, Role.VIEWER)
    for path in ("/machines", f"/machine/{ONE}"):
        text = browser.get(path).text
        assert "machines/act" not in text and "machines/arm" not in text and "Retire" not in text
    services.audit.note("web ann", "login", "ann", "from 192.0.2.1")
    history = browser.get(f"/machine/{ONE}").text.partition("Who changed what")[2]
    assert "machine add" in history and 'href="/audit' not in history and "192.0.2.1" not in history


def test_unknown_machines_come_first_with_what_the_rules_choose_and_why(
    browser: FlaskClient, services: Services
) -> None:
    add(services, ONE)
    add(services, TWO, profile=None)
    text = browser.get("/machines").text
    assert text.index(f'id="{TWO}"') < text.index(f'id="{ONE}"')
    assert "no match rule of any profile fits" in text and "/dev/vda 8.0 GiB" in text
    with (services.live.path / "profiles/vm/profile.toml").open("a") as profile:
        profile.write(RULE)
    for path in ("/machines", f"/machine/{TWO}"):
        assert "the rules choose <b>vm</b>" in browser.get(path).text


def test_every_match_rule_says_why_it_does_not_fit_and_other_facts_are_tried(
    browser: FlaskClient, services: Services
) -> None:
    add(services, ONE, profile=None)
    with (services.live.path / "profiles/vm/profile.toml").open("a") as profile:
        profile.write('\n[[match]]\nvendor = "SUN*"\n')
    page = f"/machine/{ONE}/match"
    text = browser.get(page).text
    assert "vendor &#39;ACME&#39; is not like &#39;SUN*&#39;" in text
    assert "The rules choose nothing" in text
    text = browser.get(f"{page}?vendor=sun%20{MARKUP}").text
    assert "The rules choose <b>vm</b>" in text and MARKUP not in text
    assert state(services, ONE) is MachineState.DISCOVERED and page in browser.get(f"/machine/{ONE}").text


def test_facts_are_pasted_tried_and_refused_with_their_line(browser: FlaskClient, services: Services) -> None:
    add(services, ONE, profile=None)
    text = browser.get(f"/match?machine={ONE}").text
    assert f"mac {ONE}" in text and "vendor ACME" in text
    pasted = f"mac {TWO}\nfirmware bios\nvendor QEMU {MARKUP}\n"
    said = submit(browser, "/match", data={"facts": pasted}).text
    assert "The rules choose <b>vm</b>" in said and MARKUP not in said
    said = submit(browser, "/match", data={"facts": f"mac {TWO}\nfirmware bios\npci x\n"}).text
    assert "facts line 3: expected pci VENDOR:DEVICE CLASS SUBSYSTEM" in said
    assert [one.mac for one in services.machines()] == [ONE]


def test_a_machine_that_is_behind_says_how_many_packages_differ(
    browser: FlaskClient, services: Services
) -> None:
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    old, new = press.published(b"one").id, press.published(b"two").id
    add(services, ONE)
    services.store.machines.move(ONE, MachineState.INSTALLED, release=old)
    text = browser.get(f"/machine/{ONE}").text
    count = len(services.release_desk.diff(old, new).rows())
    assert f"{count} package{'s differ' if count > 1 else ' differs'}" in text
    assert f"/release/{new}/diff?before={old}" in text
    (services.tree.path / "releases" / old / "Packages").unlink()
    assert "another one than it has" in browser.get(f"/machine/{ONE}").text


def test_an_image_of_a_machine_is_revoked_from_its_page(browser: FlaskClient, services: Services) -> None:
    add(services, ONE)
    medium = KnownMedium("ab", 1.0, "ann", "http://s", True, (), ONE, "web1", expires_at=4e9)
    services.store.media.add(medium)
    submit(browser, f"/machine/{ONE}", f"/machine/{ONE}/image/ab/revoke")
    assert "no, revoked" in browser.get(f"/machine/{ONE}").text


def test_an_installed_machine_is_compared_with_what_is_published(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE)
    services.store.machines.move(ONE, MachineState.INSTALLED, release=release)
    assert "<td>the same</td>" in browser.get(f"/machine/{ONE}").text
    services.store.machines.move(ONE, MachineState.INSTALLED, release="20250101-00000000000a")
    assert "another one than it has" in browser.get(f"/machine/{ONE}").text


def test_everybody_sees_who_changed_a_machine(browser: FlaskClient, services: Services) -> None:
    add(services, ONE)
    services.assign(ONE, "vm", who=f"web {MARKUP}")
    services.store.events.add(Event(ONE, 1.0, "stage", message=MARKUP))
    sign_in(browser, services)
    text = browser.get(f"/machine/{ONE}").text
    assert "Who changed what" in text and "machine assign" in text and f"/audit?subject={ONE}" in text
    assert MARKUP not in text
