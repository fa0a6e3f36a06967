"""Channels in a real browser: moved by the farm when a person asks, seen without a reload."""

from playwright.sync_api import expect

from appliance.desks.errands import MOVES
from tests.web.conftest import Opens
from tests.web.scene import MARKUP, Scene


def test_a_channel_is_rolled_back_and_promoted_again(opens: Opens, scene: Scene) -> None:
    services = scene.services()
    before = services.release_desk.older(scene.release)
    page = opens("/channels/vm")
    stable = page.get_by_role("row").filter(has=page.get_by_role("cell", name="stable", exact=True)).first
    rollback = page.get_by_role("button", name="Roll stable back")
    form = page.locator("form").filter(has=rollback)
    form.get_by_label("Why").fill(f"it is slow {MARKUP}")
    rollback.click()
    expect(page.get_by_role("status").first).to_contain_text("The farm does it now")
    expect(page.locator("#live-note")).to_have_text("This page follows what happens.")
    expect(stable).to_contain_text(scene.release)
    page.evaluate("window.neverLoadedAgain = true")
    assert services.errands.do_next(MOVES)
    expect(stable.get_by_role("link", name=before).first).to_be_visible()
    assert page.evaluate("neverLoadedAgain")

    page.goto(f"{scene.url}/release/{scene.release}")
    page.get_by_role("button", name="Promote to stable").click()
    assert services.errands.do_next(MOVES)
    expect(stable.get_by_role("link", name=scene.release).first).to_be_visible()
    moves = page.locator("tbody").last.get_by_role("row")
    expect(moves.nth(0)).to_contain_text("promote")
    expect(moves.nth(1)).to_contain_text(f"it is slow {MARKUP}")
    services.store.close()


def test_a_channel_is_pinned_and_let_go_without_scripts(opens: Opens, scene: Scene) -> None:
    services = scene.services()
    page = opens(f"/release/{scene.release}", scripts=False)
    page.get_by_role("button", name="Pin", exact=True).click()
    assert services.errands.do_next(MOVES)
    page.reload()
    expect(page.get_by_text("pinned to").first).to_be_visible()
    page.get_by_role("button", name="unpin").click()
    assert services.errands.do_next(MOVES)
    page.reload()
    expect(page.get_by_role("button", name="unpin")).to_have_count(0)
    services.store.close()
