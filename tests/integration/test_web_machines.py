"""Machines on the web page: many and one at a time, armed by whoever saw the plan, and retired."""

import shutil
from dataclasses import replace
from html import unescape
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.desks.errands import LONG, MOVES
from appliance.desks.switching import SWITCHES
from appliance.errors import Problem
from appliance.model import NO_TABLE, Disk, DiskPartition, Event, Facts, Firmware, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.errands import ErrandKind
from appliance.store.media import KnownMedium
from buildfarm.signing import Signer
from tests.press import Press
from tests.webdoor import sign_in, submit
from webui.app import make_app

ONE, TWO, THREE = (f"52:54:00:00:00:0{number}" for number in range(1, 4))
GIB = 1 << 30
MARKUP = "<script>alert(1)</script>"
DISK = Disk("/dev/vda", 8 * GIB, "virtio", serial="S1")
RULE = '\n[[match]]\nvendor = "ACME*"\n'


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def release(services: Services) -> str:
    """Published for the profile vm."""
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    return press.published(b"one").id


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def add(
    services: Services, mac: str, *, profile: str | None = "vm", disks: tuple[Disk, ...] = (DISK,)
) -> None:
    services.add_machine(mac, profile=profile, name=f"web{mac[-1]}")
    services.store.machines.set_facts(mac, Facts(mac, Firmware.UEFI, GIB, vendor="ACME", disks=disks))


def state(services: Services, mac: str) -> MachineState:
    return services.machine(mac).state


def act(browser: FlaskClient, *macs: str, **form: str) -> str:
    """What the next page says."""
    page = browser.get("/machines").text
    token = page.split('name="form_token" value="')[1][:64]
    data = {"form_token": token, "mac": list(macs), **form}
    return browser.post("/machines/act", data=data, follow_redirects=True).text


def mark(browser: FlaskClient, mac: str) -> str:
    return browser.get(f"/machines/arm?mac={mac}").text.split(f'name="mark {mac}" value="')[1][:64]


def arm(browser: FlaskClient, mac: str, typed: str, shown: str = "") -> int:
    page = f"/machines/arm?mac={mac}"
    form = {"mac": mac, f"name {mac}": typed, f"mark {mac}": shown or mark(browser, mac)}
    return submit(browser, page, "/machines/arm", form).status_code


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


def test_arming_shows_every_partition_and_what_is_lost_and_kept(
    browser: FlaskClient, services: Services, release: str
) -> None:
    usb = Disk("/dev/sdb", 4 * GIB, "usb", removable=True, model=MARKUP)
    add(services, ONE, disks=(DISK, usb))
    text = browser.get(f"/machines/arm?mac={ONE}").text
    plan = services.machine_desk.prospect(ONE).plan
    assert plan is not None and len(plan.slices) >= 2
    assert text.count("<text ") == len(plan.slices)
    for piece in plan.slices:
        assert f"<td>{piece.device}</td>" in text
    assert "everything on /dev/vda" in text and "Kept:</b> /dev/sdb 4.0 GiB" in text
    assert release in text and MARKUP not in text
    assert state(services, ONE) is MachineState.ASSIGNED


def test_arming_shows_every_partition_that_is_on_the_disk_and_says_which_are_lost(
    browser: FlaskClient, services: Services, release: str
) -> None:
    old = (
        DiskPartition("/dev/vda1", 1 << 20, 2 * GIB, "ntfs", MARKUP),
        DiskPartition("/dev/vda2", 4 * GIB, GIB),
    )
    kept = DiskPartition("/dev/sdb1", 1 << 20, GIB, "ext4", "backup")
    usb = Disk("/dev/sdb", 4 * GIB, "usb", True, table="gpt", partitions=(kept,))
    blank = Disk("/dev/sdc", 4 * GIB, "usb", True, table=NO_TABLE)
    add(services, ONE, disks=(replace(DISK, table="dos", partitions=old), usb, blank))
    page = browser.get(f"/machines/arm?mac={ONE}").text
    assert MARKUP not in page
    text = unescape(page)
    plan = services.machine_desk.prospect(ONE).plan
    assert plan is not None
    # Two partitions and what is free between and behind them.
    assert page.count("<text ") == 4 + len(plan.slices)
    assert "now: 1 /dev/vda1, 2 free, 3 /dev/vda2, 4 free" in page
    assert "S1, table dos</figcaption>" in page
    assert page.count(">lost</b>") == 2 and "ntfs" in page and "nothing that is known" in page
    assert f"with 2 partitions that it has now: /dev/vda1 {MARKUP} (2.0 GiB), /dev/vda2 (1.0 GiB)." in text
    assert "/dev/sdb1 backup; /dev/sdc 4.0 GiB : not touched" in page
    shown = unescape(browser.get(f"/machine/{ONE}").text)
    assert f"/dev/vda1 2.0 GiB ntfs {MARKUP}" in shown
    assert "no partition and no file system was found on it" in shown


def test_arming_says_when_a_machine_did_not_report_what_is_on_its_disk_and_when_nothing_is(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE)
    add(services, TWO, disks=(replace(DISK, table=NO_TABLE),))
    assert "Its partitions are not reported" in browser.get(f"/machines/arm?mac={ONE}").text
    text = browser.get(f"/machines/arm?mac={TWO}").text
    assert "Its partitions are not reported" not in text and "now: 1 free" in text
    assert "where no partition and no file system was found" in text


def test_a_plan_is_shown_again_when_something_else_is_on_the_disk_by_now(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE, disks=(replace(DISK, table=NO_TABLE),))
    seen = mark(browser, ONE)
    add_data = DiskPartition("/dev/vda", 0, 8 * GIB, "ext4", "data")
    disk = replace(DISK, table=NO_TABLE, partitions=(add_data,))
    services.store.machines.set_facts(ONE, Facts(ONE, Firmware.UEFI, GIB, vendor="ACME", disks=(disk,)))
    assert arm(browser, ONE, "web1", seen) == 409
    assert arm(browser, ONE, "web1") == 303


def test_a_machine_is_armed_by_typing_its_name_only(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE)
    for typed in ("", "web2", ONE):
        assert arm(browser, ONE, typed) == 409
        assert state(services, ONE) is MachineState.ASSIGNED
    assert arm(browser, ONE, "web1") == 303
    assert state(services, ONE) is MachineState.ARMED
    assert services.audit.page(action="machine arm")[0].who == "web olga"


def test_an_installed_machine_is_armed_again_and_its_release_is_said_to_be_lost(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE)
    services.store.machines.move(ONE, MachineState.INSTALLED, release=release)
    assert "See the plan and reinstall" in browser.get(f"/machine/{ONE}").text
    assert f"release {release}, which is installed" in browser.get(f"/machines/arm?mac={ONE}").text
    assert arm(browser, ONE, "web1") == 303
    assert state(services, ONE) is MachineState.ARMED


def test_a_plan_that_became_another_one_is_shown_again_before_anything_is_armed(
    browser: FlaskClient, services: Services, release: str
) -> None:
    add(services, ONE)
    seen = mark(browser, ONE)
    other = Facts(ONE, Firmware.UEFI, GIB, disks=(Disk("/dev/vda", 8 * GIB, "virtio", serial="S2"),))
    services.store.machines.set_facts(ONE, other)
    assert arm(browser, ONE, "web1", seen) == 409
    assert state(services, ONE) is MachineState.ASSIGNED


@pytest.mark.parametrize(
    ("disks", "said"), [((), "reported no disk"), ((DISK, Disk("/dev/vdb", 8 * GIB)), "2 disks match")]
)
def test_a_plan_that_is_refused_is_a_sentence_and_there_is_no_button(
    browser: FlaskClient, services: Services, release: str, disks: tuple[Disk, ...], said: str
) -> None:
    add(services, ONE, disks=disks)
    text = browser.get(f"/machines/arm?mac={ONE}").text
    assert said in text and 'class="danger"' not in text
    form = {"mac": ONE, f"name {ONE}": "web1"}
    assert submit(browser, "/machines", "/machines/arm", form).status_code == 409
    assert state(services, ONE) is MachineState.ASSIGNED


def test_without_a_release_and_while_it_is_installed_nothing_is_armed(
    browser: FlaskClient, services: Services
) -> None:
    add(services, ONE)
    assert "has no release yet" in browser.get(f"/machines/arm?mac={ONE}").text
    services.arm(ONE)
    services.store.machines.move(ONE, MachineState.INSTALLING)
    assert "cannot become armed" in browser.get(f"/machines/arm?mac={ONE}").text


def test_of_several_those_are_armed_whose_name_was_typed(
    browser: FlaskClient, services: Services, release: str
) -> None:
    for mac in (ONE, TWO, THREE):
        add(services, mac)
    answer = act(browser, ONE, TWO, THREE, action="arm")
    assert "Arm 3 machines" in answer
    marks = {f"mark {mac}": mark(browser, mac) for mac in (ONE, TWO, THREE)}
    page = f"/machines/arm?mac={ONE}"
    token = browser.get(page).text.split('name="form_token" value="')[1][:64]
    form = {"form_token": token, "mac": [ONE, TWO, THREE], **marks}
    assert browser.post("/machines/arm", data=form).status_code == 409
    typed = {f"name {ONE}": "web1", f"name {TWO}": "web1"}
    answer_ = browser.post("/machines/arm", data=form | typed)
    assert answer_.status_code == 409 and "web1 is armed" in answer_.text
    assert [state(services, mac).value for mac in (ONE, TWO, THREE)] == ["armed", "assigned", "assigned"]


def test_a_machine_that_never_said_what_it_is_is_armed_without_a_plan(
    browser: FlaskClient, services: Services, release: str
) -> None:
    services.add_machine(ONE, profile="vm")
    assert "It never said what it is" in browser.get(f"/machines/arm?mac={ONE}").text
    assert arm(browser, ONE, ONE) == 303
    assert state(services, ONE) is MachineState.ARMED


def test_who_is_retired_is_gone_with_tokens_images_and_addresses(
    browser: FlaskClient, services: Services
) -> None:
    add(services, ONE)
    add(services, TWO)
    store = services.store
    for mac in (ONE, TWO):
        store.addresses.saw(mac, f"192.0.2.{mac[-1]}", now=1.0)
    tokens = {
        (mac, use): store.tokens.issue(mac, use, now=1.0, lifetime_seconds=1e12)
        for mac in (ONE, TWO)
        for use in ("install", "report", "medium")
    }
    store.media.add(KnownMedium("ab", 1.0, "ann", "http://s", True, (), ONE, "web1", expires_at=4e9))
    assert "once, until" in browser.get(f"/machine/{ONE}").text
    page = f"/machine/{ONE}/retire"
    assert "Nothing on its disks changes" in browser.get(page).text
    assert submit(browser, page).status_code == 303
    with pytest.raises(Problem, match="there is no machine"):
        services.machine(ONE)
    assert {mac for (mac, use), text in tokens.items() if store.tokens.owner(text, use, now=2.0)} == {TWO}
    image = store.media.get("ab")
    assert image is not None and image.revoked_at is not None
    assert store.addresses.all() == {TWO: IPv4Address("192.0.2.2")}
    assert store.events.after(ONE) == [] and store.events.after(TWO)
    [note] = services.audit.page(action="machine retire")
    assert (note.who, note.subject) == ("web olga", ONE)


def test_a_disk_is_wiped_only_by_whoever_saw_which_and_typed_the_name(
    browser: FlaskClient, services: Services, release: str
) -> None:
    usb = Disk("/dev/sdb", 4 * GIB, "usb", removable=True, model=MARKUP)
    add(services, ONE, disks=(DISK, usb))
    page, action = f"/machine/{ONE}/retire", f"/machine/{ONE}/wipe"
    text = browser.get(page).text
    assert "Lost:</b> everything on /dev/vda" in text and "Kept:</b> /dev/sdb" in text and MARKUP not in text
    seen = text.split('name="mark" value="')[1][:64]
    for form in ({"name": "web2", "mark": seen}, {"name": "web1", "mark": "0" * 64}, {"name": "web1"}):
        submit(browser, page, action, form)
        assert state(services, ONE) is MachineState.ASSIGNED
    submit(browser, page, action, {"name": "web1", "mark": seen})
    assert state(services, ONE) is MachineState.ARMED and services.machine(ONE).wipes
    assert "Its disk is wiped when it next starts" in browser.get(f"/machine/{ONE}").text
    assert services.audit.page(action="machine wipe")[0].who == "web olga"
    act(browser, ONE, action="disarm")
    assert not services.machine(ONE).wipes


@pytest.mark.parametrize(
    ("profile", "disks", "said"),
    [
        (None, (DISK,), "has no profile"),
        ("vm", (), "reported no disk"),
        ("vm", (DISK, Disk("/dev/vdb", 8 * GIB)), "2 disks match"),
    ],
)
def test_a_disk_that_is_not_plain_is_not_wiped(
    browser: FlaskClient,
    services: Services,
    release: str,
    profile: str | None,
    disks: tuple[Disk, ...],
    said: str,
) -> None:
    add(services, ONE, profile=profile, disks=disks)
    page = f"/machine/{ONE}/retire"
    text = browser.get(page).text
    assert said in text and "Wipe and retire" not in text
    submit(browser, page, f"/machine/{ONE}/wipe", {"name": "web1"})
    assert not services.machine(ONE).wipes and state(services, ONE) is not MachineState.ARMED


def test_a_machine_is_not_retired_while_it_is_installed(browser: FlaskClient, services: Services) -> None:
    add(services, ONE)
    services.arm(ONE)
    services.store.machines.move(ONE, MachineState.INSTALLING)
    page = f"/machine/{ONE}/retire"
    assert "being installed" in browser.get(page).text
    submit(browser, "/machines", page)
    assert state(services, ONE) is MachineState.INSTALLING
    assert "Stop its installation" in browser.get(f"/machine/{ONE}").text


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
