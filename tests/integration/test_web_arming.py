"""A machine is armed by who saw what its plan does to its disks, and retired by who typed its name."""

from dataclasses import replace
from html import unescape
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.errors import Problem
from appliance.model import NO_TABLE, Disk, DiskPartition, Facts, Firmware, MachineState
from appliance.services import Services
from appliance.store.media import KnownMedium
from tests.machine_pages import (
    DISK,
    GIB,
    MARKUP,
    ONE,
    THREE,
    TWO,
    act,
    add,
    arm,
    make_services,
    mark,
    operator,
    published,
    state,
)
from tests.webdoor import submit


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return make_services(tmp_path)


@pytest.fixture
def release(services: Services) -> str:
    return published(services)


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    return operator(services)


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
