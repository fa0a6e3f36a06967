"""A configuration question in a real browser: asked by a machine, seen, decided, applied, taken back."""

import pytest
from playwright.sync_api import expect

from tests.mergeyard import MERGED, OURS, PATH, Client, sha256
from tests.web.conftest import PHONE, Opens
from tests.web.scene import Scene


@pytest.mark.parametrize("scripts", [True, False])
def test_a_question_is_seen_previewed_decided_for_the_client_and_taken_back(
    opens: Opens, scene: Scene, scripts: bool
) -> None:
    ours = OURS + f"# {scripts}\n".encode()
    client = Client(scene.services(), scene.mac(3 + scripts), file=ours)
    client.kept[sha256(ours)] = ours
    page = opens("/merges", scripts=scripts, refused="/decide")
    rows = page.locator("#merges tbody tr")
    before = rows.count()
    assert client.settle() == "asked"
    if not scripts:
        page.reload()
    expect(rows).to_have_count(before + 1)
    rows.last.get_by_role("link", name=PATH).click()
    expect(page.locator(".panes ins", has_text="Port 2222")).to_have_count(2)
    expect(page.locator(".panes del", has_text="Port 22")).to_be_visible()
    text = page.get_by_role("textbox", name="The text")
    expect(text).to_have_value(f"<<<<<<< ours\nPort 2222\nPermitRootLogin yes\n# {scripts}\n"
                               "=======\nPort 22222\nPermitRootLogin no\n>>>>>>> theirs\n")  # fmt: skip
    page.get_by_label("the text below").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("alert")).to_contain_text("line 1 is a marker of a conflict")
    text.fill(MERGED.decode())
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview ins")).to_have_text("2PermitRootLogin no")
    expect(page.get_by_text("Nothing is decided yet.")).to_be_visible()
    page.get_by_label("Why, for the history").fill("ports stay")
    page.get_by_role("button", name="Decide for all").click()
    expect(page.get_by_role("status").first).to_contain_text("Decided: text")
    assert (client.hear(), client.file) == (["decided"], MERGED)
    page.get_by_role("button", name="Take it back").click()
    expect(page.get_by_role("status").first).to_contain_text("1 machine is told to put the old file back")
    assert (client.hear(), client.file) == (["undo"], ours)
    assert client.settle() == "asked"
    client.services.store.close()


def test_the_three_versions_stand_side_by_side_and_one_below_the_other_on_a_phone(
    opens: Opens, scene: Scene
) -> None:
    page = opens("/merge/2")
    panes = page.locator(".panes > section")

    def places(axis: str) -> list[float]:
        boxes = [pane.bounding_box() for pane in panes.all()]
        return [box[axis] for box in boxes if box]  # type: ignore[literal-required]

    assert len(set(places("y"))) == 1 and places("x") == sorted(places("x")) and len(set(places("x"))) == 3
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert len(set(places("x"))) == 1 and len(set(places("y"))) == 3
    assert page.locator(".panes img").count() == 0 and "onerror" in page.inner_text(".panes")
    assert "\\u202e" in page.inner_text(".panes")


def test_a_machines_page_and_the_overview_lead_to_its_questions(opens: Opens, scene: Scene) -> None:
    page = opens(f"/machine/{scene.mac(5)}")
    expect(page.locator("#merges tbody tr")).to_have_count(3)
    page.goto(scene.url + "/")
    expect(page.locator("#wait-merges")).to_contain_text("configuration files")
