"""Compile hosts and the doctor in a real browser: what an operator does, and what follows by itself."""

from playwright.sync_api import expect

from tests.web.conftest import Opens
from tests.web.scene import Scene, examine


def test_a_host_is_let_in_quarantined_and_released_without_scripts(opens: Opens, scene: Scene) -> None:
    page = opens("/cluster", scripts=False)
    page.get_by_role("link", name="stranger").click()
    page.get_by_role("button", name="Use it").click()
    expect(page.get_by_role("status").first).to_contain_text("stranger may be used")
    page.get_by_role("link", name="stranger").click()
    page.get_by_label("Reason").fill("its fan is loud")
    page.get_by_role("button", name="Quarantine it").click()
    expect(page.locator("#host")).to_contain_text("its fan is loud. It is not used until")
    page.get_by_role("button", name="Release it from quarantine").click()
    expect(page.locator("#host .state")).to_have_text("ready")


def test_an_examination_is_asked_for_and_its_findings_appear_by_themselves(
    opens: Opens, scene: Scene
) -> None:
    services = scene.services()
    services.examinations.make_next(["eth0"], examine, seconds=5)
    page = opens("/doctor")
    page.get_by_role("button", name="Examine now").click()
    expect(page.locator("#live-note")).to_have_text("This page follows what happens.")
    expect(page.locator("#doctor .state").first).to_have_text("wanted")
    page.evaluate("window.neverLoadedAgain = true")
    services.examinations.make_next(["eth9"], examine, seconds=5)
    services.store.close()
    expect(page.get_by_role("heading", name="eth9: 1 answer")).to_be_visible()
    assert page.locator("#doctor tbody tr .state").all_inner_texts() == ["red", "yellow", "green"]
    assert page.locator("#doctor img").count() == 0
    assert page.evaluate("neverLoadedAgain")
