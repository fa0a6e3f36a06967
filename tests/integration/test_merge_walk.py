"""A question of three machines of two profiles, in chroots: to a person by command, page, API, and back."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.account_model import Role
from appliance.cli import main
from appliance.services import Services
from tests.client_yard import DoorThread, open_services
from tests.client_yard import settle as enrolled
from tests.etc_chroots import Chroot, chroots
from tests.etc_machines import BOTH, CLASH, MINE, NEW, OLD
from tests.mergeyard import mac, sha256
from tests.webdoor import make_account, sign_in
from webui.api.area import BASE as API
from webui.app import make_app

CLEAN, CLASHES, SECRET = "/etc/conf.d/clean", "/etc/conf.d/clashes", "/etc/app/db.conf"
AGREED = OLD.replace(b"key1=0", b"key1=agreed")
PROFILES = ("vm", "vm", "desk")
RULE = '\n[[client.config]]\npath = "/etc/app/*"\nsecret = true\n'


@pytest.fixture
def services(tmp_path: Path) -> Services:
    made = open_services(tmp_path)
    profiles = made.live.path / "profiles"
    shutil.copytree(profiles / "vm", profiles / "desk")
    with (profiles / "vm/profile.toml").open("a") as file:
        file.write(RULE)
    return made


@pytest.fixture
def machines(services: Services, tmp_path: Path) -> Iterator[list[Chroot]]:
    """After the same update, with the same local changes."""
    with chroots(tmp_path, len(PROFILES)) as made, DoorThread(services).open() as door:
        for number, machine in enumerate(made):
            identity = enrolled(services, mac(number), tmp_path, door.port, profile=PROFILES[number])
            services.clients.sign_next()
            for file in identity.home.iterdir():
                machine.lay(f"/etc/distserver/{file.name}", file.read_bytes(), 0o600)
            machine.update(CLEAN, OLD, MINE, NEW)
            machine.update(CLASHES, OLD, MINE, CLASH)
            machine.update(SECRET, OLD, MINE, CLASH.replace(b"key2=0", b"key2=secret"))
        yield made


def command(services: Services, *words: str) -> int:
    return main(
        ["--state", str(services.tree.path), "merge", words[0], "--site", str(services.live.path), *words[1:]]
    )


def test_one_question_once_for_all_machines_with_the_same_triple(
    services: Services, machines: list[Chroot], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for machine, profile in zip(machines, PROFILES, strict=True):
        waits = {"vm": {"asked": [CLASHES], "secret": [SECRET]}, "desk": {"asked": [SECRET, CLASHES]}}
        done = {name: sorted(found) for name, found in machine.settle().items()}
        assert done.pop("applied") == [CLEAN] and machine.read(CLEAN) == BOTH
        assert done == {name: sorted(paths) for name, paths in waits[profile].items()}
    # By commands: one question with three machines of two profiles, and a secret.
    assert command(services, "list") == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "/etc/" in one)
    assert CLASHES in line and "3 machines of desk, vm" in line
    (question,) = services.merges.find("open", limit=9)
    (secret,) = services.merges.find("secret", limit=9)
    assert command(services, "show", str(secret.id)) == 0
    said = capsys.readouterr().out
    assert "secret" in said and "key1" not in said and "waits: 3 machines of desk, vm" in said
    assert command(services, "decide", str(secret.id), "ours") == 1
    assert "decided on its machine" in capsys.readouterr().err
    # By page and API: the same two, and of the secret nothing but hashes.
    browser = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(browser, services, Role.OPERATOR, "bob")
    assert "3 machines" in browser.get("/merges").text
    page = browser.get(f"/merge/{secret.id}").text
    assert "distserver-client merge" in page and "key1" not in page
    make_account(services, "ann", Role.ADMIN)
    ann = services.accounts.get("ann")
    _, token = services.api_tokens.make(ann, Role.ADMIN.value, Role.ADMIN, days=1)
    may = {"Authorization": f"Bearer {token}"}
    shown = json.loads(browser.get(f"{API}/merges/{secret.id}", headers=may).text)
    assert (shown["ours"], shown["theirs"], shown["proposed"]) == (None, None, None)
    assert json.loads(browser.get(f"{API}/merges/{question.id}", headers=may).text)["ours"] == MINE.decode()
    assert services.merges.content(sha256(CLASH.replace(b"key2=0", b"key2=secret"))) is None
    # One answer, the same bytes everywhere.
    text = tmp_path / "text"
    text.write_bytes(AGREED)
    assert command(services, "decide", str(question.id), "--file", str(text)) == 0
    for machine in machines:
        assert list(machine.settle()["applied"]) == [CLASHES]
        assert machine.read(CLASHES) == AGREED
    # The secret is answered on each machine; the server hears that it waits no more.
    first, *others = machines
    assert SECRET in first.merge("list", status=1).stdout
    assert "+key2=secret" in first.merge("show", SECRET).stdout
    first.merge("decide", SECRET, "theirs")
    assert b"key2=secret" in first.read(SECRET)
    assert first.settle() == {} and services.merges.question(secret.id).waiting == 2
    first.merge("undo", SECRET)
    assert first.read(SECRET) == MINE
    # Taken back by the API: every machine has its own old file again, and asks.
    capsys.readouterr()
    path = f"{API}/merges/{question.id}/undo"
    assert browser.post(path, headers=may, json={"why": "no"}).status_code == 200
    for machine in (first, *others):
        assert CLASHES in machine.settle()["asked"]
        assert machine.read(CLASHES) == MINE
    assert services.merges.question(question.id).waiting == 3
