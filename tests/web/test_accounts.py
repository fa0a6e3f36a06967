"""Accounts in a real browser: the first admin, an invitation, a token, what a viewer is not shown."""

from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import watch
from tests.web.scene import Scene
from tests.webdoor import PASSWORD


def new_page(chromium: Browser, complaints: list[str], *, scripts: bool = True) -> Page:
    page = chromium.new_context(java_script_enabled=scripts).new_page()
    watch(page, complaints)
    return page


def choose_password(page: Page) -> None:
    page.get_by_label("Password, at least 10 characters").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()


def test_from_the_first_link_to_a_viewer_who_signs_in(chromium: Browser, scene: Scene) -> None:
    complaints: list[str] = []
    services = scene.services()
    ann = new_page(chromium, complaints)
    ann.goto(f"{scene.url}/login/{services.accounts.first_link()}")
    ann.get_by_label("Name").fill("ann")
    choose_password(ann)
    ann.get_by_role("link", name="Accounts").click()
    ann.get_by_label("Name").fill("bob")
    ann.get_by_role("button", name="Make an invitation link").click()
    link = ann.locator("pre").inner_text()

    bob = new_page(chromium, complaints, scripts=False)
    bob.goto(link)
    choose_password(bob)
    expect(bob.get_by_role("link", name="bob")).to_be_visible()
    expect(bob.get_by_role("link", name="Accounts")).to_have_count(0)
    bob.get_by_role("button", name="Sign out").click()
    bob.goto(f"{scene.url}/account")
    bob.get_by_label("Name").fill("bob")
    bob.get_by_label("Password").fill("wrong password")
    bob.get_by_role("button", name="Sign in").click()
    expect(bob.get_by_role("alert")).to_have_text("Name or password is not right.")
    bob.get_by_label("Name").fill("bob")
    bob.get_by_label("Password").fill(PASSWORD)
    bob.get_by_role("button", name="Sign in").click()
    expect(bob).to_have_url(f"{scene.url}/account")
    bob.get_by_label("Name, what will use it").fill("backup")
    bob.get_by_role("button", name="Make a token").click()
    expect(bob.locator("pre")).to_contain_text("dst_")
    with_token = {"Authorization": f"Bearer {bob.locator('pre').inner_text().strip()}"}
    nobody = chromium.new_context()
    for headers, status in (({}, 401), (with_token, 200)):
        assert nobody.request.get(f"{scene.url}/api/v1/machines", headers=headers).status == status
    forbidden = nobody.request.post(f"{scene.url}/api/v1/profiles/vm/build", headers=with_token, data={})
    assert forbidden.status == 403
    nobody.close()
    bob.get_by_role("link", name="Back").click()
    expect(bob.get_by_role("cell", name="backup")).to_be_visible()

    ann.get_by_role("link", name="Audit").click()
    ann.get_by_label("Who").fill("web bob")
    ann.get_by_role("button", name="Show").click()
    expect(ann.locator("tbody tr").first).to_contain_text("token add")
    services.store.close()
    for page in (ann, bob):
        page.context.close()
    assert complaints == []
