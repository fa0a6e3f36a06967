"""Releases in the browser: what they hold, what changes, and channels that the farm moves when asked."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.channels import STABLE
from appliance.deadline import wait_until
from appliance.demo import serving, set_scene
from appliance.desks.errands import GONE, LONG, MOVES, ErrandDesk
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.lab import lan
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.run import running
from appliance.services import Services
from appliance.store.errands import Errand, ErrandKind, ErrandState
from buildfarm import kernel_configs
from buildfarm.signing import Signer
from tests.fake_notary import FakeNotary
from tests.integration.test_api import token, walk
from tests.press import Press
from tests.webdoor import sign_in, submit
from webui.app import make_app

CHANNELS = "/channels/vm"
MARKUP = "<script>alert(1)</script>"


@pytest.fixture
def press(tmp_path: Path) -> Press:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Press(Tree(tmp_path / "state"), site, FakeNotary())


@pytest.fixture
def services(press: Press) -> Services:
    """The web process: it believes what the fake notary signed and cannot sign itself."""
    return served(press)


def served(press: Press) -> Services:
    made = Services(press.site, press.tree, press.clock)
    made.release_desk = press.desk()
    made.errands = ErrandDesk(made.release_desk, press.clock)
    return made


@pytest.fixture
def browser(press: Press, services: Services) -> FlaskClient:
    client = make_app(lambda: served(press)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def farm(press: Press) -> ErrandDesk:
    return ErrandDesk(press.desk(), press.clock)


def named(press: Press) -> str:
    said = press.channels().get("vm", STABLE)
    return said.release if said else ""


def done(press: Press) -> Errand:
    found = farm(press).do_next(MOVES)
    assert found
    return found


@pytest.fixture
def two(press: Press) -> tuple[Release, Release]:
    return press.published(b"old"), press.published(b"new", b"more")


def test_a_rollback_waits_for_the_farm_which_moves_the_channel_in_the_persons_name(
    browser: FlaskClient, press: Press, two: tuple[Release, Release], services: Services
) -> None:
    answer = submit(browser, CHANNELS, f"{CHANNELS}/rollback", {"why": f"it is bad {MARKUP}"})
    assert (answer.status_code, answer.location) == (303, CHANNELS)
    assert named(press) == two[1].id
    assert "wanted</span>" in browser.get(CHANNELS).text
    assert done(press).said == f"channel vm/stable names {two[0].id}"
    assert named(press) == two[0].id
    text = browser.get(CHANNELS).text
    assert "rollback by web olga" in text and "it is bad &lt;script&gt;" in text and MARKUP not in text
    assert [note.action for note in services.audit.page(who="web olga")] == [
        "release rollback",
        "release want rollback",
        "login",
    ]
    assert farm(press).do_next(MOVES) is None


def test_a_pin_holds_until_it_is_taken_off(
    browser: FlaskClient, press: Press, two: tuple[Release, Release]
) -> None:
    page = f"/release/{two[0].id}"
    submit(browser, page, f"{CHANNELS}/pin", {"release": two[0].id, "channel": "stable", "why": "audit"})
    assert done(press).state is ErrandState.DONE
    press.published(b"newest")
    assert named(press) == two[0].id
    submit(browser, CHANNELS, f"{CHANNELS}/promote", {"release": two[1].id})
    assert "is pinned to" in browser.get(CHANNELS).text
    assert farm(press).do_next(MOVES) is None
    submit(browser, CHANNELS, f"{CHANNELS}/unpin", {"channel": "stable"})
    assert done(press).state is ErrandState.DONE
    submit(browser, page, f"{CHANNELS}/promote", {"release": two[1].id})
    assert done(press).state is ErrandState.DONE
    assert named(press) == two[1].id


def test_no_channel_moves_to_a_release_that_was_damaged_and_the_page_says_what_is_wrong(
    browser: FlaskClient, press: Press, two: tuple[Release, Release]
) -> None:
    (press.tree.path / "releases" / two[0].id / "kernel").write_bytes(b"wrong!")
    submit(browser, CHANNELS, f"{CHANNELS}/rollback", {})
    failed = done(press)
    assert failed.state is ErrandState.FAILED and "kernel" in failed.said
    assert named(press) == two[1].id
    assert "does not verify" in browser.get(CHANNELS).text
    assert "It is not served" in browser.get(f"/release/{two[0].id}").text


def test_verifying_is_not_in_the_way_of_a_rollback(
    browser: FlaskClient, press: Press, two: tuple[Release, Release]
) -> None:
    submit(browser, f"/release/{two[1].id}", f"{CHANNELS}/verify", {"release": two[1].id})
    submit(browser, CHANNELS, f"{CHANNELS}/rollback", {})
    assert done(press).kind is ErrandKind.ROLLBACK
    verified = farm(press).do_next(LONG)
    assert verified and verified.said.startswith("every signature")


@pytest.mark.parametrize(
    ("move", "data", "said"),
    [
        ("pin", {"release": "20260101-00000000000a"}, "there is no release"),
        ("pin", {}, "nobody said which release"),
        ("rollback", {"channel": "nightly"}, "there is no channel nightly"),
        ("unpin", {"channel": "canary"}, "is not pinned"),
    ],
)
def test_what_makes_no_sense_is_said_at_once_and_asks_nobody(
    browser: FlaskClient,
    press: Press,
    two: tuple[Release, Release],
    move: str,
    data: dict[str, str],
    said: str,
) -> None:
    submit(browser, CHANNELS, f"{CHANNELS}/{move}", data)
    assert said in browser.get(CHANNELS).text
    assert farm(press).do_next(MOVES) is None


def test_a_release_of_another_profile_is_refused(press: Press, services: Services) -> None:
    other = press.published(b"x", profile="amd64")
    with pytest.raises(Problem, match="is of profile amd64"):
        services.errands.want(ErrandKind.PIN, "vm", release=other.id, who="web olga")


def test_what_a_killed_farm_was_doing_has_failed_and_is_not_done_again(
    press: Press, two: tuple[Release, Release], services: Services
) -> None:
    services.errands.want(ErrandKind.ROLLBACK, "vm", who="web olga")
    begun = services.store.errands.begin(MOVES, now=1.0)
    assert begun
    with running(["sleep", "60"]) as other:
        services.store.database.execute("UPDATE errand SET owner = ?", (f"{other.pid}@0",))
    farm(press).recover()
    found = services.store.errands.get(begun.id)
    assert found and (found.state, found.said) == (ErrandState.FAILED, GONE)
    assert farm(press).do_next(MOVES) is None


def test_a_release_shows_what_it_holds_and_who_has_it(
    browser: FlaskClient, two: tuple[Release, Release], services: Services
) -> None:
    mac = "52:54:00:00:00:01"
    services.store.machines.add(Machine(mac, MachineState.INSTALLED, "", "vm", None, two[1].id))
    text = browser.get(f"/release/{two[1].id}").text
    assert f"/machines?release={two[1].id}" in text
    assert "stable" in text
    held = browser.get(f"/release/{two[1].id}/packages").text
    assert "app-misc/a" in held and "app-misc/b" in held
    assert "No package is called so." in browser.get(f"/release/{two[1].id}/packages?text=none").text


def test_the_difference_of_two_releases_is_a_page(browser: FlaskClient, two: tuple[Release, Release]) -> None:
    text = browser.get(f"/release/{two[1].id}/diff").text
    assert "1 added, 0 removed, 1 changed" in text
    back = browser.get(f"/release/{two[0].id}/diff?before={two[1].id}").text
    assert "0 added, 1 removed, 1 changed" in back
    assert browser.get(f"/release/{two[0].id}/diff").status_code == 404


def test_the_api_lists_what_is_in_a_release_and_what_lies_between_two(
    services: Services, two: tuple[Release, Release]
) -> None:
    client, sent = make_app(lambda: services).test_client(), token(services)
    there = f"/releases/{two[1].id}"
    held = [one.name for one in services.release_desk.held(two[1].id)]
    assert [one["name"] for one in walk(client, services, f"{there}/packages?text=")] == held
    found = client.get(f"/api/v1{there}/difference/{two[0].id}", headers=sent)
    assert found.json and sorted(one["what"] for one in found.json["packages"]) == ["added", "changed"]
    assert found.json["before"] == two[0].id
    absent = client.get(f"/api/v1{there}/difference/20200101-000000000000", headers=sent)
    assert absent.json and (absent.status_code, absent.json["error"][:19]) == (404, "there is no release")


def test_a_build_that_was_not_published_says_why(
    browser: FlaskClient, two: tuple[Release, Release], services: Services
) -> None:
    job = services.store.jobs.start("build", "vm", now=1.0)
    services.store.jobs.end(job, "failed", now=2.0, message=f"sshd does not start {MARKUP}", failure="test")
    text = browser.get(CHANNELS).text
    assert "was not published (test)" in text and "sshd does not start &lt;script&gt;" in text
    job = services.store.jobs.start("build", "vm", now=3.0)
    services.store.jobs.end(job, "done", now=4.0)
    assert "was not published" not in browser.get(CHANNELS).text


def test_a_viewer_sees_channels_and_no_form_that_moves_them(
    press: Press, two: tuple[Release, Release], services: Services
) -> None:
    client = make_app(lambda: served(press)).test_client()
    sign_in(client, services, Role.VIEWER)
    assert "Move them" not in client.get(CHANNELS).text
    assert two[1].id in client.get(CHANNELS).text
    assert client.get("/channels/nothing").status_code == 404


def test_the_farm_of_up_does_what_the_page_asks_for(tmp_path: Path) -> None:
    scene = set_scene(tmp_path / "scene", Tree(tmp_path / "state"))
    services = scene.services()
    for profile in services.profiles():
        job = services.store.jobs.start("build", profile.name, now=0.0, inputs=services.inputs(profile))
        services.store.jobs.end(job, "done", now=0.0)
    press = Press(scene.tree, scene.site, Signer(scene.tree.path / "keys"))
    old = press.published(b"old")
    press.published(b"new")
    asked = services.errands.want(ErrandKind.ROLLBACK, "vm", who="web olga")

    def ended() -> Errand | None:
        now = services.store.errands.get(asked.id)
        return now if now and not now.is_open else None

    with lan("errands", clients={"client": "10.77.0.9"}) as net, serving(scene, net):
        found = wait_until(ended, seconds=60, what="the rollback")
    assert (found.state, named(press)) == (ErrandState.DONE, old.id)


def test_what_changes_names_files_in_etc_and_options_of_the_kernel(
    browser: FlaskClient, press: Press, two: tuple[Release, Release]
) -> None:
    old, new = two
    room = press.tree.room("kernel-configs")
    for release, text in ((old, "CONFIG_OLD=y\n"), (new, f'CONFIG_NEW="{MARKUP}"\n')):
        assert "is not known" in browser.get(f"/release/{new.id}/diff?before={old.id}").text
        (one,) = (row for row in press.desk().held(release.id) if row.name == "app-misc/a")
        kernel_configs.keep(room, one.shipped.sha256, text)
    page = browser.get(f"/release/{new.id}/diff?before={old.id}").text
    assert "/etc/app-misc-a-1.conf" in page and "/etc/app-misc-b-1.conf" in page
    assert "CONFIG_OLD=y" in page and "CONFIG_NEW=" in page and MARKUP not in page
    words = {"before": old.id, "path": "/etc/app-misc-a-1.conf"}
    changed = browser.get(f"/release/{new.id}/diff/file", query_string=words).text
    assert "-# app-misc/a-1 " in changed and "+# app-misc/a-1 " in changed


def test_a_release_whose_files_are_gone_is_said_to_be_unreadable(
    browser: FlaskClient, services: Services, two: tuple[Release, Release]
) -> None:
    old, new = two
    shutil.rmtree(services.release_desk.place(old.id))
    for place in (f"/release/{old.id}/packages", f"/release/{new.id}/diff?before={old.id}"):
        answer = browser.get(place)
        assert answer.status_code == 404 and "cannot be read" in answer.text


def test_a_file_that_is_the_same_or_gone_is_said_to_be(
    browser: FlaskClient, press: Press, two: tuple[Release, Release]
) -> None:
    old, new = two
    place = f"/release/{new.id}/diff/file"
    for path in ("/etc/passwd", "../../keys", f"/etc/{MARKUP}"):
        answer = browser.get(place, query_string={"before": old.id, "path": path})
        assert answer.status_code == 404 and MARKUP not in answer.text
    for file in press.tree.room("etc-base").iterdir():
        file.unlink()
    words = {"before": old.id, "path": "/etc/app-misc-a-1.conf"}
    assert "cannot be read here any more" in browser.get(place, query_string=words).text


def test_each_reason_of_the_gate_stands_by_itself_with_its_log(
    browser: FlaskClient, services: Services, two: tuple[Release, Release]
) -> None:
    job = services.store.jobs.start("build", "vm", now=1.0)
    room = services.tree.room("logs") / "build-vm-20260101T000000Z"
    room.mkdir()
    (room / "client.out").write_text("said")
    reasons = (f"a fresh machine keeps old libraries: {MARKUP}", "kernel of the release is missing")
    services.store.jobs.end(
        job, "failed", now=2.0, message="; ".join(reasons), log=room.name, reasons=reasons
    )
    for page in (CHANNELS, f"/build/{job}"):
        text = browser.get(page).text
        assert "keeps old libraries: &lt;script&gt;" in text and MARKUP not in text
        assert "<li>kernel of the release is missing</li>" in text
        assert f"/build/{job}/log?name=client.out" in text


def test_a_channel_says_how_many_machines_follow_it_and_where_they_are(
    browser: FlaskClient, services: Services, two: tuple[Release, Release]
) -> None:
    places = [two[0].id, two[1].id, two[1].id, None]
    for number, release in enumerate(places):
        one = Machine(f"52:54:00:00:00:0{number}", MachineState.INSTALLED, "", "vm", None, release)
        services.store.machines.add(one)
    services.put_on_channel("52:54:00:00:00:00", "canary")
    stable, canary = sorted(services.release_desk.standing("vm"), key=lambda one: one.name, reverse=True)
    assert (stable.followers, dict(stable.places)) == (3, {two[1].id: 2, "": 1})
    assert dict(canary.places) == {two[0].id: 1}
    text = browser.get(CHANNELS).text
    assert f"2 at {two[1].id}" in text and "1 without a release" in text and f"1 at {two[0].id}" in text
