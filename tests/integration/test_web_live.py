"""The live connection as a server gives it: one look for all, a bound, and places that come free."""

import http.client
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from tests.webdoor import COOKIE, begin_session
from webui.app import make_app
from webui.live import MOST_LIVE, PULSE, Pulse
from webui.server import THREADS, make_server

MAC = "52:54:00:00:00:01"


class Door:
    """A served application whose connections are quick to notice that somebody went."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.opened: list[Services] = []
        app = make_app(self.services)
        self.pulse = app.extensions[PULSE] = Pulse(self.watched, most=2, look_seconds=0.05, alive_seconds=0.1)
        self.server = make_server(app, "127.0.0.1", 0)
        services = self.services()
        self.cookie = f"{COOKIE}={begin_session(services)}"

    def services(self) -> Services:
        return Services(example_site(), Tree(self.state))

    def watched(self) -> Services:
        self.opened.append(self.services())
        return self.opened[-1]

    def ask(self) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        host, port = self.server.bind_addr
        connection = http.client.HTTPConnection(host, port, timeout=30)
        connection.request("GET", "/live", headers={"Cookie": self.cookie})
        return connection, connection.getresponse()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    one = Door(tmp_path)
    one.server.prepare()
    thread = threading.Thread(target=one.server.serve, daemon=True)
    thread.start()
    yield one
    one.server.stop()
    thread.join()


def topics(answer: http.client.HTTPResponse) -> set[str]:
    """Of the next event."""
    while True:
        line = answer.readline().decode()
        assert line, "the stream ended"
        if line.startswith("data: "):
            return set(line.removeprefix("data: ").split())


def until(condition: Callable[[], bool]) -> None:
    wait_until(lambda: condition() or None, seconds=20, what="the pulse to be so")


def leave(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
    answer.close()
    connection.close()


def test_all_who_listen_hear_the_same_from_one_look_at_the_store(door: Door) -> None:
    callers = [door.ask() for _ in range(2)]
    for _, answer in callers:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        answer.readline()
    store = door.services().store
    # Whether the first look came before the change is not known: a change that it saw is none.
    until(lambda: bool(door.opened) and door.opened[0].changes.stamp is not None)
    store.machines.add(Machine(MAC, MachineState.DISCOVERED))
    assert [topics(answer) for _, answer in callers] == [{"machines", "releases"}] * 2
    store.questions.update("vm", [("use", "a/b", "Which?", "")], now=1.0)
    assert [topics(answer) for _, answer in callers] == [{"questions"}] * 2
    job = store.jobs.start("build", "vm", now=1.0)
    assert [topics(answer) for _, answer in callers] == [{"builds"}] * 2
    store.jobs.note(job, "half")
    assert [topics(answer) for _, answer in callers] == [{"builds"}] * 2
    assert len(door.opened) == 1
    for caller in callers:
        leave(*caller)


def test_a_browser_that_goes_away_frees_its_place_and_one_too_many_is_told_to_come_again(door: Door) -> None:
    first, second = door.ask(), door.ask()
    third = door.ask()
    assert (third[1].status, third[1].headers["Retry-After"]) == (503, "15")
    leave(*first)
    until(lambda: door.pulse.listeners == 1)
    again = door.ask()
    assert again[1].status == 200
    for caller in (second, again):
        leave(*caller)
    until(lambda: door.pulse.listeners == 0)


def test_nobody_looks_while_nobody_listens(door: Door) -> None:
    caller = door.ask()
    leave(*caller)
    until(lambda: door.pulse.listeners == 0 and not door.pulse.looks)
    caller = door.ask()
    assert caller[1].status == 200
    leave(*caller)
    until(lambda: len(door.opened) == 2)


def test_a_look_that_fails_is_logged_and_the_next_listener_starts_another(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Services:
        raise OSError("the disk is gone")

    door.pulse.open_services = broken
    leave(*door.ask())
    until(lambda: "the disk is gone" in caplog.text and not door.pulse.looks)
    door.pulse.open_services = door.watched
    caller = door.ask()
    until(lambda: len(door.opened) == 1)
    leave(*caller)


def test_live_connections_leave_threads_for_everybody_else() -> None:
    assert MOST_LIVE <= THREADS - 8
