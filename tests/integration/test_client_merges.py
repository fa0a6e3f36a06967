"""Merges through the real door: the agent's own talk over TLS, the server's own desk, what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.merge_model import MOST_BODY_BYTES, MOST_FILE_BYTES, Asking, Choice
from appliance.services import Services
from distserver_client.news import Became, News
from distserver_client.talking import Talk
from distserver_client.triples import Item, State
from tests.client_yard import Caller, DoorThread, enrol, open_services, settle
from tests.mergeyard import BASE, MERGED, OURS, PATH, THEIRS, item, mac, sha256

ITEM = Item(PATH, sha256(BASE), sha256(OURS), sha256(THEIRS), 0o600, False, "both changed line 1")


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return open_services(tmp_path)


@pytest.fixture
def door(services: Services) -> Iterator[DoorThread]:
    with DoorThread(services).open() as opened:
        yield opened


def talk(services: Services, door: DoorThread, place: Path, number: int) -> Talk:
    """Of a machine that has its certificate."""
    made = Talk(settle(services, mac(number), place, door.port))
    services.clients.sign_next()
    assert made.tend()
    return made


def test_a_question_is_asked_answered_fetched_applied_and_taken_back(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one, two = (talk(services, door, tmp_path, number) for number in (1, 2))
    (answer,) = one.known([ITEM])
    assert (answer.state, set(answer.wants)) == (State.ASKED, set(map(sha256, (BASE, OURS, THEIRS))))
    for content in (BASE, OURS, THEIRS):
        one.give(sha256(content), content)
    (answer,) = two.known([ITEM])
    assert (answer.state, answer.wants) == (State.ASKED, ())
    assert one.news() == [] and one.order().merges == 0
    (question,) = services.merges.find("open", limit=2)
    assert (question.waiting, question.why, question.mode) == (2, ITEM.why, 0o600)
    services.merges.decide(question.id, Choice.TEXT, MERGED)
    for client in (one, two):
        assert client.order().merges == 1
        (news,) = client.news()
        assert news == News(PATH, *question.triple.hashes, sha256(MERGED), State.DECIDED)
        assert client.known([ITEM])[0].result == sha256(MERGED)
        assert client.get(news.result) == MERGED
        assert client.told(ITEM, Became.APPLIED, sha256(MERGED))
        assert client.order().merges == 0
    services.merges.undo(question.id)
    (news,) = one.news()
    assert (news.state, news.result, one.order().merges) == (None, sha256(MERGED), 1)
    assert one.get(news.ours) == OURS
    assert one.told(news, Became.REVERTED, news.result)
    assert two.told(news, Became.CHANGED, news.result)
    assert services.merges.view(question.id).tally == {Asking.ASKED: 1, Asking.GONE: 1}
    assert not one.told(ITEM, Became.APPLIED, sha256(MERGED))


def test_a_result_that_a_machine_refuses_is_asked_again(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = talk(services, door, tmp_path, 1)
    one.known([ITEM])
    services.merges.decide(1, Choice.THEIRS)
    assert one.known([ITEM])[0].state is State.THEIRS
    assert one.told(ITEM, Became.REFUSED, sha256(THEIRS), "sshd -t: no")
    assert services.merges.count("open") == 1
    assert services.merges.view(1).askers[0].said == "sshd -t: no"


def test_what_is_too_large_or_secret_stays_on_the_machine(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = talk(services, door, tmp_path, 1)
    large = b"x" * (MOST_FILE_BYTES + 1)
    (answer,) = one.known([Item("/etc/large", "", sha256(large), sha256(THEIRS), 0o644, False, "")])
    assert sha256(large) in answer.wants
    one.give(sha256(large), large)
    (answer,) = one.known([Item("/etc/shadow", "", sha256(OURS), sha256(THEIRS), 0o600, True, "")])
    assert (answer.state, answer.wants) == (State.ASKED, ())
    assert services.store.contents.bytes_of() == 0


def test_what_makes_no_sense_is_one_sentence_and_the_door_stays_open(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    caller = enrol(services, mac(1), tmp_path, door.port)
    for body in (b"", b"\xff\x00", b"[" * 50_000, b"{}", b"[1]", json.dumps([{"path": 1}]).encode()):
        answer = caller.ask("POST", "/client/merges", body)
        assert (answer.status, len(answer.json["error"].splitlines())) == (400, 1)
    assert caller.ask("POST", "/client/merges", b" " * (MOST_BODY_BYTES + 1)).status == 413
    large = b"x" * (MOST_FILE_BYTES + 1)
    assert caller.ask("PUT", f"/client/blob/{sha256(large)}", large).status == 413
    for name in ("0" * 64, "..%2f..%2fkeys", "x"):
        assert caller.ask("PUT", f"/client/blob/{name}", b"content").status == 400
        assert caller.ask("GET", f"/client/blob/{name}").status == 404
    answer = caller.ask("POST", "/client/merges", json.dumps([item()]).encode())
    assert answer.json[0]["state"] == "asked"


def test_who_has_no_certificate_of_a_machine_gets_nothing(services: Services, door: DoorThread) -> None:
    visitor = Caller(door.port, services.clients.keys.authority)
    for method, path in (
        ("POST", "/client/merges"),
        ("GET", "/client/merges"),
        ("PUT", f"/client/blob/{'0' * 64}"),
        ("GET", f"/client/blob/{'0' * 64}"),
    ):
        assert visitor.ask(method, path, b"[]").status == 401
    assert services.merges.after("", 0, limit=1) == []
