"""The pages of merges: who may, what is refused and kept in the form, line ends, long files, many."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.merge_model import MOST_FILE_BYTES, Choice
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from tests.mergeyard import Client, add_machine, item, post, sha256
from tests.webdoor import sign_in, submit
from webui.app import make_app


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "ann")
    return client


def asked(services: Services, ours: bytes, number: int = 1) -> Client:
    client = Client(services, add_machine(services, number), file=ours)
    client.kept[sha256(ours)] = ours
    client.settle()
    return client


def test_empty_lists_say_what_to_do_next(browser: FlaskClient) -> None:
    assert "No question is open." in browser.get("/merges").text
    assert "Nothing is decided yet." in browser.get("/merges?state=decided").text
    assert "No secret file waits." in browser.get("/merges?state=secret").text
    assert browser.get("/merges?state=odd").status_code == 200
    for number in (7, 0, 2**64):
        assert browser.get(f"/merge/{number}").status_code == 404


def test_viewers_see_which_files_wait_and_not_what_is_in_them(
    browser: FlaskClient, services: Services
) -> None:
    client = asked(services, b"password = 12345\n")
    sign_in(browser, services, Role.VIEWER, "bob")
    for page in ("/merges", "/", f"/machine/{client.machine}"):
        text = browser.get(page).text
        assert "sshd_config" in text and "12345" not in text and "/merge/1" not in text
    assert browser.get("/merge/1").status_code == 403


def test_what_is_refused_stays_in_the_form(browser: FlaskClient, services: Services) -> None:
    asked(services, b"Port 3\n")
    form = {"choice": "text", "text": "mine\r\n<<<<<<< ours\r\n", "why": "so", "act": "decide"}
    answer = submit(browser, "/merge/1", "/merge/1/decide", form)
    assert answer.status_code == 409
    assert "line 2 is a marker" in answer.text and "mine\n" in answer.text and 'value="so"' in answer.text
    assert submit(browser, "/merge/1", "/merge/1/decide", {"act": "decide"}).status_code == 409
    assert "nothing was chosen" in submit(browser, "/merge/1", "/merge/1/decide", {"choice": "all"}).text
    assert services.merges.count("open") == 1


def test_two_people_decide_and_the_second_is_told_and_loses_nothing(
    browser: FlaskClient, services: Services
) -> None:
    asked(services, b"Port 3\n")
    token_page = browser.get("/merge/1")
    assert token_page.status_code == 200
    services.merges.decide(1, Choice.THEIRS, who="web bob")
    form = {"choice": "text", "text": "my work\r\n", "act": "decide"}
    answer = submit(browser, "/account", "/merge/1/decide", form)
    assert answer.status_code == 409 and "is decided already" in answer.text
    assert submit(browser, "/merge/1", "/merge/1/undo").status_code == 303
    assert (
        "is not decided" in browser.get(submit(browser, "/merge/1", "/merge/1/undo").headers["Location"]).text
    )


@pytest.mark.parametrize(("ours", "wanted"), [(b"a\r\nb\r\n", b"c\r\nd\r\n"), (b"a\nb\n", b"c\nd\n")])
def test_line_ends_stay_those_of_the_machines(
    browser: FlaskClient, services: Services, ours: bytes, wanted: bytes
) -> None:
    client = asked(services, ours)
    form = {"choice": "text", "text": "c\r\nd\r\n", "act": "decide", "why": ""}
    assert submit(browser, "/merge/1", "/merge/1/decide", form).status_code == 303
    client.hear()
    assert client.file == wanted


def test_a_long_text_is_taken_whole_and_one_that_is_too_long_is_not(
    browser: FlaskClient, services: Services
) -> None:
    client = asked(services, b"Port 3\n")
    text = "# a line of it\n" * (MOST_FILE_BYTES // 15)
    form = {"choice": "text", "text": text.replace("\n", "\r\n"), "act": "decide"}
    assert submit(browser, "/merge/1", "/merge/1/decide", form).status_code == 303
    client.hear()
    assert client.file == text.encode()
    services.merges.undo(1)
    form["text"] += "x" * 16
    assert submit(browser, "/merge/1", "/merge/1/decide", form).status_code == 409
    form["text"] *= 4
    assert submit(browser, "/merge/1", "/merge/1/decide", form).status_code == 413


@pytest.mark.parametrize(
    ("ours", "said"), [(b"\xff\xfe\x00binary", "It is no text."), (b"a\rb\n", "several kinds")]
)
def test_what_a_browser_cannot_hold_is_decided_otherwise(
    browser: FlaskClient, services: Services, ours: bytes, said: str
) -> None:
    asked(services, ours)
    text = browser.get("/merge/1").text
    assert said in text
    form = {"choice": "theirs", "act": "preview"}
    assert submit(browser, "/merge/1", "/merge/1/decide", form).status_code == 200
    form["act"] = "decide"
    assert submit(browser, "/merge/1", "/merge/1/decide", form).status_code == 303


def test_contents_that_are_not_here_are_said_to_be_so(browser: FlaskClient, services: Services) -> None:
    post(services, add_machine(services, 1), item(theirs=""))
    text = browser.get("/merge/1").text
    assert text.count("Its content is not here") == 2 and "There is no such file" in text
    assert "it is removed" in text


def test_a_page_of_the_list_is_the_same_work_however_many_machines_ask(services: Services) -> None:
    # Ten thousand machines asked thirty questions: 42 ms for the list, 9 for a question (2026-11-22).
    for statement in (
        "SELECT DISTINCT profile FROM merge_asker WHERE question = 1 AND state IN ('asked', 'refused')",
        "SELECT state, count(*) FROM merge_asker WHERE question = 1 GROUP BY state",
        "SELECT count(*) FROM merge_asker WHERE machine = 'x' AND state IN ('asked', 'refused')",
    ):
        (plan, *_) = services.store.database.rows(f"EXPLAIN QUERY PLAN {statement}")
        assert "COVERING INDEX" in plan["detail"]


def test_the_list_has_pages(browser: FlaskClient, services: Services) -> None:
    post(services, add_machine(services, 1), *(item(f"/etc/{number:02}") for number in range(25)))
    first = browser.get("/merges").text
    assert "/etc/19" in first and "/etc/20" not in first and "Page 1 of 2" in first
    assert "/etc/24" in browser.get("/merges?page=2&state=open").text
