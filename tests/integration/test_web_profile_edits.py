"""Files of profiles changed through their pages: judged first, shown, written by the farm, and never lost."""

import html
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from appliance.account_model import Role
from appliance.edit_model import MOST_BYTES, digest
from appliance.model import Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.site_keeper import make_edits
from appliance.store.edits import EditState
from tests.webdoor import sign_in, token_on
from webui.app import make_app

MARKUP = "<img src=x onerror=alert(1)></textarea><script>"
AREA = re.compile(r'<textarea name="(\w+)"[^>]*>\n(.*?)</textarea>', re.DOTALL)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    return as_role(services, Role.ADMIN, "ann")


def as_role(services: Services, role: Role, name: str = "") -> FlaskClient:
    made = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(made, services, role, name)
    return made


def test_a_changed_match_rule_says_which_machines_it_would_choose_otherwise_for(
    browser: FlaskClient, services: Services
) -> None:
    for number in (1, 2):
        mac = f"52:54:00:00:00:0{number}"
        facts = Facts(mac, Firmware.BIOS, vendor="SUN" if number == 1 else "QEMU")
        services.store.machines.add(Machine(mac, MachineState.DISCOVERED, f"m{number}", facts=facts))
    fields = form_of(browser.get("/profile/vm/edit?file=profile.toml").text)
    rule = fields["text"].replace('vendor = "QEMU*"', 'vendor = "SUN*"')
    said = send(browser, "/profile/vm/edit", fields | {"text": rule}).text
    assert "For 2 of 2 known machines the match rules choose otherwise" in said
    turn = r">m1</a>.*no match rule of any profile fits.*the rules choose <b>vm</b>"
    assert re.search(turn, said, re.DOTALL)
    said = send(browser, "/profile/vm/edit", fields | {"text": fields["text"] + "\n# nothing else\n"}).text
    assert "For none of the 2 known machines do the match rules choose otherwise" in said


def on_disk(services: Services, file: str) -> Path:
    return services.live.path / "profiles" / file


def form_of(text: str) -> dict[str, str]:
    """What a form of these pages would send."""
    fields = {name: html.unescape(value) for name, value in AREA.findall(text)}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text):
        fields.setdefault(name, html.unescape(value))
    return fields


def send(browser: FlaskClient, way: str, fields: Mapping[str, str]) -> TestResponse:
    return browser.post(
        way, data={**fields, "form_token": token_on(browser, "/")}, content_type="multipart/form-data"
    )


def test_an_edit_is_checked_shown_and_written(browser: FlaskClient, services: Services) -> None:
    form = form_of(browser.get("/profile/amd64/edit?file=world").text)
    assert form["text"] == on_disk(services, "amd64/world").read_text()
    text = form["text"] + f"app-misc/x # {MARKUP}\r\n"
    shown = send(browser, "/profile/amd64/edit", form | {"text": text})
    assert shown.status_code == 200
    assert "<ins>+app-misc/x # &lt;img" in shown.text and "inherit it: <b>vm</b>" in shown.text
    assert MARKUP not in shown.text and "not committed" not in shown.text
    asked = send(browser, "/profile/amd64/write", form_of(shown.text) | {"why": "for ann"})
    assert asked.status_code == 303
    page = asked.location
    assert "The farm writes it" in browser.get(page).text
    make_edits(services)
    assert "written; the site is no git checkout" in browser.get(page).text
    assert on_disk(services, "amd64/world").read_text().endswith(f"app-misc/x # {MARKUP}\n")
    files = browser.get("/profile/amd64/files").text
    assert "for ann" in files and page in files
    assert "app-misc/x" in browser.get("/profile/vm").text


def test_a_mistake_is_shown_at_its_line_and_the_text_is_kept(
    browser: FlaskClient, services: Services
) -> None:
    form = form_of(browser.get("/profile/vm/edit?file=profile.toml").text)
    wrong = form["text"].replace("vendor", "vendr") + f"# {MARKUP}\n"
    answer = send(browser, "/profile/vm/edit", form | {"text": wrong})
    line = next(n for n, one in enumerate(wrong.splitlines(), 1) if one.startswith("vendr"))
    assert answer.status_code == 422
    assert f"<b>line {line}:</b> match[1].vendr: unknown key, did you mean vendor?" in answer.text
    assert f"<mark>{line}  vendr" in answer.text
    assert form_of(answer.text)["text"] == wrong and MARKUP not in answer.text
    again = send(browser, "/profile/vm/write", form | {"text": wrong})
    assert again.status_code == 422 and services.edits.last("vm") == []


@pytest.mark.parametrize("file", ["world", "portage/package.use/lua"])
def test_a_line_that_is_no_atom_is_marked_in_the_browser(
    browser: FlaskClient, services: Services, file: str
) -> None:
    form = form_of(browser.get(f"/profile/vm/edit?file={file}").text)
    text = "dev-lang/lua readline\nlua readline\n" if file != "world" else "dev-lang/lua\nlua\n"
    answer = send(browser, "/profile/vm/edit", form | {"text": text})
    assert answer.status_code == 422 and "<b>line 2:</b> expected CATEGORY/NAME" in answer.text
    assert f"<mark>2  {text.splitlines()[1]}</mark>" in answer.text and services.edits.last("vm") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [("a\x1b[31m", "control character 0x1b"), ("same", "nothing is changed"), ("x" * MOST_BYTES, "at most")],
)
def test_texts_that_cannot_be_are_given_back(browser: FlaskClient, text: str, said: str) -> None:
    form = form_of(browser.get("/profile/vm/edit?file=world").text)
    answer = send(browser, "/profile/vm/edit", form | {"text": form["text"] if text == "same" else text})
    assert (answer.status_code, said in answer.text) == (422, True)


def test_a_whole_kernel_configuration_goes_through_and_more_is_refused(
    browser: FlaskClient, services: Services
) -> None:
    form = form_of(browser.get("/profile/vm/edit?file=kernel.config").text)
    text = "".join(f"CONFIG_OPTION_{number}=y\n" for number in range(11000))
    assert 200_000 < len(text) < MOST_BYTES
    shown = send(browser, "/profile/vm/edit", form | {"text": text})
    assert "Write it" in shown.text
    assert send(browser, "/profile/vm/write", form_of(shown.text)).status_code == 303
    assert send(browser, "/profile/vm/edit", form | {"text": "x" * 3_000_000}).status_code == 413
    assert send(browser, "/machines", {"text": "x" * 100_000}).status_code in (405, 413)


def test_the_second_of_two_is_told_and_goes_on_with_both(browser: FlaskClient, services: Services) -> None:
    on_disk(services, "vm/world").write_text("app-misc/a\napp-misc/b\napp-misc/c\n")
    bob = as_role(services, Role.OPERATOR, "bob")
    his = form_of(bob.get("/profile/vm/edit?file=world").text)
    hers = form_of(browser.get("/profile/vm/edit?file=world").text)
    shown = send(browser, "/profile/vm/edit", hers | {"text": hers["text"].replace("misc/a", "misc/ann")})
    confirmed = send(bob, "/profile/vm/edit", his | {"text": his["text"].replace("misc/c", "misc/bob")})
    assert "Write it" in shown.text and "Write it" in confirmed.text
    send(browser, "/profile/vm/write", form_of(shown.text))
    make_edits(services)
    told = send(bob, "/profile/vm/write", form_of(confirmed.text) | {"why": "bob's reason"})
    assert told.status_code == 409 and "Somebody else changed this file" in told.text
    assert "<ins>+app-misc/ann</ins>" in told.text and "<ins>+app-misc/bob</ins>" in told.text
    both = form_of(told.text)
    assert (both["text"], both["why"]) == ("app-misc/ann\napp-misc/b\napp-misc/bob\n", "bob's reason")
    shown = send(bob, "/profile/vm/edit", both)
    send(bob, "/profile/vm/write", form_of(shown.text))
    make_edits(services)
    assert on_disk(services, "vm/world").read_text() == both["text"]
    assert services.edits.last("vm")[0].why == "bob's reason"


def test_one_who_lost_the_race_at_the_farm_goes_on_with_his_text(
    browser: FlaskClient, services: Services
) -> None:
    form = form_of(browser.get("/profile/vm/edit?file=world").text)
    for text in ("app-misc/first\n", "app-misc/second\n"):
        assert send(browser, "/profile/vm/write", form | {"text": text}).status_code == 303
    make_edits(services)
    lost, won = services.edits.last("vm")
    assert (won.state, lost.state) == (EditState.DONE, EditState.FAILED)
    page = browser.get(f"/profile/vm/change/{lost.id}").text
    assert "changed by somebody else" in page and "Go on with your text" in page
    shown = browser.get(f"/profile/vm/edit?change={lost.id}").text
    assert "Where both changed the same lines" in shown and form_of(shown)["text"] == "app-misc/second\n"
    assert form_of(shown)["base"] == digest(b"app-misc/first\n")


def test_a_new_profile_and_new_and_deleted_files(browser: FlaskClient, services: Services) -> None:
    assert "<option>vm</option>" in browser.get("/profiles/new").text
    asked = browser.get("/profiles/begin?name=web&parent=vm")
    form = form_of(browser.get(asked.location).text)
    assert form["text"] == 'description = ""\nparent = ["vm"]\n' and form["base"] == ""
    shown = send(browser, "/profile/web/edit", form)
    send(browser, "/profile/web/write", form_of(shown.text))
    make_edits(services)
    assert services.live.now().profiles["web"].lineage == ("amd64", "vm", "web")
    assert browser.get("/profiles/begin?name=vm&parent=").status_code == 404
    form = form_of(browser.get("/profile/web/edit?file=portage/package.use/lua").text)
    shown = send(browser, "/profile/web/edit", form | {"text": "dev-lang/lua x"})
    send(browser, "/profile/web/write", form_of(shown.text))
    make_edits(services)
    form = form_of(browser.get("/profile/web/edit?file=portage/package.use/lua").text)
    shown = send(browser, "/profile/web/edit", form | {"delete": "yes"})
    assert "Delete it" in shown.text and "<del>-dev-lang/lua x</del>" in shown.text
    send(browser, "/profile/web/write", form_of(shown.text))
    make_edits(services)
    assert not on_disk(services, "web/portage/package.use/lua").exists()
    refused = send(
        browser,
        "/profile/web/edit",
        form_of(browser.get("/profile/web/edit?file=profile.toml").text) | {"delete": "yes"},
    )
    assert refused.status_code == 422 and "no such file" in refused.text


def test_back_to_the_text_keeps_it(browser: FlaskClient) -> None:
    form = form_of(browser.get("/profile/vm/edit?file=world").text)
    shown = send(browser, "/profile/vm/edit", form | {"text": "app-misc/x\n"})
    again = send(browser, "/profile/vm/edit", form_of(shown.text) | {"again": "yes", "why": "w"})
    assert (form_of(again.text)["text"], form_of(again.text)["why"]) == ("app-misc/x\n", "w")


def test_operators_change_what_chooses_and_admins_what_runs(services: Services) -> None:
    operator, viewer = as_role(services, Role.OPERATOR), as_role(services, Role.VIEWER)
    assert "Check it" in operator.get("/profile/vm/edit?file=world").text
    assert "can be changed by admins" in operator.get("/profile/vm/edit?file=portage/bashrc").text
    for way in ("edit", "write"):
        answer = send(
            operator, f"/profile/vm/{way}", {"file": "portage/bashrc", "text": "x", "base": "", "was": ""}
        )
        assert answer.status_code == 403 and "is for admins" in answer.text
    assert "Check it" not in viewer.get("/profile/vm/edit?file=world").text
    assert "New file" not in viewer.get("/profile/vm/files").text
    assert services.edits.last("vm") == []


@pytest.mark.parametrize("name", ["../amd64/world", "/etc/passwd", "portage/../../../x", ".git/config", ""])
def test_nothing_outside_a_profile_is_read_or_written(
    browser: FlaskClient, services: Services, name: str
) -> None:
    before = sorted(services.live.path.parent.rglob("*"))
    assert browser.get("/profile/vm/edit", query_string={"file": name}).status_code == 404
    for way in ("edit", "write"):
        assert send(browser, f"/profile/vm/{way}", {"file": name, "text": "x", "base": ""}).status_code == 404
    make_edits(services)
    assert [one for one in sorted(services.live.path.parent.rglob("*")) if one not in before] == []


def test_a_file_that_was_broken_by_hand_is_put_right_here(browser: FlaskClient, services: Services) -> None:
    services.live.now()
    toml = on_disk(services, "vm/profile.toml")
    right = toml.read_text()
    browser.get("/")
    toml.write_text("[[[")
    assert "1 mistake" in browser.get("/profiles").text
    form = form_of(browser.get("/profile/vm/edit?file=profile.toml").text)
    assert form["text"] == "[[["
    shown = send(browser, "/profile/vm/edit", form | {"text": right})
    send(browser, "/profile/vm/write", form_of(shown.text))
    make_edits(services)
    assert "mistake" not in browser.get("/profiles").text
