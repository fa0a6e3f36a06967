"""Builds in the browser: jobs, logs of any size without a terminal's orders, and another try."""

import os
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance import log_pages
from appliance.account_model import Role
from appliance.farm_model import FailureKind, FailureRecord
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.rights import let_read_logs
from appliance.services import Services
from tests.webdoor import sign_in, submit
from webui.app import make_app

ROOM = "build-vm-20260101T000000Z"
MARKUP = "<script>alert(1)</script>"
HUGE = 200 << 20


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


@pytest.fixture
def log(services: Services) -> Path:
    """Of job 1, which failed."""
    place = services.tree.room("logs") / ROOM / "build/sys-apps"
    place.mkdir(parents=True)
    job = services.store.jobs.start("build", "vm", now=1.0)
    services.store.jobs.end(job, "failed", now=2.0, message=f"sed failed {MARKUP}", log=ROOM)
    return place / "sed-4.9:1.log"


NAME = "build/sys-apps/sed-4.9:1.log"


def test_a_log_of_200_mb_is_read_and_searched_in_parts(browser: FlaskClient, log: Path) -> None:
    with log.open("wb") as sink:
        sink.write(b"the first line\n")
        sink.seek(20 << 20)
        sink.write(b"\nNeedle here\n")
        sink.truncate(HUGE)
        sink.seek(HUGE)
        sink.write(b"\nthe last line\n")
    found = log_pages.search(log, "needle")
    assert found.lines == ()
    assert found.looked_to <= log_pages.SEARCH_BYTES + log_pages.CHUNK_BYTES
    offsets = []
    while found.looked_to < found.size and not found.lines:
        found = log_pages.search(log, "needle", found.looked_to)
        offsets.append(found.looked_to)
    assert [line for _, line in found.lines] == ["Needle here"]
    assert len(offsets) == 2
    last = browser.get("/build/1/log", query_string={"name": NAME})
    assert "the last line" in last.text and "the first line" not in last.text
    assert len(last.data) < 2 * log_pages.PAGE_BYTES
    first = browser.get("/build/1/log", query_string={"name": NAME, "start": "0"})
    assert "the first line" in first.text


def test_escape_sequences_and_markup_are_neither_orders_nor_elements(browser: FlaskClient, log: Path) -> None:
    log.write_bytes(
        b"\x1b[31mred\x1b[0m \x1b]0;title\x07after\x1b[2J \x9b5m\xe2\x80\xaeturned " + MARKUP.encode()
    )
    text = browser.get("/build/1/log", query_string={"name": NAME}).text
    assert "red after" in text and "title" not in text.split("<pre")[1]
    assert "\x1b" not in text and "\u202e" not in text and MARKUP not in text
    found = browser.get("/build/1/log", query_string={"name": NAME, "text": "RED"}).text
    assert "1 line found" in found and "\x1b" not in found and MARKUP not in found


@pytest.mark.parametrize("name", ["../../store/store.sqlite", "/etc/passwd", "build/../secret", ""])
def test_a_name_leads_to_no_other_file(browser: FlaskClient, log: Path, name: str) -> None:
    log.write_text("text")
    (log.parents[2] / "secret").write_text("x")
    assert browser.get("/build/1/log", query_string={"name": name}).status_code == 404


def test_links_in_the_logs_are_not_followed(browser: FlaskClient, log: Path, tmp_path: Path) -> None:
    log.symlink_to("/etc/passwd")
    assert browser.get("/build/1/log", query_string={"name": NAME}).status_code == 404
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/a.log").write_text("secret")
    (log.parents[1] / "away").symlink_to(tmp_path / "elsewhere")
    assert browser.get("/build/1/log", query_string={"name": "build/away/a.log"}).status_code == 404


def test_a_failed_package_is_tried_again_when_an_operator_says_so(
    browser: FlaskClient, log: Path, services: Services
) -> None:
    log.write_text(f"text\nthe end {MARKUP}\n")
    services.store.job_packages.begin(1, "sys-apps/sed-4.9", reused=False, now=1.0)
    services.store.job_packages.end(1, "sys-apps/sed-4.9", "failed", seconds=None, said="broke", now=2.0)
    record = (
        "vm",
        "sys-apps/sed-4.9",
        "k",
        FailureKind.COMPILE,
        f"error {MARKUP}",
        str(log),
        f"tail {MARKUP}",
    )
    services.store.failures.add(FailureRecord(*record, 2, 1.0, 2.0))
    page = browser.get("/build/1").text
    assert "tail &lt;script&gt;" in page and MARKUP not in page and NAME in page
    assert "only sys-apps/sed-4.9" in page
    on_top = browser.get("/build/1/log", query_string={"name": NAME}).text
    assert on_top.index("tail &lt;script&gt;") < on_top.index("the end &lt;script&gt;")
    text = browser.get("/builds").text
    assert "sed-4.9" in text and MARKUP not in text
    submit(browser, "/builds", "/builds/want", {"package": "sys-apps/sed-4.9", "profile": "vm"})
    assert services.store.failures.all() == []
    # The page of the build that failed keeps its last lines: they are in the log.
    page = browser.get("/build/1").text
    assert "the end &lt;script&gt;" in page and "broke" in page and MARKUP not in page
    assert services.audit.page(action="failure forget")[0].who == "web olga"


def test_jobs_are_filtered_by_profile_and_state(browser: FlaskClient, log: Path) -> None:
    assert "1 job," in browser.get("/builds?profile=vm&state=failed").text
    assert "No job is like that." in browser.get("/builds?state=done").text
    assert browser.get("/build/99").status_code == 404


def test_the_service_user_reads_logs_that_portage_made_for_itself(tmp_path: Path) -> None:
    nobody = 65534
    let_read_logs(tmp_path, nobody)
    place = tmp_path / "build"
    place.mkdir()
    file = place / "a.log"
    file.write_text("said")
    file.chmod(0o660)
    assert os.getxattr(file, "system.posix_acl_access")[12:20] == bytes([2, 0, 5, 0, 0xFE, 0xFF, 0, 0])
