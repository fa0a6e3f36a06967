"""Machines in a real browser: several are put on a channel, one is armed after its plan was seen."""

import pytest
from playwright.sync_api import Locator, Page, expect

from appliance.model import Event, Facts, Firmware, Machine, MachineState
from tests.web.conftest import Opens
from tests.web.scene import MARKUP, Scene

MOST_STOPS = 60
"""Of the Tab key on one page."""


def test_chosen_machines_follow_another_channel(opens: Opens, scene: Scene) -> None:
    page = opens("/machines?profile=vm&text=host")
    page.get_by_text("With the chosen machines").click()
    page.get_by_label("choose host1").check()
    page.get_by_label("choose host4").check()
    page.get_by_label("Channel").select_option("canary")
    page.get_by_role("button", name="Follow").click()
    expect(page.get_by_text("channel stable becomes canary")).to_have_count(2)
    page.get_by_role("button", name="do it with 2 machines").click()
    expect(page.get_by_text("2 machines: follows canary")).to_be_visible()
    expect(page).to_have_url(f"{scene.url}/machines?text=host&profile=vm&page=1")
    expect(page.get_by_text("(canary)")).to_have_count(2)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_machine_is_armed_after_its_plan_was_seen_and_its_name_typed(
    opens: Opens, scene: Scene, scripts: bool
) -> None:
    name, mac = f"armed-{scripts}".lower(), scene.mac(0x60 + scripts)
    store = scene.services().store
    known = store.machines.get(scene.mac(4))
    assert known is not None and known.facts is not None
    facts = Facts(mac, Firmware.UEFI, 4 << 30, vendor=MARKUP, disks=known.facts.disks)
    store.machines.add(Machine(mac, MachineState.INSTALLED, name, "vm", facts, scene.release))
    page = opens(f"/machine/{mac}", scripts=scripts)
    page.get_by_role("link", name="See the plan and reinstall").click()
    blocks = page.locator("svg.disk text")
    assert blocks.count() == page.locator("tbody tr").count() > 1
    expect(page.get_by_text("which is installed, and everything else on /dev/vda")).to_be_visible()
    typed, button = page.get_by_label(f"Type {name}"), page.get_by_role("button", name=f"Arm {name}")
    typed.fill("another")
    button.click()
    expect(page.get_by_role("alert")).to_contain_text("was not typed")
    typed.fill(name)
    button.click()
    expect(page.get_by_role("status").first).to_contain_text(f"{name} is armed")
    page.get_by_role("button", name="Disarm").click()
    expect(page.locator("h1 .state")).to_have_text("assigned")
    store.close()


def reach(page: Page, wanted: Locator) -> None:
    """By the Tab key alone; what has the focus shows it."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            outline = wanted.evaluate("one => getComputedStyle(one).outlineStyle")
            assert outline != "none", "nobody sees where the focus is"
            return
    pytest.fail(f"{wanted} is not reached in {MOST_STOPS} steps")


def test_a_machine_is_armed_with_the_keyboard_alone(opens: Opens, scene: Scene) -> None:
    mac, store = scene.mac(0x78), scene.services().store
    known = store.machines.get(scene.mac(4))
    assert known is not None and known.facts is not None
    facts = Facts(mac, Firmware.UEFI, 4 << 30, disks=known.facts.disks)
    store.machines.add(Machine(mac, MachineState.ASSIGNED, "by-keys", "vm", facts))
    page = opens(f"/machine/{mac}")
    reach(page, page.get_by_role("link", name="See the plan and arm"))
    page.keyboard.press("Enter")
    reach(page, page.get_by_label("Type by-keys"))
    page.keyboard.type("by-keys")
    page.keyboard.press("Enter")
    expect(page.locator("h1 .state")).to_have_text("armed")
    reach(page, page.get_by_role("button", name="Disarm"))
    page.keyboard.press("Space")
    expect(page.locator("h1 .state")).to_have_text("assigned")
    store.close()


def test_a_machine_is_assigned_and_its_installation_is_followed_without_a_reload(
    opens: Opens, scene: Scene
) -> None:
    mac, store = scene.mac(0x70), scene.services().store
    known = store.machines.get(scene.mac(4))
    assert known is not None and known.facts is not None
    facts = Facts(mac, Firmware.UEFI, 4 << 30, disks=known.facts.disks)
    store.machines.add(Machine(mac, MachineState.DISCOVERED, "", None, facts))
    page = opens(f"/machine/{mac}")
    page.get_by_label("Profile").select_option("vm")
    page.get_by_role("button", name="Assign").click()
    page.get_by_role("link", name="See the plan and arm").click()
    label = page.get_by_label("Type")
    label.fill(page.locator("h2 a").inner_text())
    page.get_by_role("button", name="Arm").click()
    expect(page.locator("h1 .state")).to_have_text("armed")
    expect(page.locator("#live-note")).to_have_text("This page follows what happens.")
    page.get_by_label("Host name").fill("half a na")
    store.machines.move(mac, MachineState.INSTALLING, release=scene.release)
    store.events.add(Event(mac, 10.0, "stage", "done", 4.0, 9_000_000, MARKUP))
    expect(page.locator("h1 .state")).to_have_text("installing")
    stage = page.locator("table.timeline tr").filter(has=page.get_by_role("rowheader", name="stage"))
    expect(stage).to_contain_text("4.0 s 9.0 MB")
    expect(stage.locator("rect.done")).to_be_visible()
    # What somebody types is not taken away by what happens.
    expect(page.get_by_label("Host name")).to_have_value("half a na")
    expect(page.get_by_role("row").filter(has_text="machine assign")).to_contain_text("web admin")
    store.close()
