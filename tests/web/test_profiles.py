"""Profiles in a real browser: a mistake at its line, put right and in git; and two who edit one file."""

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from appliance.run import run
from appliance.site_keeper import make_edits
from tests.web.conftest import DESK, PHONE, Opens
from tests.web.scene import Scene

TOML = "/profile/vm/edit?file=profile.toml"


def git(scene: Scene, *words: str) -> str:
    who = ["-c", "user.name=bob", "-c", "user.email=bob@home"]
    return run(["git", "-C", scene.site, *who, *words]).stdout.strip()


@pytest.fixture(autouse=True)
def _checkout(scene: Scene) -> None:
    """The scene's site is a checkout, and all of it is committed."""
    git(scene, "init", "-q")
    git(scene, "add", ".")
    git(scene, "commit", "-q", "--allow-empty", "-m", "all of it")


def farm(scene: Scene) -> None:
    services = scene.services()
    make_edits(services)
    services.store.close()


def must_be_accessible(page: Page) -> None:
    """These pages are answers to forms, which no address leads to."""
    page.evaluate(AXE_SCRIPT)
    for scheme, size in (("light", DESK), ("dark", PHONE)):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": size[0], "height": size[1]})
        found = page.evaluate("axe.run({resultTypes: ['violations']}).then(all => all.violations)")
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == [], scheme
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], scheme


def put(page: Page, text: str) -> None:
    page.locator("textarea[name=text]").fill(text)
    page.get_by_role("button", name="Check it").click()


def test_a_mistake_is_shown_at_its_line_put_right_and_committed(opens: Opens, scene: Scene) -> None:
    page = opens("/profiles")
    page.get_by_role("link", name="vm", exact=True).click()
    page.get_by_role("link", name="Files and changes").click()
    page.get_by_role("link", name="profile.toml").click()
    text = page.get_by_label("Text of profile.toml").input_value()
    put(page, text.replace("description", "descripton"))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("line 1: descripton: unknown key, did you mean description?")
    expect(alert.locator("mark")).to_contain_text('1  descripton = "a virtual machine')
    assert page.get_by_label("Text of profile.toml").input_value() == text.replace(
        "description", "descripton"
    )
    must_be_accessible(page)
    put(page, text.replace("a virtual machine", "any virtual machine"))
    expect(page.locator(".diff ins")).to_contain_text("+description")
    expect(page.get_by_text("No other profile inherits it.")).to_be_visible()
    must_be_accessible(page)
    page.get_by_label("Why, for the history").fill("It is any of them")
    page.get_by_role("button", name="Write it").click()
    expect(page.locator("#change .state")).to_have_text("wanted")
    expect(page.locator("#live-note")).to_have_text("This page follows what happens.")
    farm(scene)
    expect(page.locator("#change .state")).to_have_text("done")
    expect(page.locator("#change")).to_contain_text("written; commit")
    assert git(scene, "log", "-1", "--format=%an|%s") == "admin|It is any of them"
    assert git(scene, "status", "--porcelain") == ""
    page.goto(f"{scene.url}/profile/vm")
    expect(page.get_by_text("any virtual machine").first).to_be_visible()


def test_of_two_who_edit_one_file_the_second_sees_both_and_loses_nothing(opens: Opens, scene: Scene) -> None:
    way = "/profile/vm/edit?file=world"
    (scene.site / "profiles/vm/world").write_text("app-misc/a\napp-misc/b\napp-misc/c\n")
    first, second = opens(way), opens(way, scripts=False)
    put(first, "app-misc/first\napp-misc/b\napp-misc/c\n")
    first.get_by_role("button", name="Write it").click()
    farm(scene)
    put(second, "app-misc/a\napp-misc/b\napp-misc/second\n")
    expect(second.get_by_role("alert")).to_contain_text("Somebody else changed this file")
    expect(second.locator(".diff ins")).to_have_text(["+app-misc/first", "+app-misc/second"])
    both = "app-misc/first\napp-misc/b\napp-misc/second\n"
    assert second.get_by_label("Text of world").input_value() == both
    second.get_by_role("button", name="Check it").click()
    second.get_by_role("button", name="Write it").click()
    farm(scene)
    second.reload()
    expect(second.locator("#change .state")).to_have_text("done")
    expect(second.locator("#change")).to_contain_text("uncommitted changes of somebody else")
    assert (scene.site / "profiles/vm/world").read_text() == both
