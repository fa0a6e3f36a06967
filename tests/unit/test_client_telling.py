"""Steps are told as they happen, and a server that does not listen costs an update next to nothing."""

from dataclasses import dataclass, field

import pytest

from distserver_client.errors import Away, Problem
from distserver_client.talking import Identity, Talk
from distserver_client.telling import MOST_FAILURES, SOON_SECONDS, Teller
from distserver_client.updating import Step


@dataclass
class Listener(Talk):
    """A talk whose server takes notes, or fails as it is told to."""

    heard: list[tuple[str, str, str, dict[str, float | int]]] = field(default_factory=list)
    tries: list[float] = field(default_factory=list)
    failure: list[Exception] = field(default_factory=list)

    def event(self, stage: str, status: str = "done", message: str = "", **took: float | int) -> None:
        self.tries.append(self.answer_seconds)
        if self.failure:
            raise self.failure[0]
        self.heard.append((stage, status, message, took))


@pytest.fixture
def listener(tmp_path_factory: pytest.TempPathFactory) -> Listener:
    return Listener(Identity(tmp_path_factory.mktemp("home")))


def test_long_steps_are_told_when_they_begin_and_short_ones_only_when_they_matter(listener: Listener) -> None:
    teller = Teller(listener)
    for step, seconds, size in ((Step.MANIFEST, 0.1, 0), (Step.FILES, 0.1, 9), (Step.EMERGE, 0.2, 0)):
        teller.begun(step)
        teller.ended(step, seconds=seconds, received_bytes=size)
    teller.ended(Step.CLEAN, seconds=1.04, received_bytes=0)
    teller.failed(Step.KERNEL, "x" * 9999)
    assert [one[:2] for one in listener.heard] == [
        ("update files", "done"),
        ("update emerge", "begin"),
        ("update emerge", "done"),
        ("update clean", "done"),
        ("update kernel", "failed"),
    ]
    assert listener.heard[0][3] == {"seconds": 0.1, "bytes": 9} and len(listener.heard[-1][2]) == 1000


@pytest.mark.parametrize("failure", [Away("gone"), Problem("no"), OSError("wire")])
def test_a_server_that_fails_is_left_alone_soon(listener: Listener, failure: Exception) -> None:
    listener.failure.append(failure)
    teller = Teller(listener)
    for _ in range(20):
        teller.begun(Step.EMERGE)
    assert listener.tries == [SOON_SECONDS] * MOST_FAILURES


def test_one_that_fails_once_is_told_the_rest(listener: Listener) -> None:
    teller = Teller(listener)
    for failing in (True, False, True, False):
        listener.failure[:] = [Away("busy")] if failing else []
        teller.begun(Step.EMERGE)
    assert len(listener.heard) == 2


def test_without_a_server_nothing_is_told() -> None:
    Teller(None).failed(Step.EMERGE, "x")
