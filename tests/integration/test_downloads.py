"""Images that the web page offers: asked for by a browser, made by another process, served, collected."""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.deadline import wait_until
from appliance.desks.downloads import MOST_TRIES, DownloadDesk
from appliance.desks.drafts import Wish
from appliance.farm_model import Release
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.run import CommandFailed, run, running
from appliance.services import Services
from appliance.store.media import ImageState, WantedImage
from tests.fake_notary import FakeNotary
from tests.press import HOUR, Press
from tests.press_media import SERVER, media_desk, names_on
from tests.webdoor import sign_in, submit
from webui.app import make_app

DAY = 24 * HOUR
MAC = "52:54:00:00:00:01"
SITE_ADDRESS = '[http]\naddress = "192.0.2.2"\n'


@pytest.fixture
def press(tmp_path: Path) -> Press:
    """A site that keeps next to nothing and says its address."""
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    file = site / "appliance.toml"
    text = file.read_text().replace("keep = 5", "keep = 2").replace('"14 d"', '"1 d"')
    file.write_text(text.replace("[http]\n", SITE_ADDRESS))
    return Press(Tree(tmp_path / "state"), site, FakeNotary())


@pytest.fixture
def one(press: Press) -> Release:
    return press.published(b"package")


@pytest.fixture
def browser(press: Press) -> FlaskClient:
    client = make_app(lambda: Services(press.site, press.tree)).test_client()
    sign_in(client, Services(press.site, press.tree))
    return client


def farm(press: Press) -> DownloadDesk:
    """The farm's side; as in another process, with a store of its own."""
    return DownloadDesk(media_desk(press), press.clock)


def row(press: Press, release: Release, *, offline: bool = True) -> WantedImage:
    found = press.store().media.image(release.id, offline)
    assert found is not None
    return found


def page(release: Release, kind: str = "offline") -> str:
    return f"/release/{release.id}/{kind}"


@pytest.mark.parametrize("path", ["", "/offline", "/offline.iso", "/online.iso"])
def test_nothing_of_it_is_shown_without_a_login(press: Press, one: Release, path: str) -> None:
    stranger = make_app(lambda: Services(press.site, press.tree)).test_client()
    assert stranger.get(f"/release/{one.id}{path}").status_code == 401
    assert stranger.post(page(one)).status_code == 401
    assert press.store().media.images() == []


def test_the_first_who_wants_an_image_lets_it_be_made_and_then_gets_it(
    press: Press, one: Release, browser: FlaskClient, tmp_path: Path
) -> None:
    listed = browser.get(f"/release/{one.id}").text
    assert f"{page(one)}.iso" in listed and listed.count("made when it is first asked for") == 2
    asked = browser.get(f"{page(one)}.iso")
    assert (asked.status_code, asked.headers["Location"]) == (303, page(one))
    waiting = browser.get(page(one)).text
    assert "It waits." in waiting and '<meta http-equiv="refresh" content="2">' in waiting
    assert "<script>" not in waiting
    made = farm(press).make_next()
    assert made is not None and made.path is not None
    ready = browser.get(page(one)).text
    assert row(press, one).sha256 in ready and "refresh" not in ready
    got = browser.get(f"{page(one)}.iso")
    assert got.status_code == 200
    assert got.headers["Content-Disposition"].endswith(f"-vm-{one.id}-offline.iso")
    (tmp_path / "got.iso").write_bytes(got.data)
    assert f"r/{one.id}/stage" in names_on(tmp_path / "got.iso")
    assert farm(press).make_next() is None
    assert made.path.stat().st_mode & 0o777 == 0o644


def test_an_image_is_served_in_ranges_and_not_again_to_who_has_it(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    browser.get(f"{page(one, 'online')}.iso")
    made = farm(press).make_next()
    assert made is not None and made.path is not None
    whole = made.path.read_bytes()
    url = f"{page(one, 'online')}.iso"
    part = browser.get(url, headers={"Range": "bytes=32768-32773"})
    assert (part.status_code, part.data) == (206, whole[32768:32774])
    assert part.headers["Content-Range"] == f"bytes 32768-32773/{len(whole)}"
    mark = part.headers["ETag"]
    assert mark == f'"{row(press, one, offline=False).sha256}"'
    assert browser.get(url, headers={"If-None-Match": mark}).status_code == 304
    rest = {"Range": "bytes=100-", "If-Range": mark}
    assert browser.get(url, headers=rest).data == whole[100:]
    other = {"Range": "bytes=100-", "If-Range": '"another"'}
    assert browser.get(url, headers=other).data == whole
    assert browser.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416


def test_one_image_is_made_at_a_time_and_the_others_wait(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    browser.get(f"{page(one)}.iso")
    press.clock.now += 1
    Services(press.site, press.tree).downloads.want(one.id, offline=False)
    first, second = press.store().media, press.store().media
    begun = first.begin_image(now=1.0)
    assert begun is not None
    assert second.begin_image(now=1.0) is None
    first.note_image(begun.release, begun.offline, "writing", 30, 120)
    making, waits = (browser.get(page(one, kind)).text for kind in ("offline", "online"))
    if not begun.offline:
        making, waits = waits, making
    assert "writing" in making and '<progress value="30" max="120">25 %</progress>' in making
    assert "one image is made before it" in waits


def test_what_fails_says_its_sentence_and_can_be_asked_for_again(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    browser.get(f"{page(one)}.iso")
    (package,) = (press.tree.path / "pool").glob("*/*.gpkg.tar")
    good = package.read_bytes()
    package.write_bytes(b"x" * len(good))
    farm(press).make_next()
    failed = browser.get(page(one)).text
    assert "package app-misc/a-1-1 has other bytes than its manifest says" in failed
    assert "refresh" not in failed
    # Looking at it, or following its link, does not ask again: a person does.
    assert browser.get(f"{page(one)}.iso").headers["Location"] == page(one)
    assert farm(press).make_next() is None
    package.write_bytes(good)
    press.desk().verify(one.id, deep=True)
    assert submit(browser, page(one)).headers["Location"] == page(one)
    made = farm(press).make_next()
    assert made is not None and made.path is not None


def test_a_mistake_of_ours_is_said_too_and_does_not_end_the_farm(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    def broken(release: Path, output: Path, shelf: Path) -> None:
        raise ZeroDivisionError

    browser.get(f"{page(one)}.iso")
    DownloadDesk(media_desk(press, broken), press.clock).make_next()
    assert row(press, one).said.startswith("this server made a mistake (ZeroDivisionError)")


def test_a_release_that_does_not_verify_or_is_not_there_has_no_image(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    assert browser.get("/release/20260101-00000000000a/offline.iso").status_code == 404
    assert browser.get(f"/release/{one.id}/other.iso").status_code == 404
    press.store().releases.set_fault(one.id, "it smells", now=1.0)
    answer = browser.get(f"{page(one)}.iso")
    assert (answer.status_code, "it smells" in answer.text) == (404, True)
    assert press.store().media.images() == []


def test_a_release_that_is_removed_while_its_image_is_asked_for_ends_in_a_sentence(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    browser.get(f"{page(one)}.iso")
    shutil.rmtree(press.tree.path / "releases" / one.id)
    farm(press).make_next()
    assert f"the manifest of release {one.id} cannot be read" in browser.get(page(one)).text


def test_a_site_that_changed_makes_another_image_of_the_same_release(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    browser.get(f"{page(one)}.iso")
    farm(press).make_next()
    old = row(press, one).file
    profile = press.site / "profiles/vm/profile.toml"
    profile.write_text(profile.read_text().replace("a virtual machine", "a virtual computer"))
    # Each process reads the site again when a file of it changed.
    assert "Nobody has asked for it yet" in browser.get(page(one)).text
    browser.get(f"{page(one)}.iso")
    farm(press).make_next()
    assert row(press, one).file != old
    assert browser.get(f"{page(one)}.iso").status_code == 200
    gone = [fate for fate in press.desk().collect(dry_run=False) if fate.kind == "image" and fate.goes]
    assert [fate.name for fate in gone] == [old]


# gc


def images(press: Press) -> set[str]:
    return {path.name for path in press.tree.room("media").iterdir()}


def test_gc_keeps_an_image_while_its_release_is_kept_and_removes_it_with_that(
    press: Press, one: Release, browser: FlaskClient
) -> None:
    browser.get(f"{page(one)}.iso")
    farm(press).make_next()
    file = row(press, one).file
    (press.tree.room("media") / f".{file}.partial").write_bytes(b"a killed process left it")
    press.clock.now += 9 * DAY
    fates = {fate.name: fate for fate in press.desk().collect(dry_run=False) if fate.kind == "image"}
    assert fates[file].reasons == (f"release {one.id} is kept",)
    assert images(press) == {file}
    for number in range(3):
        press.clock.now += 9 * DAY
        press.published(str(number).encode())
    press.desk().collect(dry_run=False)
    assert images(press) == set()
    assert press.store().media.image(one.id, True) is None
    assert browser.get(f"{page(one)}.iso").status_code == 404


def test_gc_waits_for_an_image_that_is_being_written(press: Press, one: Release) -> None:
    desk = farm(press)
    desk.want(one.id, offline=True)
    held = []

    def looking(release: Path, output: Path, shelf: Path) -> None:
        output.write_bytes(b"planner")
        code = "import fcntl,sys; fcntl.flock(open(sys.argv[1],'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        with pytest.raises(CommandFailed, match="BlockingIOError"):
            run([sys.executable, "-c", code, press.tree.path / "pool/.lock"])
        held.append(True)

    made = DownloadDesk(media_desk(press, looking), press.clock).make_next()
    assert made is not None and made.path is not None and held == [True]


def test_gc_keeps_a_release_that_an_image_may_still_install_its_machine_from(press: Press) -> None:
    press.published(b"1")
    press.store().machines.add(Machine(MAC, MachineState.ASSIGNED, profile="vm"))
    wish = Wish(("vm",), server=SERVER, machine=MAC)
    made = media_desk(press).make(wish, press.tree.path / "one.iso", who="ann")
    release = made.releases[0][0]
    later = [press.published(text) for text in (b"2", b"3", b"4")]
    press.desk().rollback("vm", later[1].id, who="ann")
    assert wish.valid_seconds > 6 * DAY
    press.clock.now += 6 * DAY
    press.desk().collect(dry_run=False)
    assert (press.tree.path / "releases" / release).exists()
    media_desk(press).revoke(made.medium_id, who="ann")
    press.desk().collect(dry_run=False)
    assert not (press.tree.path / "releases" / release).exists()


# killed at any moment

MAKER = """
import sys
import threading
from pathlib import Path
from appliance.desks.downloads import DownloadDesk
from appliance.model import Machine, MachineState, Tree
from tests.fake_notary import FakeNotary
from tests.press import Press
from tests.press_media import media_desk

def wait(release, output, shelf):
    print("making", flush=True)
    threading.Event().wait()

press = Press(Tree(Path(sys.argv[1])), Path(sys.argv[2]), FakeNotary())
DownloadDesk(media_desk(press, wait), press.clock).make_next()
"""


def killed_while_making(press: Press, log: Path) -> None:
    log.unlink(missing_ok=True)
    words: list[str | Path] = [sys.executable, "-c", MAKER, press.tree.path, press.site]
    with running(words, output=log, cwd=Path.cwd()) as child:
        wait_until(lambda: "making" in log.read_text() or None, seconds=60, what="the maker")
        os.kill(child.pid, signal.SIGKILL)
        child.wait()


def test_an_image_whose_process_was_killed_is_made_again_and_given_up_in_the_end(
    press: Press, one: Release, tmp_path: Path
) -> None:
    desk = farm(press)
    desk.want(one.id, offline=True)
    killed_while_making(press, tmp_path / "log")
    assert row(press, one).state is ImageState.MAKING
    desk.recover()
    assert row(press, one).state is ImageState.WANTED
    made = desk.make_next()
    assert made is not None and made.path is not None
    with contextlib.suppress(FileNotFoundError):
        made.path.unlink()
    desk.want(one.id, offline=True)
    for _ in range(MOST_TRIES):
        killed_while_making(press, tmp_path / "log")
        desk.recover()
    assert row(press, one).state is ImageState.FAILED
    assert row(press, one).said == f"the process that made it ended {MOST_TRIES} times"
