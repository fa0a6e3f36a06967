"""The door of installed machines over real TLS: who gets in, who does not, and what cannot end it."""

import logging
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import client_keys
from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.model import MachineState
from appliance.run import run
from appliance.services import Services
from appliance.web_keys import EC as WEB_EC
from pxe import client_door
from tests.client_yard import (
    ADDRESS,
    SOON_SECONDS,
    Caller,
    DoorThread,
    add_machine,
    enrol,
    make_key,
    open_services,
)

ONE, TWO = "52:54:00:00:00:01", "52:54:00:00:00:02"
REFUSED = (ssl.SSLError, ConnectionError)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return open_services(tmp_path)


@pytest.fixture
def door(services: Services) -> Iterator[DoorThread]:
    with DoorThread(services).open() as opened:
        yield opened


def stranger(services: Services, door: DoorThread) -> Caller:
    return Caller(door.port, services.clients.keys.authority)


def self_signed(place: Path, *, days: int = 30) -> tuple[Path, Path]:
    key, certificate = place / "own.key", place / "own.crt"
    words: list[str | Path] = ["-subj", "/CN=machine", "-days", str(days)]
    words += ["-keyout", key, "-out", certificate]
    run(["openssl", "req", "-new", "-x509", *WEB_EC, *words])
    return certificate, key


def test_a_machine_enrols_fetches_its_certificate_and_gets_its_order(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    secret = add_machine(services, ONE)
    key, request = make_key(tmp_path)
    (word, number) = services.desk.enroll(f"report {secret}\n{request}").split()
    assert word == "key"
    visitor = stranger(services, door)
    assert visitor.ask("GET", f"/client/certificate/{number}").status == 202
    signed = services.clients.sign_next()
    assert signed and signed.mac == ONE and services.clients.sign_next() is None
    answer = visitor.ask("GET", f"/client/certificate/{number}")
    assert answer.status == 200
    certificate = tmp_path / "machine.crt"
    certificate.write_text(answer.text)
    said = run(["openssl", "x509", "-in", certificate, "-noout", "-text"]).stdout
    assert f"CN = machine {ONE}" in said and "evil" not in said
    assert "TLS Web Client Authentication" in said and "CA:FALSE" in said
    order = Caller(door.port, visitor.authority, certificate, key).ask("GET", "/client/order")
    assert order.status == 200 and len(order.text) < 2048
    assert (order.json["machine"], order.json["go"]) == (ONE, False)
    assert "names no release" in order.json["why"]


def test_the_same_key_again_is_the_same_and_another_one_replaces_it(
    services: Services, tmp_path: Path
) -> None:
    secret = add_machine(services, ONE)
    _, request = make_key(tmp_path, "one")
    _, other = make_key(tmp_path, "two")
    first = services.desk.enroll(f"report {secret}\n{request}")
    services.clients.sign_next()
    assert services.desk.enroll(f"report {secret}\n{request}") == first
    assert services.desk.clients.certificate(first.split()[1])
    second = services.desk.enroll(f"report {secret}\n{other}")
    assert services.desk.clients.certificate(first.split()[1]) is None
    assert services.desk.clients.certificate(second.split()[1]) == ""
    thief = add_machine(services, TWO)
    with pytest.raises(Problem, match="another machine has this key"):
        services.desk.enroll(f"report {thief}\n{other}")


def test_nobody_enrols_without_the_secret_of_an_installation(services: Services, tmp_path: Path) -> None:
    secret = add_machine(services, ONE)
    _, request = make_key(tmp_path)
    assert services.desk.enroll(f"report {'0' * 32}\n{request}").startswith("stop ")
    with pytest.raises(Problem, match="line 1"):
        services.desk.enroll(request)
    services.disarm(ONE)
    assert services.desk.enroll(f"report {secret}\n{request}").startswith("stop ")


def test_a_request_that_its_own_key_did_not_sign_is_refused_by_the_farm(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    secret = add_machine(services, ONE)
    _, request = make_key(tmp_path)
    lines = request.splitlines()
    # The signature's last octets.
    lines[-2] = ("A" if lines[-2][0] != "A" else "B") + lines[-2][1:]
    number = services.desk.enroll(f"report {secret}\n" + "\n".join(lines)).split()[1]
    services.clients.sign_next()
    assert services.clients.sign_next() is None
    answer = stranger(services, door).ask("GET", f"/client/certificate/{number}")
    assert answer.status == 400 and "not signed by its own key" in answer.text


def test_without_a_certificate_only_certificates_are_handed_out(services: Services, door: DoorThread) -> None:
    visitor = stranger(services, door)
    for method, path in (("GET", "/client/order"), ("POST", "/client/report"), ("POST", "/client/event")):
        assert visitor.ask(method, path, b"{}" if method == "POST" else None).status == 401
    for path in ("/client/certificate/" + "0" * 64, "/client/certificate/..%2f", "/", "/etc/passwd"):
        assert visitor.ask("GET", path).status == 404
    assert visitor.ask("POST", "/client/order", b"").status == 405


def test_certificates_of_other_authorities_and_servers_are_refused_in_the_handshake(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    authority = services.clients.keys.authority
    for certificate, key in (
        self_signed(tmp_path),
        # The door's own: of the right authority, but for servers.
        (services.clients.keys.served, services.clients.keys.served),
    ):
        with pytest.raises(REFUSED):
            Caller(door.port, authority, certificate, key).ask("GET", "/client/order")
    assert stranger(services, door).ask("GET", "/client/order").status == 401


def test_a_certificate_that_ended_is_refused_and_the_next_one_waits_for_its_key(
    services: Services, door: DoorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_keys, "DAYS", 0)
    caller = enrol(services, ONE, tmp_path, door.port)
    assert caller.certificate
    end = run(["openssl", "x509", "-in", caller.certificate, "-noout", "-enddate"]).stdout
    with pytest.raises(REFUSED):
        wait_until(
            lambda: None if caller.ask("GET", "/client/order").status == 200 else True,
            seconds=SOON_SECONDS,
            what=f"it ends: {end}",
        )
    monkeypatch.undo()
    known = services.store.clients.key_of(ONE)
    assert known
    services.store.database.execute("UPDATE client_key SET ends_at = 1")
    assert services.clients.sign_next()
    caller.certificate.write_text(
        stranger(services, door).ask("GET", f"/client/certificate/{known.key}").text
    )
    assert caller.ask("GET", "/client/order").status == 200


def test_a_renewed_certificate_counts_beside_the_one_before(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    caller = enrol(services, ONE, tmp_path, door.port)
    services.store.database.execute("UPDATE client_key SET ends_at = 1")
    assert services.clients.sign_next() and services.clients.sign_next() is None
    assert caller.ask("GET", "/client/order").status == 200
    known = services.store.clients.key_of(ONE)
    assert known and caller.certificate and known.certificate != caller.certificate.read_text()
    caller.certificate.write_text(known.certificate)
    assert caller.ask("GET", "/client/order").status == 200


def test_a_retired_machine_and_one_that_is_installed_anew_are_refused(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one, two = (enrol(services, mac, tmp_path, door.port) for mac in (ONE, TWO))
    assert one.ask("GET", "/client/order").json["machine"] == ONE
    assert two.ask("GET", "/client/order").json["machine"] == TWO
    services.machine_desk.retire(ONE)
    answer = one.ask("GET", "/client/order")
    assert answer.status == 403 and "no machine has this certificate" in answer.text
    services.arm(TWO)
    assert two.ask("GET", "/client/order").status == 200
    services.store.machines.move(TWO, MachineState.INSTALLING)
    secret = services.store.tokens.issue(TWO, "report", now=services.clock(), lifetime_seconds=3600)
    services.desk.enroll(f"report {secret}\n{make_key(tmp_path, 'new')[1]}")
    assert two.ask("GET", "/client/order").status == 403
    assert two.ask("POST", "/client/report", b'{"phase": "current"}').status == 403


def test_reports_that_make_no_sense_are_refused_with_a_sentence(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    caller = enrol(services, ONE, tmp_path, door.port)
    for body, said in (
        (b"", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b"[]", "list"),
        (b"{}", "phase"),
        (b'{"phase": "current", "release": "../../etc"}', "release"),
        (b'{"phase": "current", "packages": 1e999}', "packages"),
        (b'{"phase": "current", "drift": {"a": 1}}', "drift"),
    ):
        answer = caller.ask("POST", "/client/report", body)
        assert answer.status == 400 and said in answer.text, body
    assert caller.ask("POST", "/client/report", b" " * 70_000).status == 413
    assert services.store.clients.reports(ONE) == []
    assert caller.ask("POST", "/client/report", b'{"phase": "current"}').status == 200
    assert caller.ask("POST", "/client/event", b'{"stage": "fetch", "seconds": 2, "bytes": 9}').status == 200
    event = services.show_machine(ONE).events[-1][1]
    assert (event.stage, event.seconds, event.size_bytes) == ("fetch", 2.0, 9)


def test_garbage_slow_ones_and_many_do_not_end_it(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_door, "HANDSHAKE_SECONDS", 1.0)
    with DoorThread(services, most=40).open() as door:
        caller = enrol(services, ONE, tmp_path, door.port)
        for nonsense in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\xff\xff" + b"\0" * 9000,
            b"\xff" * 3000,
        ):
            with socket.create_connection((ADDRESS, door.port), timeout=SOON_SECONDS) as link:
                link.sendall(nonsense)
        # One octet of a handshake and nothing more, by more than there may be at a time.
        slow = [socket.create_connection((ADDRESS, door.port), timeout=SOON_SECONDS) for _ in range(60)]
        for link in slow:
            link.sendall(b"\x16")
        wait_until(
            lambda: caller.ask("GET", "/client/order").status == 200 or None,
            seconds=SOON_SECONDS,
            what="it is served",
        )
        for link in slow:
            assert link.recv(1) == b""
            link.close()
        assert caller.ask("GET", "/client/order").status == 200
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_headers_that_are_no_http_and_a_body_that_does_not_come_end_one_connection_only(
    services: Services, door: DoorThread, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caller = enrol(services, ONE, tmp_path, door.port)
    for request in (b"\0\0\0\r\n\r\n", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n"):
        with (
            socket.create_connection((ADDRESS, door.port), timeout=SOON_SECONDS) as plain,
            caller.context().wrap_socket(plain, server_hostname=ADDRESS) as link,
        ):
            link.sendall(request)
            assert b" 400 " in link.recv(1000)
    with (
        socket.create_connection((ADDRESS, door.port), timeout=SOON_SECONDS) as plain,
        caller.context().wrap_socket(plain, server_hostname=ADDRESS) as link,
    ):
        link.sendall(b"POST /client/report HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert caller.ask("GET", "/client/order").status == 200
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_the_doors_key_is_for_the_boot_process_and_its_authority_is_another_than_the_web_pages(
    services: Services,
) -> None:
    keys = services.clients.keys
    assert keys.served.stat().st_mode & 0o777 == 0o640
    assert (keys.pair.home / "authority").stat().st_mode & 0o777 == 0o700
    assert keys.authority.parent.name == "clients"
    assert not keys.keep("lab", ("localhost", ADDRESS), group=0)
    assert keys.keep("lab", ("localhost", ADDRESS, "10.0.0.1"), group=0)
