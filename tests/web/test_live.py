"""Pages that follow what happens, and lose nothing of what the reader does; and pages without scripts."""

from playwright.sync_api import Page, expect

from appliance.model import Machine, MachineState
from tests.web.conftest import Opens
from tests.web.scene import Scene
from webui.live import AGAIN_SECONDS

FOLLOWS = "This page follows what happens."


def follows(page: Page) -> Page:
    """The page once its live connection is open."""
    expect(page.locator("#live-note")).to_have_text(FOLLOWS)
    page.evaluate("window.neverLoadedAgain = true")
    return page


def put(scene: Scene, number: int, name: str) -> None:
    store = scene.services().store
    store.machines.add(Machine(scene.mac(number), MachineState.ASSIGNED, name, "vm"))
    store.close()


def test_a_new_machine_appears_and_focus_and_scroll_stay_where_they_are(opens: Opens, scene: Scene) -> None:
    for number in range(100, 120):
        put(scene, number, f"row{number}")
    page = follows(opens("/machines?text=row"))
    link = page.get_by_role("link", name="row110")
    link.focus()
    link.scroll_into_view_if_needed()
    page.evaluate("window.scrollBy(0, 120)")
    before = page.evaluate("scrollY")
    assert before > 0
    page.get_by_label("Name or MAC").evaluate("field => field.value = 'half a word'")
    put(scene, 130, "row000")
    expect(page.locator("#found")).to_have_text("21 machines")
    expect(page.get_by_role("link", name="row000")).to_have_count(1)
    assert page.evaluate("document.activeElement.textContent") == "row110"
    assert page.get_by_label("Name or MAC").input_value() == "half a word"
    assert page.evaluate("neverLoadedAgain")


def test_what_the_reader_opened_stays_open(opens: Opens, scene: Scene) -> None:
    page = follows(opens("/machines?text=host"))
    page.evaluate(
        "document.querySelector('#machines tbody tr td:has(a)').insertAdjacentHTML("
        "'beforeend', '<details id=d><summary>s</summary>text</details>')"
    )
    # The server's fragment gets the same, closed.
    page.route(
        "**/machines?*",
        lambda route: route.fulfill(
            response=(answer := route.fetch()),
            body=answer.text().replace(
                "</a> <span", "</a><details id=d><summary>s</summary>text</details> <span", 1
            ),
        ),
    )
    page.evaluate("document.getElementById('d').open = true")
    put(scene, 140, "host-new")
    expect(page.get_by_role("link", name="host-new")).to_have_count(1)
    assert page.evaluate("document.getElementById('d').open")


def test_the_overview_counts_a_machine_that_just_came(opens: Opens, scene: Scene) -> None:
    page = follows(opens("/"))
    count = page.locator("#count-assigned b")
    before = int(count.inner_text())
    put(scene, 150, "just-came")
    expect(count).to_have_text(str(before + 1))
    assert page.evaluate("neverLoadedAgain")


def test_without_scripts_all_of_it_is_there_by_reload(opens: Opens, scene: Scene) -> None:
    page = opens("/machines?text=plain", scripts=False)
    expect(page.get_by_text("No machine is like that.")).to_be_visible()
    put(scene, 160, "plain")
    page.reload()
    expect(page.get_by_role("link", name="plain")).to_be_visible()


def test_times_are_in_the_readers_zone_and_exact_on_hover(opens: Opens, scene: Scene) -> None:
    utc = opens("/releases", scripts=False).locator("time").first.inner_text()
    moment = opens("/releases").locator("time").first
    assert utc == "2026-11-22 10:56 UTC"
    assert moment.inner_text() == "22 Nov 2026, 16:26"
    assert "16:26:47" in (moment.get_attribute("title") or "")


def test_a_browser_that_finds_no_place_looks_now_and_then(opens: Opens, scene: Scene) -> None:
    pulse = scene.pulse
    assert pulse
    most, pulse.most = pulse.most, 0
    try:
        page = opens("/machines?text=host", refused="/live")
        expect(page.locator("#live-note")).to_have_text(
            f"This page looks again every {AGAIN_SECONDS} seconds."
        )
    finally:
        pulse.most = most
