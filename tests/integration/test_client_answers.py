"""The whole way of a question: the client's own settling, real TLS, the server's own desk, and back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.merge_model import Asking, Choice, Ending
from appliance.services import Services
from distserver_client import answers
from distserver_client.services import Services as MachineServices
from distserver_client.talking import Talk
from distserver_client.triples import Policy, Settled, Settlement
from tests.client_yard import DoorThread, open_services
from tests.client_yard import settle as enrolled
from tests.etc_machines import BOTH, CLASH, HELD, LIVE, MINE, NEW, OLD, PROTECTED, Machine
from tests.mergeyard import mac, sha256

BOTH_BY_HAND = OLD.replace(b"key1=0", b"key1=agreed")
JSON = "/etc/thing.json"


@dataclass
class Client:
    """A machine with its root, and its talk with the server."""

    machine: Machine
    talk: Talk

    def settle(self) -> Settled:
        """As its agent does it when an order came."""
        one = self.machine
        order = self.talk.order()
        return answers.settle(
            one.root, one.shelf, self.talk, Policy(one.rules), one.state, PROTECTED,
            services=MachineServices(one.root, probe_seconds=0), news=order.merges > 0,
        )  # fmt: skip


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return open_services(tmp_path)


@pytest.fixture
def door(services: Services) -> Iterator[DoorThread]:
    with DoorThread(services).open() as opened:
        yield opened


def client(services: Services, door: DoorThread, place: Path, number: int = 1) -> Client:
    talk = Talk(enrolled(services, mac(number), place, door.port))
    services.clients.sign_next()
    assert talk.tend()
    root = place / f"root{number}"
    (root / "etc").mkdir(parents=True)
    machine = Machine(root)
    machine.update(OLD, MINE, CLASH)
    return Client(machine, talk)


def paths(some: Sequence[Settlement]) -> list[str]:
    return [one.path for one in some]


def test_two_clients_ask_once_get_the_same_bytes_and_go_back_when_it_is_taken_back(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one, two = (client(services, door, tmp_path, number) for number in (1, 2))
    for each in (one, two):
        assert paths(each.settle().asked) == [LIVE]
    (question,) = services.merges.find("open", limit=2)
    view = services.merges.view(question.id)
    assert (view.base.content, view.ours.content, view.theirs.content) == (OLD, MINE, CLASH)
    services.merges.decide(question.id, Choice.TEXT, BOTH_BY_HAND)
    for each in (one, two):
        assert paths(each.settle().applied) == [LIVE]
        assert each.machine.read() == BOTH_BY_HAND and each.machine.read(HELD) is None
    assert services.merges.view(question.id).tally == {Asking.APPLIED: 2}
    two.machine.lay(LIVE, b"by hand\n")
    services.merges.undo(question.id)
    assert paths(one.settle().asked) == [LIVE]
    assert one.machine.read() == MINE and one.machine.read(HELD) == CLASH
    two.settle()
    assert two.machine.read() == b"by hand\n"
    assert services.merges.view(question.id).tally == {Asking.ASKED: 1, Asking.GONE: 1}
    assert services.merges.question(question.id).state == "open"
    services.merges.decide(question.id, Choice.THEIRS)
    assert paths(one.settle().applied) == [LIVE] and one.machine.read() == CLASH


def test_ours_is_kept_and_asked_again_when_that_is_taken_back(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = client(services, door, tmp_path)
    one.machine.shelf.contents[sha256(CLASH)] = CLASH
    one.settle()
    services.merges.decide(1, Choice.OURS)
    assert paths(one.settle().kept) == [LIVE]
    assert services.merges.view(1).tally == {Asking.APPLIED: 1}
    assert one.settle() == Settled()
    services.merges.undo(1)
    assert paths(one.settle().asked) == [LIVE]
    assert one.machine.read() == MINE and services.merges.view(1).tally == {Asking.ASKED: 1}


def test_what_the_machines_validator_refuses_is_open_again_with_its_words(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = client(services, door, tmp_path)
    one.machine.update(b'{"a": 1}\n', b'{"a": 2}\n', b'{"a": 3}\n', path=JSON)
    one.settle()
    question = next(each for each in services.merges.find("open", limit=9) if each.triple.path == JSON)
    # The server would refuse it, too; this one got by.
    services.merges.keep(sha256(b"{,}\n"), b"{,}\n")
    services.merges.settle(question, Choice.TEXT, sha256(b"{,}\n"), who="web ann", why="")
    assert paths(one.settle().failed) == [JSON]
    assert one.machine.read(JSON) == b'{"a": 2}\n'
    (decision,) = services.merges.view(question.id).history
    assert decision.ended is Ending.REFUSED and "refused" in decision.ended_why
    assert services.merges.question(question.id).state == "open"


def test_what_a_crash_kept_from_being_told_is_told_by_the_next_run(
    services: Services, door: DoorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = client(services, door, tmp_path)
    one.settle()
    services.merges.decide(1, Choice.TEXT, BOTH_BY_HAND)
    with monkeypatch.context() as killed:
        killed.setattr(answers._Asking, "tell", lambda *_: None)
        one.settle()
    assert one.machine.read() == BOTH_BY_HAND
    assert services.merges.view(1).tally == {Asking.ASKED: 1}
    one.settle()
    assert services.merges.view(1).tally == {Asking.APPLIED: 1}


def test_the_server_lends_what_a_package_shipped_and_the_machine_never_kept(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    """A file that was changed before the agent first looked: its pristine version is in the release alone."""
    one, two = (client(services, door, tmp_path, number) for number in (1, 2))
    for each in (one, two):
        each.machine.update(OLD, MINE, NEW)
        each.machine.shelf.contents.clear()
    assert paths(one.settle().asked) == [LIVE]
    (services.tree.room("etc-base") / sha256(OLD)).write_bytes(OLD)
    assert paths(two.settle().applied) == [LIVE]
    assert two.machine.read() == BOTH


def test_without_its_server_a_machine_waits_and_loses_nothing(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = client(services, door, tmp_path)
    one.talk.identity.door.write_text("https://127.0.0.1:9\n")
    settled = answers.settle(
        one.machine.root, one.machine.shelf, one.talk, Policy(()), one.machine.state, PROTECTED, news=True
    )
    assert paths(settled.asked) == [LIVE] and one.machine.read() == MINE
