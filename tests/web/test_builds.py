"""A log that grows on the page of somebody who reads it, without a word of the server."""

from playwright.sync_api import expect

from tests.web.conftest import Opens
from tests.web.scene import GROWING, ROOM, Scene

ADDRESS = f"/build/2/log?name={GROWING}"
AT_END = "one => one.scrollHeight - one.scrollTop - one.clientHeight < 40"


def test_the_log_of_a_package_that_is_built_grows_and_the_reader_stays_at_its_end(
    opens: Opens, scene: Scene
) -> None:
    page = opens(ADDRESS)
    log = page.locator("pre.log")
    assert log.evaluate(AT_END)
    with (scene.tree.room("logs") / ROOM / GROWING).open("a") as sink:
        sink.write("a line that came later\n" * 20)
    expect(log).to_contain_text("a line that came later")
    assert log.evaluate(AT_END)
    # Who reads further up is not moved.
    log.evaluate("one => { one.scrollTop = 100; }")
    with (scene.tree.room("logs") / ROOM / GROWING).open("a") as sink:
        sink.write("the last line of all\n")
    expect(log).to_contain_text("the last line of all")
    assert log.evaluate("one => one.scrollTop") == 100


def test_without_scripts_a_link_loads_the_log_again(opens: Opens) -> None:
    page = opens(ADDRESS, scripts=False)
    page.get_by_role("link", name="Load it again").click()
    expect(page.locator("pre.log")).to_be_visible()


def test_what_failed_is_tried_again_skipped_and_let_in_without_scripts(opens: Opens, scene: Scene) -> None:
    page = opens("/builds", scripts=False)
    failures = page.get_by_role("row").filter(has_text="sed.c:1: error")
    page.get_by_text("Decide").click()
    failures.get_by_label("Why").fill("the disk was full")
    failures.get_by_role("button", name="Try it again now").click()
    expect(page.get_by_role("status").first).to_contain_text("sys-apps/sed-4.9 tried again then")
    expect(failures).to_have_count(0)

    page.get_by_role("link", name="Held packages").click()
    page.get_by_label("Profile").last.select_option("vm")
    page.get_by_label("category/name").fill("sys-apps/grep-3.11")
    page.get_by_label("Why", exact=True).fill("it loops")
    page.get_by_role("button", name="Skip this version").click()
    skipped = page.get_by_role("row").filter(has_text="sys-apps/grep-3.11")
    expect(skipped).to_contain_text("it loops")
    skipped.get_by_role("button", name="Release").click()
    expect(skipped).to_have_count(0)
