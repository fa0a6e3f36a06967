"""Keys of encrypted disks over the real door: who gets them, who does not, and what is left behind."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client_keys import ClientKeys
from appliance.disk_keys import objection
from appliance.errors import Problem
from appliance.model import MachineState
from appliance.sealed import NONCE_BYTES, seal, unseal
from appliance.services import Services
from tests.client_yard import Answer, Caller, DoorThread, enrol, open_services

ONE, TWO = "52:54:00:00:00:01", "52:54:00:00:00:02"
UUID = "01234567-89ab-cdef-0123-456789abcdef"
ASK, KEY = "a" * 64, "b" * 64
PHRASE = "abcde-fghjk-mnpqr-stuvw-xyz23-45678"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return open_services(tmp_path)


@pytest.fixture
def door(services: Services) -> Iterator[DoorThread]:
    with DoorThread(services).open() as opened:
        yield opened


def handed(caller: Caller, uuid: str = UUID) -> Answer:
    container = {"uuid": uuid, "name": "root", "key": KEY, "recovery": PHRASE}
    body = json.dumps({"ask": ASK, "containers": [container]}).encode()
    return caller.ask("POST", "/client/disk-keys", body)


def installing(services: Services, mac: str, place: Path, port: int) -> Caller:
    caller = enrol(services, mac, place, port)
    services.store.machines.move(mac, MachineState.ARMED)
    services.store.machines.move(mac, MachineState.INSTALLING)
    return caller


def asked(door: DoorThread, services: Services, ask: str = ASK, uuid: str = UUID) -> Answer:
    nobody = Caller(door.port, services.clients.keys.authority)
    return nobody.ask("POST", "/client/unlock", json.dumps({"uuid": uuid, "ask": ask}).encode())


def test_a_key_is_given_to_who_has_the_machines_secret_and_each_time_is_audited(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    caller = installing(services, ONE, tmp_path, door.port)
    assert handed(caller).status == 200
    services.store.machines.move(ONE, MachineState.INSTALLED)
    answer = asked(door, services)
    assert (answer.status, answer.text) == (200, KEY)
    assert asked(door, services, ask="c" * 64).status == 400
    assert KEY not in asked(door, services, uuid=UUID.replace("0", "1")).text
    (known,) = services.disk_keys.of(services.machine(ONE))
    assert known.releases == 1
    assert KEY not in repr(known) and PHRASE not in repr(known)
    said = [(row.action, row.subject) for row in services.store.audit.page()]
    for action in ("disk key take", "disk key release", "disk key refuse"):
        assert (action, ONE) in said


def test_a_machine_that_is_not_being_installed_hands_nothing_over(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    caller = enrol(services, ONE, tmp_path, door.port)
    assert handed(caller).status == 400
    assert handed(Caller(door.port, services.clients.keys.authority)).status == 401


def test_nobody_takes_the_place_of_another_machines_container(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    assert handed(installing(services, ONE, tmp_path, door.port)).status == 200
    assert "another machine" in handed(installing(services, TWO, tmp_path, door.port)).text


def test_a_machine_that_is_revoked_installed_anew_or_retired_gets_nothing(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    assert handed(installing(services, ONE, tmp_path, door.port)).status == 200
    machine = services.machine(ONE)
    services.disk_keys.revoke(machine, True)
    assert asked(door, services).status == 400
    services.disk_keys.revoke(machine, False)
    assert asked(door, services).status == 200
    services.store.clients.forget(ONE)  # what a new plan does
    assert asked(door, services).status == 400
    services.store.machines.move(ONE, MachineState.INSTALLED)
    services.machine_desk.retire(ONE)
    assert asked(door, services).status == 400
    assert services.store.disk_keys.get(UUID) is None


def test_the_recovery_passphrase_is_shown_once(services: Services, door: DoorThread, tmp_path: Path) -> None:
    assert handed(installing(services, ONE, tmp_path, door.port)).status == 200
    machine = services.machine(ONE)
    assert services.disk_keys.recovery(machine) == {"root": PHRASE}
    with pytest.raises(Problem, match="no recovery passphrase"):
        services.disk_keys.recovery(machine)
    assert asked(door, services).status == 200


def test_the_key_of_the_keys_is_for_root_and_the_boot_process_alone_and_stays(services: Services) -> None:
    keys = ClientKeys.below(services.tree)
    place = keys.pair.home / "disks.key"
    assert place.stat().st_mode & 0o777 == 0o640
    before = keys.disks_key()
    keys.keep("lab", ("localhost",), group=0)
    assert keys.disks_key() == before and len(before) == 32


def test_what_was_sealed_with_another_key_or_changed_is_not_opened() -> None:
    sealed = seal(b"k" * 32, PHRASE, b"n" * NONCE_BYTES)
    assert unseal(b"k" * 32, sealed) == PHRASE and PHRASE.encode().hex() not in sealed
    other = ("0" if sealed[60] != "0" else "1").join((sealed[:60], sealed[61:]))
    for key, text in ((b"x" * 32, sealed), (b"k" * 32, other)):
        with pytest.raises(Problem, match="was not sealed with this server's own key"):
            unseal(key, text)


def test_a_wrong_secret_is_told_from_a_revoked_one_in_the_log_only(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    assert handed(installing(services, ONE, tmp_path, door.port)).status == 200
    known = services.store.disk_keys.get(UUID)
    assert known
    assert objection(known, ask=ASK, enrolled=known.enrolled) == ""
    assert objection(known, ask=KEY, enrolled=known.enrolled) == "the secret is not the machine's"
    assert "not enrolled" in objection(known, ask=ASK, enrolled="")
    wrong = asked(door, services, ask=KEY).text
    services.disk_keys.revoke(services.machine(ONE), True)
    assert asked(door, services).text == wrong
