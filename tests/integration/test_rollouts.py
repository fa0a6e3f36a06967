"""A release on its way to installed machines: the first ones, what stops it, how it goes on or back."""

import json
import re
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.channels import CANARY, STABLE
from appliance.cli import main
from appliance.client_order import RolloutState
from appliance.client_report import MOST_BYTES
from appliance.client_view import Verdict
from appliance.errors import Problem
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.errands import ErrandKind
from buildfarm.signing import Signer
from tests.press import HOUR, Press
from tests.webdoor import make_account, sign_in, submit
from webui.app import make_app

MARKUP = "<script>alert(1)</script>"
EVERYTHING_AT_ONCE = '\n[client]\nspread = "0 s"\n'


@pytest.fixture
def press(tmp_path: Path) -> Press:
    tree = Tree(tmp_path / "state")
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    with (site / "profiles/vm/profile.toml").open("a") as profile:
        profile.write(f'{EVERYTHING_AT_ONCE}\n[release]\ncanary = 2\nreport_within = "12 h"\n')
    return Press(tree, site, Signer(tree.room("keys")))


@pytest.fixture
def services(press: Press) -> Services:
    return Services(press.site, press.tree, press.clock)


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    app = make_app(lambda: Services(services.live.path, services.tree, services.clock))
    client = app.test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def mac_of(number: int) -> str:
    return f"52:54:00:00:00:{number:02x}"


def install(services: Services, number: int, release: str, *, channel: str = STABLE) -> str:
    mac = mac_of(number)
    machine = Machine(mac, MachineState.INSTALLED, f"web{number}", "vm", None, release, channel=channel)
    services.store.machines.add(machine)
    services.store.clients.enrol(mac, f"{number:064x}", "a request", now=services.clock())
    say(services, mac, release)
    return mac


def say(services: Services, mac: str, release: str, phase: str = "current", **more: object) -> None:
    body = {"release": release, "phase": phase, "kernel": "6.1.176", "packages": 3} | more
    services.desk.clients.report(mac, json.dumps(body).encode())


def goes(services: Services, mac: str) -> bool:
    return services.desk.clients.order(mac)["go"] is True


def lead(services: Services, channel: str = STABLE) -> RolloutState:
    services.clients.lead()
    found = services.store.rollouts.get("vm", channel)
    assert found
    return found.state


@pytest.fixture
def fleet(services: Services, press: Press) -> tuple[str, str]:
    """Six machines that have one release, and another one that was published; both ids."""
    old = press.published(b"old").id
    lead(services)
    for number in range(6):
        install(services, number, old)
    new = press.published(b"new").id
    return old, new


def canaries(services: Services) -> tuple[str, ...]:
    found = services.store.rollouts.get("vm", STABLE)
    assert found
    return found.canaries


def fail(services: Services, old: str, new: str, said: str = "sshd does not start") -> str:
    """The first of those that go first fails; its MAC."""
    assert lead(services) is RolloutState.CANARY
    one = canaries(services)[0]
    say(services, one, old, "failed", target=new, said=said)
    assert lead(services) is RolloutState.STOPPED
    return one


def test_nobody_begins_before_it_is_known_who_goes_first(services: Services, fleet: tuple[str, str]) -> None:
    assert not any(goes(services, mac_of(number)) for number in range(6))
    assert lead(services) is RolloutState.CANARY
    assert {mac for mac in map(mac_of, range(6)) if goes(services, mac)} == set(canaries(services))


def test_when_the_first_are_well_all_get_it_and_the_store_knows_what_they_have(
    services: Services, fleet: tuple[str, str]
) -> None:
    _, new = fleet
    lead(services)
    for mac in canaries(services):
        say(services, mac, new, health="ok")
    assert lead(services) is RolloutState.SPREADING
    for number in range(6):
        assert goes(services, mac_of(number))
        say(services, mac_of(number), new)
    assert [machine.release for machine in services.machines()] == [new] * 6
    assert services.overview.look().profiles[0].current == 6
    events = [event.message for _, event in services.show_machine(mac_of(3)).events]
    assert f"{fleet[0]} -> {new}" in events


def test_one_that_fails_stops_it_for_all_and_a_person_is_told_what_to_do(
    services: Services, browser: FlaskClient, fleet: tuple[str, str]
) -> None:
    services.webhooks.add("https://hooks.example/", ["rollout.stopped"])
    mac = fail(services, *fleet)
    assert not any(goes(services, mac_of(number)) for number in range(6))
    assert "sshd does not start" in services.desk.clients.order(mac_of(0))["why"]
    note = services.audit.page(action="rollout stop")[0]
    assert (note.who, note.subject) == ("farm", "vm/stable") and mac in note.detail
    (hook,) = services.webhooks.all()
    assert [one.event for one in services.webhooks.deliveries(hook.id, limit=5)] == ["rollout.stopped"]
    overview = browser.get("/").text
    assert "1 rollout stopped" in overview and "Roll back or go on" in overview
    assert "1 machine did not take its release" in overview and "sshd does not start" in overview
    page = browser.get("/channels/vm").text
    assert "No machine begins with it" in page and "Let all machines on stable have" in page
    assert len(services.audit.page(action="rollout stop")) == 1
    services.clients.lead()
    assert len(services.audit.page(action="rollout stop")) == 1


def test_silence_of_the_first_stops_it(services: Services, press: Press, fleet: tuple[str, str]) -> None:
    lead(services)
    press.clock.now += 11 * HOUR
    assert lead(services) is RolloutState.CANARY
    press.clock.now += 2 * HOUR
    assert lead(services) is RolloutState.STOPPED
    assert "did not say within 12 h" in services.store.rollouts.stopped()[0].why


def test_a_person_lets_it_go_on_from_the_page(
    services: Services, browser: FlaskClient, fleet: tuple[str, str]
) -> None:
    fail(services, *fleet)
    form = {"channel": STABLE, "why": "that one has a broken disk"}
    assert submit(browser, "/channels/vm", "/channels/vm/go-on", form).status_code == 303
    assert lead(services) is RolloutState.SPREADING
    assert all(goes(services, mac_of(number)) for number in range(6))
    note = services.audit.page(action="rollout go on")[0]
    assert note.who == "web olga" and "broken disk" in note.detail
    answer = submit(browser, "/channels/vm", "/channels/vm/go-on", form)
    assert answer.status_code == 303 and "goes on already" in browser.get("/channels/vm").text
    sign_in(browser, services, Role.VIEWER)
    assert submit(browser, "/account", "/channels/vm/go-on", form).status_code == 403


def test_a_person_lets_it_go_on_by_the_api_and_the_command_line(
    services: Services, browser: FlaskClient, fleet: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    fail(services, *fleet)
    make_account(services, "ann", Role.ADMIN)
    _, token = services.api_tokens.make(services.accounts.get("ann"), "x", Role.OPERATOR, days=1)
    headers = {"Authorization": f"Bearer {token}"}
    (listed,) = browser.get("/api/v1/rollouts", headers=headers).json["items"]  # type: ignore[index]
    assert (listed["state"], len(listed["canaries"])) == ("stopped", 2)
    options = ["--state", str(services.tree.path)]
    site = ["--site", str(services.live.path)]
    assert main([*options, "rollout", "list", *site]) == 0
    assert "sshd does not start" in capsys.readouterr().out
    answer = browser.post("/api/v1/profiles/vm/go-on", headers=headers, json={"why": "x"})
    assert answer.json and answer.json["state"] == "spreading"
    assert browser.post("/api/v1/profiles/vm/go-on", headers=headers, json={}).status_code == 409
    assert browser.post("/api/v1/profiles/none/go-on", headers=headers, json={}).status_code == 409
    assert main([*options, "rollout", "go-on", "vm", *site]) == 1
    assert "goes on already" in capsys.readouterr().err


def test_a_channel_that_is_rolled_back_takes_every_machine_back_at_once(
    services: Services, press: Press, fleet: tuple[str, str]
) -> None:
    old, new = fleet
    mac = fail(services, old, new)
    say(services, mac, new, health="failed")
    press.clock.now += HOUR
    services.errands.want(ErrandKind.ROLLBACK, "vm", who="web olga")
    done = services.errands.do_next([ErrandKind.ROLLBACK])
    assert done and old in done.said
    assert lead(services) is RolloutState.SPREADING
    order = services.desk.clients.order(mac)
    assert order["go"] and order["release"] == old
    say(services, mac, old)
    assert services.clients.view(services.machine(mac)).verdict is Verdict.CURRENT


def test_a_machine_on_canary_that_fails_keeps_stable_where_it_is(services: Services, press: Press) -> None:
    settings = press.site / "profiles/vm/profile.toml"
    text = settings.read_text()
    old = press.published(b"old").id
    stable, canary = install(services, 1, old), install(services, 2, old, channel=CANARY)
    wanted = '[release]\nchannel = "canary"\npromote_after = "24 h"\n'
    settings.write_text(text.replace("[release]\n", wanted))
    new = press.published(b"new").id
    assert lead(services, CANARY) is RolloutState.SPREADING
    assert goes(services, canary) and services.desk.clients.order(canary)["release"] == new
    assert services.desk.clients.order(stable)["release"] == old
    say(services, canary, new, health="failed")
    assert lead(services, CANARY) is RolloutState.STOPPED
    press.clock.now += 25 * HOUR
    assert services.release_desk.promote_due() == []


def test_a_machine_that_is_silent_is_pointed_out(
    services: Services, browser: FlaskClient, press: Press, fleet: tuple[str, str]
) -> None:
    press.clock.now += 80 * HOUR
    sign_in(browser, services, Role.OPERATOR, "olga")
    text = browser.get("/").text
    assert "6 installed machines are silent" in text and f'id="silent-{mac_of(1)}"' in text
    page = browser.get(f"/machine/{mac_of(1)}").text
    assert "look whether it is switched on" in page
    services.desk.clients.order(mac_of(1))
    assert "5 installed machines are silent" in browser.get("/").text


def test_what_a_machine_reports_is_shown_escaped_and_bounded_everywhere(
    services: Services, browser: FlaskClient, fleet: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = fleet
    mac, evil = mac_of(4), f"{MARKUP}\x1b[2J\u202e"
    row = {"kind": "file", "name": f"/etc/{evil}", "said": evil}
    many = [row] * 200
    report = {
        "drift": many,
        "drifts": 999,
        "kernel": evil,
        "facts": {evil: evil},
        "merges": 3,
        "reboot": True,
    }
    body = json.dumps({"release": old, "target": new, "phase": "failed", "said": evil} | report).encode()
    assert len(body) < MOST_BYTES
    services.desk.clients.report(mac, body)
    for path in ("/", f"/machine/{mac}", "/machines"):
        text = browser.get(path).text
        assert MARKUP not in text and "\x1b" not in text and "\u202e" not in text, path
    page = browser.get(f"/machine/{mac}").text
    assert "999 files, packages and mounts" in page and "it has to start anew" in page
    assert "&lt;script&gt;" in page
    lead(services)
    options = ["--state", str(services.tree.path)]
    assert main([*options, "machine", "show", mac, "--site", str(services.live.path)]) == 0
    said = capsys.readouterr().out
    assert "999 files, packages and mounts differ" in said and "\x1b" not in said and "and 979 more" in said
    assert "3 packages installed" not in said
    answer = browser.get(f"/api/v1/machines/{mac}/client")
    assert answer.json and (answer.json["verdict"], answer.json["drifts"]) == ("failed", 999)


def test_what_waits_on_machines_is_counted_listed_and_shown(
    services: Services, browser: FlaskClient, fleet: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    old, _ = fleet
    one, other = mac_of(1), mac_of(2)
    lists = {
        "drift": [{"kind": "mount", "name": "/etc/portage", "said": "gone"}],
        "local": [{"path": "/etc/issue", "said": "changed here"}],
        "questions": [{"path": "/etc/shadow", "here": True}],
        "services": ["sshd", "cron"],
    }
    facts = {"memory": "2147483648", "uptime": "93784", "space /": "1073741824 8589934592 ext4"}
    waits = {"reboot": True, "reboot_for": "kernel 1 runs, 2 is installed", "lists": "ab" * 32}
    body: dict[str, object] = {"release": old, "phase": "current", "facts": facts, **waits, **lists}
    services.desk.clients.report(one, json.dumps(body).encode())
    say(services, other, old, health="failed")
    families = {name.name: name.samples for name in services.figures.families()}
    for name, count in (("drifted", 1.0), ("reboot", 1.0), ("stale", 1.0), ("merges", 1.0)):
        assert families[f"clients_{name}"][("vm",)] == count
    overview = browser.get("/").text
    for sign, macs in (("drift", [one]), ("reboot", [one]), ("services", [one]), ("questions", [one]),
                       ("unwell", [other]), ("updating", [])):  # fmt: skip
        assert re.search(f'id="sign-{sign}"[^>]*><b>{len(macs)}</b>', overview), sign
        page = browser.get(f"/machines?sign={sign}").text
        assert [mac for mac in map(mac_of, range(6)) if f'<tr id="{mac}"' in page] == macs
        answer = browser.get(f"/api/v1/machines?sign={sign}")
        assert answer.json and [each["mac"] for each in answer.json["items"]] == macs
    assert browser.get("/api/v1/machines?sign=moon").status_code == 400
    page = browser.get(f"/machine/{one}").text
    options = ["--state", str(services.tree.path)]
    assert main([*options, "machine", "show", one, "--site", str(services.live.path)]) == 0
    said = capsys.readouterr().out
    for text in ("kernel 1 runs, 2 is installed", "sshd, cron", "/etc/shadow", "2.0 GiB", "1 d 2 h",
                 "1.0 GiB of 8.0 GiB free (ext4)", "/etc/issue", "changed here", "/etc/portage"):  # fmt: skip
        assert text in page and text in said, text
    answer = browser.get(f"/api/v1/machines/{one}/client")
    assert answer.json and answer.json["questions"] == lists["questions"]
    assert answer.json["reboot_for"] == waits["reboot_for"] and answer.json["services"] == lists["services"]


def test_an_update_is_in_the_timeline_while_it_happens(
    services: Services, browser: FlaskClient, fleet: tuple[str, str]
) -> None:
    old, new = fleet
    mac = mac_of(3)

    def told() -> list[tuple[str, str]]:
        events = services.show_machine(mac).events
        return [(event.stage, event.status) for _, event in events if event.stage.startswith("update")]

    say(services, mac, old, "updating", target=new)
    say(services, mac, old, "updating", target=new)
    assert told() == [("update", "begin")]
    assert services.clients.view(services.machine(mac)).verdict is Verdict.UPDATING
    body = json.dumps({"stage": "update emerge", "status": "begin"}).encode()
    services.desk.clients.event(mac, body)
    assert "Last update" in browser.get(f"/machine/{mac}").text
    say(services, mac, new)
    assert told() == [("update", "begin"), ("update emerge", "begin"), ("update", "done")]
    say(services, mac, new, "updating", target=new)
    say(services, mac, new)
    assert told()[3:] == [("update", "begin"), ("update", "done")]


def test_lists_that_did_not_change_are_not_sent_again(services: Services, fleet: tuple[str, str]) -> None:
    mac, old = mac_of(0), fleet[0]
    report = {"release": old, "phase": "current", "lists": "ab" * 32, "drifts": 1, "stale": 1}
    desk = services.desk.clients
    assert not desk.report(mac, json.dumps(report).encode())
    # What stands for a character that is left out is longer: the store keeps more than may be sent.
    drift = [{"kind": "file", "name": "/a", "said": "\u202e" * 300}] * 60
    whole = json.dumps(report | {"drift": drift, "services": ["sshd"]}, ensure_ascii=False).encode()
    assert len(whole) < MOST_BYTES and desk.report(mac, whole)
    assert desk.report(mac, json.dumps(report).encode())
    last = services.clients.reports(services.machine(mac))[0].report
    assert len(last.drift) == 60 and last.services == ("sshd",)


def test_reports_are_remembered_up_to_a_number_and_end_with_their_machine(
    services: Services, fleet: tuple[str, str]
) -> None:
    mac = mac_of(0)
    for number in range(50):
        say(services, mac, fleet[0], merges=number)
    kept = services.store.clients.reports(mac, limit=1000)
    assert len(kept) == 20 and kept[0].report.merges == 49
    services.machine_desk.retire(mac)
    assert services.store.clients.reports(mac) == []
    (row,) = services.store.database.rows("SELECT count(*) AS n FROM client_report WHERE mac = ?", (mac,))
    assert row["n"] == 0


def test_the_numbers_for_a_monitoring_system_count_who_is_behind_failed_or_silent(
    services: Services, press: Press, fleet: tuple[str, str]
) -> None:
    fail(services, *fleet)
    families = {one.name: one.samples for one in services.figures.families()}
    assert families["clients"] == {("vm",): 6.0}
    assert families["clients_behind"] == {("vm",): 6.0}
    assert families["clients_failed"] == {("vm",): 1.0}
    assert families["clients_silent"] == {("vm",): 0.0}
    assert families["rollout_stopped"] == {("vm", STABLE): 1.0, ("vm", CANARY): 0.0}
    press.clock.now += 80 * HOUR
    families = {one.name: one.samples for one in services.figures.families()}
    assert families["clients_silent"] == {("vm",): 6.0}


def test_there_is_nothing_to_go_on_with_where_nothing_was_published(services: Services) -> None:
    with pytest.raises(Problem, match="nothing was published"):
        services.clients.go_on("vm", STABLE)
    with pytest.raises(Problem, match="there is no channel"):
        services.clients.go_on("vm", "purple")


def test_silent_machines_are_found_in_an_index(services: Services, fleet: tuple[str, str]) -> None:
    statement = "SELECT mac FROM client_standing JOIN machine USING (mac) WHERE seen_at < 1 ORDER BY seen_at"
    plan = [row["detail"] for row in services.store.database.rows(f"EXPLAIN QUERY PLAN {statement}")]
    assert any("client_standing_seen" in step for step in plan)
