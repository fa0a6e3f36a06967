"""The API as programs use it: with tokens, over a real store, and as its own document says."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode

from appliance.account_model import Role
from appliance.farm_model import Release
from appliance.install import planned
from appliance.model import Disk, DiskPartition, Event, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm import bases, manifest
from buildfarm.manifest import Manifest
from tests.web.scene import ask_merges, fill_farm
from tests.webdoor import make_account, sign_in
from webui.api import shapes
from webui.api.area import BASE
from webui.api.document import VARIES
from webui.api.operations import OPERATIONS
from webui.app import make_app

MAC = "52:54:00:00:00:01"
SEALED = manifest.identify(Manifest("vm", "amd64", "2026-01-01T00:00:00Z", "gentoo:ab", (), ()))
THERE = {
    "machine": MAC,
    "profile": "vm",
    "release": SEALED.id,
    "before": SEALED.id,
    "host": "builder",
    "kind": "online",
    "webhook": "1",
    "account": "ann",
}
ASKED = {"showProfileFile": {"name": "world"}}
"""Words of addresses that must name something, too."""
MARKUP = "<img src=x onerror=alert(1)>\x1b[31m"


def fill(services: Services) -> None:
    fill_farm(services)
    old = DiskPartition("/dev/vda1", 1 << 20, 1 << 30, "ntfs", MARKUP)
    disk = Disk("/dev/vda", 8 << 30, "virtio", serial=MARKUP, table="dos", partitions=(old,))
    facts = Facts(MAC, Firmware.UEFI, 4 << 30, vendor=MARKUP, disks=(disk,))
    services.store.machines.add(Machine(MAC, MachineState.ASSIGNED, "web1", "vm", facts))
    ask_merges(services, MAC)
    for number in range(2, 6):
        services.add_machine(f"52:54:00:00:00:0{number}")
        services.store.releases.add(Release(f"20260101-00000000000{number}", "vm", 9.5, "gentoo:ab", 3, 5))
    services.store.releases.add(Release(SEALED.id, "vm", 9.5, "gentoo:ab", 1, 5))
    lay_release(services.tree.room("releases") / SEALED.id)
    for stage in ("discover", "program", "kernel"):
        services.store.events.add(Event(MAC, 1.0, stage, message=MARKUP))


def lay_release(place: Path) -> None:
    """What of a release is compared and listed."""
    place.mkdir()
    (place / "manifest").write_text(manifest.write(SEALED))
    (place / "Packages").write_text("PACKAGES: 1\n\nCPV: app-misc/hello-2.10\nSHA256: ab\nSIZE: 5\n\n")
    (place / "bases").write_text(bases.write([]))
    tarfile.open(place / "portage.tar", "w").close()


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    made = Services(site, Tree(tmp_path / "state"))
    fill(made)
    return made


@pytest.fixture
def app(services: Services) -> Flask:
    return make_app(lambda: Services(services.live.path, services.tree))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def token(services: Services, scope: Role = Role.ADMIN) -> dict[str, str]:
    make_account(services, "ann", Role.ADMIN)
    _, text = services.api_tokens.make(services.accounts.get("ann"), scope.value, scope, days=1)
    return {"Authorization": f"Bearer {text}"}


def get(client: FlaskClient, services: Services, path: str) -> Any:
    answer = client.get(f"{BASE}{path}", headers=token(services, Role.ADMIN))
    assert answer.status_code == 200, answer.text
    return answer.json


def walk(client: FlaskClient, services: Services, path: str) -> list[Any]:
    """All of a list, page by page."""
    found, cursor = [], ""
    while True:
        mark = "&" if "?" in path else "?"
        page = get(client, services, f"{path}{mark}limit=2&cursor={cursor}")
        assert len(page["items"]) <= 2
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = page["next"]


def test_the_document_is_valid_openapi(client: FlaskClient, services: Services) -> None:
    document = get(client, services, "/openapi.json")
    validate(document)
    assert {one["operationId"] for path in document["paths"].values() for one in path.values()} == {
        one.name for one in OPERATIONS
    }


def test_pages_follow_one_another_without_a_gap_or_a_repetition(
    client: FlaskClient, services: Services
) -> None:
    machines = walk(client, services, "/machines")
    assert [one["mac"] for one in machines] == [f"52:54:00:00:00:0{number}" for number in range(1, 6)]
    releases = [one["id"] for one in walk(client, services, "/releases")]
    assert releases == [one.id for one in services.store.releases.all()]
    assert [one["id"] for one in walk(client, services, "/jobs")] == [one.id for one in services.jobs()]
    stages = [one["stage"] for one in walk(client, services, f"/machines/{MAC}/events")]
    assert stages == ["discover", "program", "kernel"]
    assert len(walk(client, services, "/events")) == services.store.events.newest()
    notes = [one["id"] for one in walk(client, services, "/audit")]
    assert notes == sorted(notes, reverse=True) and len(set(notes)) == len(notes) >= 4


def test_lists_are_filtered(client: FlaskClient, services: Services) -> None:
    assert [one["mac"] for one in walk(client, services, "/machines?state=assigned")] == [MAC]
    assert [one["mac"] for one in walk(client, services, "/machines?text=WEB")] == [MAC]
    assert walk(client, services, "/releases?profile=amd64") == []
    assert {one["action"] for one in walk(client, services, "/audit?action=machine add")} == {"machine add"}


def test_one_machine_has_its_facts_as_it_sent_them(client: FlaskClient, services: Services) -> None:
    shown = get(client, services, "/machines/web1")
    assert shown["machine"]["mac"] == MAC
    assert shown["machine"]["facts"]["disks"][0]["serial"] == MARKUP
    assert shown["machine"]["facts"]["disks"][0]["partitions"] == [
        {
            "path": "/dev/vda1",
            "start_bytes": 1 << 20,
            "size_bytes": 1 << 30,
            "filesystem": "ntfs",
            "label": MARKUP,
        }
    ]
    assert shown["boots"]


def test_what_is_changed_is_changed_and_in_the_audit_log_by_the_tokens_account(
    client: FlaskClient, services: Services
) -> None:
    held = token(services, Role.OPERATOR)
    mac = "52:54:00:00:00:77"
    made = client.post(f"{BASE}/machines", json={"mac": mac.upper(), "name": "db1"}, headers=held)
    assert (made.status_code, made.json["mac"], made.json["state"]) == (201, mac, "discovered")  # type: ignore[index]
    for path, body, state in (
        ("assign", {"profile": "vm"}, "assigned"),
        ("arm", None, "armed"),
        ("disarm", None, "assigned"),
        ("channel", {"channel": "canary"}, "assigned"),
    ):
        answer = client.post(f"{BASE}/machines/db1/{path}", json=body, headers=held)
        assert (path, answer.status_code, answer.json["state"]) == (path, 200, state)  # type: ignore[index]
    assert services.machine(mac).channel == "canary"
    notes = services.audit.page(subject=mac)
    actions = ["machine channel", "machine disarm", "machine arm", "machine assign", "machine add"]
    assert [(one.who, one.action) for one in notes] == [("api ann", action) for action in actions]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/machines/nobody", None, 404, "there is no machine nobody"),
        ("GET", "/no/such/thing", None, 404, "not found"),
        ("DELETE", "/machines", None, 405, "not allowed"),
        ("GET", "/machines?sate=failed", None, 400, "'sate' is not known here"),
        ("GET", "/machines?limit=0", None, 400, "limit is 0, expected a number from 1 to 200"),
        ("GET", "/jobs?cursor=x", None, 400, "cursor is 'x'"),
        ("POST", "/machines", {"mac": MAC}, 409, "there is already a machine"),
        ("POST", "/machines", {"mac": "x"}, 400, "mac is 'x', expected six pairs"),
        ("POST", "/machines", {}, 400, "mac is missing"),
        ("POST", "/machines", {"mac": MAC, "colour": 1}, 400, "'colour' is not known here"),
        ("POST", "/machines", [], 400, "expected an object"),
        ("POST", "/machines/web1/assign", {"profile": "no"}, 409, "no"),
        ("POST", "/machines/web1/assign", {"profile": True}, 400, "profile is True, expected a text"),
        ("POST", "/machines/web1/channel", {"channel": "beta"}, 400, "expected stable or canary"),
        ("POST", "/machines/52:54:00:00:00:02/arm", None, 409, "has no profile"),
        ("POST", "/machines/52:54:00:00:00:02/rename", {"name": "web1"}, 409, "another machine web1"),
        ("POST", "/machines/web1/wipe", {"name": "web2"}, 409, "was not typed"),
        ("POST", "/machines/web1/wipe", {}, 400, "name is missing"),
        ("POST", "/machines/nobody/retire", None, 404, "there is no machine nobody"),
        ("POST", "/profiles/none/promote", {}, 404, "there is no profile none"),
        ("POST", "/profiles/vm/pin", {"release": "none"}, 409, "release none"),
    ],
)
def test_faults_are_sentences_in_json(
    client: FlaskClient, services: Services, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = client.open(f"{BASE}{path}", method=method, json=body, headers=token(services))
    assert answer.status_code == status
    assert answer.content_type == "application/json"
    assert answer.json and said in answer.json["error"]


def test_a_machine_is_renamed_and_retired(client: FlaskClient, services: Services) -> None:
    held = token(services, Role.OPERATOR)
    services.store.events.add(Event(MAC, 2.0, "plan", message=planned("r", "uefi", "ab" * 32)))
    services.store.events.add(Event(MAC, 3.0, "plan", "failed", message="refused"))
    assert get(client, services, "/machines/web1")["plan"] == "ab" * 32
    renamed = client.post(f"{BASE}/machines/web1/rename", json={"name": "db1"}, headers=held)
    assert (renamed.status_code, renamed.json["name"]) == (200, "db1")  # type: ignore[index]
    assert client.post(f"{BASE}/machines/db1/retire", headers=held).status_code == 200
    assert client.get(f"{BASE}/machines/{MAC}", headers=held).status_code == 404
    assert services.audit.page(action="machine retire")[0].who == "api ann"


def test_a_machine_boots_once_into_rescue(client: FlaskClient, services: Services) -> None:
    held = token(services, Role.OPERATOR)
    wanted = client.post(f"{BASE}/machines/web1/rescue", json={}, headers=held)
    assert (wanted.status_code, wanted.json["rescue"]) == (200, True)  # type: ignore[index]
    assert "rescue shell" in get(client, services, "/machines/web1")["boots"]
    ended = client.post(f"{BASE}/machines/web1/rescue", json={"wanted": False}, headers=held)
    assert (ended.status_code, ended.json["rescue"]) == (200, False)  # type: ignore[index]
    assert [one.who for one in services.audit.page(action="machine rescue")] == ["api ann"] * 2


def test_the_farm_wakes_and_switches_machines(client: FlaskClient, services: Services) -> None:
    held = token(services, Role.OPERATOR)
    asked = client.post(f"{BASE}/machines/web1/wake", headers=held)
    assert (asked.status_code, asked.json["machine"]) == (202, MAC)  # type: ignore[index]
    (errand,) = get(client, services, "/machines/web1/errands")["items"]
    assert (errand["kind"], errand["state"], errand["who"]) == ("wake", "wanted", "api ann")
    assert {one.value for one in shapes.Power} == set(services.power.words)
    refused = client.post(f"{BASE}/machines/web1/power", json={"action": "on"}, headers=held)
    assert (refused.status_code, "no controller" in refused.text) == (409, True)


def test_match_rules_are_tried_with_other_facts(client: FlaskClient, services: Services) -> None:
    assert get(client, services, f"/machines/{MAC}/match")["profile"] is None
    said = get(client, services, f"/machines/{MAC}/match?vendor=QEMU")
    assert said["profile"] == "vm" and said["rules"][0]["fits"]
    assert services.machine(MAC).facts.vendor == MARKUP  # type: ignore[union-attr]


def test_facts_that_no_machine_sent_are_tried_and_changed_rules_foreseen(
    client: FlaskClient, services: Services
) -> None:
    held = token(services, Role.VIEWER)
    facts = "mac 52:54:00:99:00:01\nfirmware uefi\nvendor QEMU\n"
    said = client.post(f"{BASE}/match", json={"facts": facts}, headers=held)
    assert (said.status_code, said.json["profile"]) == (200, "vm")  # type: ignore[index]
    assert said.json["rules"][0]["conditions"] == "vendor QEMU*"  # type: ignore[index]
    refused = client.post(f"{BASE}/match", json={"facts": "vendor QEMU\n"}, headers=held)
    assert (refused.status_code, "no mac line" in refused.text) == (409, True)
    text = (services.live.path / "profiles/vm/profile.toml").read_text()
    changed = text.replace('vendor = "QEMU*"', 'vendor = "*"\npriority = 3')
    body = {"profile": "vm", "text": changed}
    (turn,) = client.post(f"{BASE}/match/changes", json=body, headers=held).json["turns"]  # type: ignore[index]
    assert (turn["mac"], turn["before"], turn["after"]) == (MAC, None, "vm")
    wrong = client.post(f"{BASE}/match/changes", json=body | {"text": "["}, headers=held).json
    assert wrong == {"machines": None, "turns": []}
    assert (services.live.path / "profiles/vm/profile.toml").read_text() == text


def test_channels_are_moved_by_errands_of_the_farm(client: FlaskClient, services: Services) -> None:
    release = "20260101-000000000002"
    body = {"release": release, "channel": "canary", "why": "it is good"}
    held = token(services, Role.OPERATOR)
    answer = client.post(f"{BASE}/profiles/vm/pin", json=body, headers=held)
    assert (answer.status_code, answer.json["state"]) == (202, "wanted")  # type: ignore[index]
    (errand,) = get(client, services, "/profiles/vm/errands")["items"]
    assert (errand["kind"], errand["release"], errand["channel"]) == ("pin", release, "canary")
    assert (errand["who"], errand["why"]) == ("api ann", "it is good")
    assert services.audit.page(action="release want pin")[0].subject == "vm/canary"
    refused = client.post(f"{BASE}/profiles/vm/unpin", json={}, headers=held)
    assert (refused.status_code, refused.json["error"]) == (409, "channel vm/stable is not pinned")  # type: ignore[index]


def test_a_merge_is_shown_decided_with_a_long_text_and_taken_back(
    client: FlaskClient, services: Services
) -> None:
    (found,) = (one for one in walk(client, services, "/merges?state=open") if "sshd" in one["path"])
    assert {one["state"] for one in walk(client, services, "/merges")} == {"open", "decided", "secret"}
    path = f"/merges/{found['id']}"
    shown = get(client, services, path)
    assert shown["base"].startswith("Port 22") and "<<<<<<< ours" in shown["proposed"]
    (secret,) = walk(client, services, "/merges?state=secret")
    assert get(client, services, f"/merges/{secret['id']}")["ours"] is None
    text = "# é\n" * 40_000
    body = {"choice": "text", "text": text, "why": "so"}
    answer = client.post(f"{BASE}{path}/decide", headers=token(services), json=body)
    assert (answer.status_code, answer.json["decision"]["choice"]) == (200, "text")  # type: ignore[index]
    assert client.post(f"{BASE}{path}/decide", headers=token(services), json=body).status_code == 409
    assert client.post(f"{BASE}{path}/undo", headers=token(services), json={"why": "no"}).status_code == 200
    body["text"] = "#\n" * 200_000
    assert client.post(f"{BASE}{path}/decide", headers=token(services), json=body).status_code == 409
    body["text"] = "#\n" * 1_000_000
    assert client.post(f"{BASE}{path}/decide", headers=token(services), json=body).status_code == 413
    for number in ("x", "0", "9" * 19, "99"):
        answer = client.get(f"{BASE}/merges/{number}", headers=token(services))
        assert answer.status_code == 404


def test_half_a_character_is_no_text(client: FlaskClient, services: Services) -> None:
    body = '{"why": "\\ud800"}'
    held = token(services) | {"Content-Type": "application/json"}
    answer = client.post(f"{BASE}/profiles/vm/promote", data=body, headers=held)
    assert (answer.status_code, "whole characters" in answer.text) == (400, True)


def test_a_token_does_what_its_scope_allows_and_no_more(client: FlaskClient, services: Services) -> None:
    held = token(services, Role.VIEWER)
    assert client.get(f"{BASE}/machines", headers=held).status_code == 200
    for refused in (
        client.post(f"{BASE}/machines/web1/arm", headers=held),
        client.get(f"{BASE}/audit", headers=held),
    ):
        assert refused.status_code == 403
        assert refused.json and "needs the role" in refused.json["error"]
    assert services.machine(MAC).state is MachineState.ASSIGNED


def test_a_browser_that_is_signed_in_changes_nothing_here_without_a_form_of_ours(
    client: FlaskClient, services: Services
) -> None:
    sign_in(client, services)
    assert client.post(f"{BASE}/machines/web1/arm").status_code == 403
    assert services.machine(MAC).state is MachineState.ASSIGNED


def test_a_file_of_a_profile_is_written_only_as_it_was_read(client: FlaskClient, services: Services) -> None:
    way, held = f"{BASE}/profiles/vm/file", token(services, Role.OPERATOR)
    read = client.get(f"{way}?name=world", headers=held)
    assert read.json and read.json["text"] == (services.live.path / "profiles/vm/world").read_text()
    tag = read.headers["ETag"]
    assert tag == f'"{read.json["sha256"]}"'
    body = {"name": "world", "text": "app-misc/x\n", "why": "the API"}

    def put(more: dict[str, str], **other: str) -> Any:
        answer = client.put(way, json=body | other, headers=held | more)
        return answer.status_code, answer.json

    assert put({})[0] == 428
    assert put({"If-Match": "*"})[0] == 400
    assert put({"If-Match": tag, "If-None-Match": "*"})[0] == 412
    assert put({"If-None-Match": "*"})[0] == put({"If-Match": f'"{"0" * 64}"'})[0] == 412
    assert put({"If-None-Match": "*"}, name="portage/bashrc") == (
        403,
        {"error": "portage/bashrc is for admins: it can make machines run anything as root", "hint": ""},
    )
    assert put({"If-None-Match": "*"}, name="../x")[0] == 409
    status, made = put({"If-Match": tag})
    assert (status, made["state"], made["who"], made["verb"]) == (202, "wanted", "api ann", "change")
    assert services.edits.do_next()
    assert put({"If-Match": tag})[0] == 412
    (change, *_) = get(client, services, "/profiles/vm/changes")["items"]
    assert (change["id"], change["state"], change["why"]) == (made["id"], "done", "the API")
    now = client.get(f"{way}?name=world", headers=held)
    assert now.json and now.json["text"] == body["text"]
    gone = client.delete(f"{way}?name=world", headers=held | {"If-Match": now.headers["ETag"]})
    assert gone.status_code == 202 and services.edits.do_next()
    assert client.get(f"{way}?name=world", headers=held).status_code == 404


def test_what_the_site_would_not_read_with_is_a_conflict(client: FlaskClient, services: Services) -> None:
    body = {"name": "profile.toml", "text": "colour = 1"}
    more = token(services) | {"If-None-Match": "*"}
    answer = client.put(f"{BASE}/profiles/new/file", json=body, headers=more)
    assert answer.status_code == 409 and "new/profile.toml:1: colour: unknown key" in answer.text


def test_values_have_their_places_and_the_site_its_mistakes(client: FlaskClient, services: Services) -> None:
    values = get(client, services, "/profiles/vm/values")["items"]
    flags = [one for one in values if one["key"] == "CFLAGS"]
    assert [(one["profile"], one["replaced_by"]) for one in flags] == [
        ("vm", ""),
        ("amd64", "vm/portage/make.conf:3"),
    ]
    files = {one["name"]: one["changed_by"] for one in get(client, services, "/profiles/vm/files")["items"]}
    assert files == {"portage/make.conf": "admin", "profile.toml": "admin", "world": "operator"}
    assert get(client, services, "/site")["complaints"] == []
    (services.live.path / "profiles/vm/profile.toml").write_text("[")
    (said,) = get(client, services, "/site")["complaints"]
    assert "profiles/vm/profile.toml:1" in said


@pytest.fixture
def described(app: Flask, services: Services) -> Any:
    # A change of what was not read is refused however well-formed it is.
    known = ["2xx", "403", "404", "409", "412", "428"]
    checks = {"checks": {"positive_data_acceptance": {"expected-statuses": known}}}
    config = schemathesis.Config.from_dict(checks)
    return schemathesis.openapi.from_wsgi(f"{BASE}/openapi.json", app, headers=token(services), config=config)


@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("name", [one.name for one in OPERATIONS])
def test_every_operation_does_what_the_document_says(
    described: Any, services: Services, name: str, mode: GenerationMode
) -> None:
    held = token(services)
    asked: list[int] = []

    @given(case=described.find_operation_by_id(name).as_strategy(generation_mode=mode))
    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        if any(value in ([], {}, None) for value in (case.query or {}).values()):
            return  # such words are not sent at all, and what is sent is right
        # Every other time about something that is there: made-up names are met by nothing.
        if len(asked) % 2 == 0 and case.path_parameters:
            case.path_parameters = {
                name: THERE.get(name, made) for name, made in case.path_parameters.items()
            }
            if mode is GenerationMode.POSITIVE:
                case.query = ASKED.get(name, case.query)
        asked.append(case.call_and_validate(headers=held).status_code)

    ask()
    assert asked
    (one,) = (one for one in OPERATIONS if one.name == name)
    if mode is GenerationMode.POSITIVE and set(VARIES.findall(one.path)) <= THERE.keys():
        assert set(asked) - {400, 404}, "something that is there was met"
