"""Webhooks over real sockets: who is told what, receivers that fail, hang or lead elsewhere, and restarts."""

import hashlib
import hmac
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.client_order import Rollout, RolloutState
from appliance.courier import post
from appliance.errors import Problem
from appliance.model import MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.migrations.webhooks import MOST_KEPT
from appliance.webhook_model import EVENT, PAUSES, SIGNATURE, Answer, DeliveryState, Happening
from buildfarm.signing import Signer
from tests.press import Press
from tests.webdoor import sign_in, submit, token_on
from webui.app import make_app

MAC = "52:54:00:00:00:01"
SECONDS = 5.0


@dataclass
class Receiver:
    """An HTTP server that notes what it is told."""

    url: str = ""
    status: int = 200
    location: str = ""
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def events(self) -> list[str]:
        return [headers[EVENT] for headers, _ in self.came]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.came.append((dict(self.headers.items()), message))
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?to=me"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@dataclass
class Clock:
    ahead: float = 0.0

    def __call__(self) -> float:
        return NOW + self.ahead


NOW = 4102444800.0
"""After whatever the store's own clock says: what happened is due."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"), clock)


def send(services: Services, seconds: float = SECONDS) -> int:
    return services.webhooks.send_due(partial(post, seconds=seconds))


def publish(services: Services) -> None:
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    press.published(b"one")


def roll_back(services: Services) -> None:
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    press.published(b"one")
    press.published(b"two")
    services.release_desk.rollback("vm", who="ann", why="it is slow")


def end_build(services: Services, failure: str) -> None:
    job = services.store.jobs.start("build", "vm", now=NOW)
    services.store.jobs.end(job, "failed", now=NOW, message="it went wrong", failure=failure)


def end_installation(services: Services, *states: MachineState) -> None:
    services.add_machine(MAC, profile="vm", name="web1")
    services.arm(MAC)
    for state in (MachineState.INSTALLING, *states):
        services.store.machines.move(MAC, state, problem="it went wrong", release="r1")


def ask(services: Services) -> None:
    for _ in range(2):
        services.store.questions.update("vm", [("use", "dev-lang/python", "Which one?", "python")], now=NOW)


def fail_to_synchronise(services: Services) -> None:
    for _ in range(2):
        services.store.snapshots.failed("gentoo", problem="it went wrong", now=NOW)


CAUSES: dict[Happening, tuple[Callable[[Services], None], str, str]] = {
    Happening.RELEASE_PUBLISHED: (publish, "vm/stable", ""),
    Happening.ROLLOUT_STOPPED: (roll_back, "vm/stable", "it is slow"),
    Happening.RELEASE_REFUSED: (partial(end_build, failure="gate"), "vm", "it went wrong"),
    Happening.BUILD_FAILED: (partial(end_build, failure="compile"), "vm", "it went wrong"),
    Happening.MACHINE_INSTALLED: (lambda s: end_installation(s, MachineState.INSTALLED), MAC, "web1 r1"),
    Happening.MACHINE_FAILED: (
        lambda s: end_installation(s, MachineState.FAILED),
        MAC,
        "web1 it went wrong",
    ),
    Happening.QUESTION_WAITS: (ask, "vm dev-lang/python", "Which one?"),
    Happening.REPOSITORY_FAILED: (fail_to_synchronise, "gentoo", "it went wrong"),
}


@pytest.mark.parametrize("happening", Happening)
def test_each_happening_is_told_once_to_those_who_want_it(
    services: Services, receiver: Receiver, happening: Happening
) -> None:
    _, secret = services.webhooks.add(receiver.url, [happening.value])
    others = [one.value for one in Happening if one is not happening]
    cause, subject, detail = CAUSES[happening]
    with receiving() as other:
        services.webhooks.add(other.url, others)
        cause(services)
        send(services)
        assert happening.value not in other.events()
    assert receiver.events() == [happening.value]
    headers, message = receiver.came[0]
    told = json.loads(message)
    assert (told["event"], told["subject"]) == (happening.value, subject)
    assert detail in told["detail"]
    assert told["site"] == services.live.now().name
    expected = hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={expected}"


def test_a_rollout_that_stops_is_told_once(services: Services, receiver: Receiver) -> None:
    services.webhooks.add(receiver.url, [Happening.ROLLOUT_STOPPED.value])
    going = Rollout("vm", "stable", "r2", 3, RolloutState.CANARY, NOW)
    stopped = replace(going, state=RolloutState.STOPPED, why="web1 failed")
    for one in (going, stopped, replace(stopped, canaries=(MAC,))):
        services.store.rollouts.put(one)
    send(services)
    (told,) = (json.loads(message) for _, message in receiver.came)
    assert (told["subject"], told["detail"]) == ("vm/stable", "r2 web1 failed")


def test_what_is_rolled_back_in_the_store_is_told_to_nobody(services: Services, receiver: Receiver) -> None:
    services.webhooks.add(receiver.url, [Happening.BUILD_FAILED.value])
    with pytest.raises(ZeroDivisionError), services.store.database.change():
        end_build(services, "compile")
        raise ZeroDivisionError
    assert send(services) == 0


def test_what_is_not_taken_is_sent_again_later_and_later_also_after_a_restart(
    services: Services, receiver: Receiver, clock: Clock
) -> None:
    receiver.status = 503
    hook, _ = services.webhooks.add(receiver.url, [Happening.BUILD_FAILED.value])
    end_build(services, "compile")
    end_build(services, "compile")
    for tries, pause in enumerate(PAUSES, 1):
        assert send(services) == 1, "the second message waits for the first: the receiver is down"
        newest, oldest = services.webhooks.deliveries(hook.id)
        assert (oldest.tries, oldest.state, newest.tries) == (tries, DeliveryState.WAITING, 0)
        assert oldest.said.startswith("503")
        clock.ahead += pause - 1
        services = Services(services.live.path, services.tree, clock)
        assert send(services) == 0
        clock.ahead += 1
    receiver.status = 200
    assert send(services) == 2
    assert {one.state for one in services.webhooks.deliveries(hook.id)} == {DeliveryState.DELIVERED}
    assert len({message for _, message in receiver.came}) == 2, "every try has the same bytes"


def test_it_is_given_up_in_the_end(services: Services, receiver: Receiver, clock: Clock) -> None:
    receiver.status = 404
    hook, _ = services.webhooks.add(receiver.url, [Happening.BUILD_FAILED.value])
    end_build(services, "compile")
    for pause in (*PAUSES, 0.0):
        assert send(services) == 1
        clock.ahead += pause
    assert services.webhooks.deliveries(hook.id)[0].state is DeliveryState.GIVEN_UP
    assert not services.webhooks.waits()


def test_a_message_that_is_not_liked_holds_up_no_other(services: Services, receiver: Receiver) -> None:
    receiver.status = 400
    services.webhooks.add(receiver.url, [Happening.BUILD_FAILED.value])
    end_build(services, "compile")
    end_build(services, "compile")
    assert send(services) == 2


def test_redirects_are_not_followed(services: Services, receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.status, receiver.location = 302, elsewhere.url
        answer = post(receiver.url, b"{}", {})
        assert elsewhere.came == []
    assert (answer.status, answer.good) == (302, False)
    assert "redirects are not followed" in answer.said


@contextmanager
def silent(words: bytes) -> Iterator[str]:
    """A receiver that takes a connection, says some words, and then a byte now and then for ever."""
    over = threading.Event()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            taken, _ = server.accept()
            with closing(taken):
                while not over.wait(0.02):
                    try:
                        taken.sendall(words)
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("words", [b"", b"H", b"HTTP/1.1 200 OK\r\nX-", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_receiver_that_hangs_is_left_in_time(words: bytes) -> None:
    with silent(words) as url:
        answer = post(url, b"{}", {}, seconds=0.3)
    assert answer.status is None
    assert answer.said


def test_tls_with_a_receiver_that_says_nothing_is_left_in_time() -> None:
    with silent(b"") as url:
        answer = post(url.replace("http:", "https:"), b"{}", {}, seconds=0.3)
    assert (answer.status, answer.said) == (None, "no answer within 0.3 s")


def test_a_receiver_that_hangs_holds_up_no_other(services: Services) -> None:
    for url in (slow := "http://slow.example/", "http://quick.example/"):
        services.webhooks.add(url, [Happening.BUILD_FAILED.value])
    end_build(services, "compile")
    told, waited = threading.Event(), []

    def sender(url: str, message: bytes, headers: object) -> Answer:
        if url == slow:
            waited.append(told.wait(SECONDS))
            return Answer(None, "no answer")
        told.set()
        return Answer(200, "OK")

    assert services.webhooks.send_due(sender) == 2
    assert waited == [True], "the other one was told while the first still hung"


def test_nobody_there_is_said(services: Services) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    answer = post(f"http://127.0.0.1:{port}/", b"{}", {})
    assert (answer.status, answer.said) == (None, "[Errno 111] Connection refused")


def test_what_a_receiver_answers_orders_nothing_to_a_terminal() -> None:
    with silent(b"HTTP/1.1 500 \x1b[31mred\r\n\r\n") as url:
        answer = post(url, b"{}", {})
    assert answer.status == 500
    assert "\x1b" not in answer.said


def test_the_queue_is_bounded_and_says_what_was_lost(services: Services) -> None:
    hook, _ = services.webhooks.add("http://127.0.0.1:9/", [Happening.BUILD_FAILED.value])
    with services.store.database.change():
        for number in range(MOST_KEPT + 7):
            services.store.webhooks.want(hook.id, "test", str(number), "", now=NOW)
    assert services.webhooks.get(hook.id).dropped == 7
    kept = services.webhooks.deliveries(hook.id, limit=2 * MOST_KEPT)
    assert (len(kept), kept[0].subject, kept[-1].subject) == (MOST_KEPT, str(MOST_KEPT + 6), "7")


def test_a_paused_webhook_is_told_nothing_and_its_queue_waits(services: Services, receiver: Receiver) -> None:
    hook, _ = services.webhooks.add(receiver.url, [Happening.BUILD_FAILED.value])
    end_build(services, "compile")
    services.webhooks.switch(hook.id, False)
    end_build(services, "compile")
    assert (services.webhooks.waits(), send(services)) == (False, 0)
    with pytest.raises(Problem, match="paused"):
        services.webhooks.test(hook.id)
    services.webhooks.switch(hook.id, True)
    assert send(services) == 1


def test_a_webhook_that_is_removed_leaves_nothing(services: Services) -> None:
    hook, _ = services.webhooks.add("http://127.0.0.1:9/", [Happening.BUILD_FAILED.value])
    end_build(services, "compile")
    services.webhooks.remove(hook.id)
    assert (services.webhooks.all(), services.webhooks.waits()) == ([], False)
    with pytest.raises(Problem, match="no webhook"):
        services.webhooks.get(hook.id)


def test_on_the_page_the_secret_is_shown_once_and_every_change_is_in_the_audit_log(
    services: Services, receiver: Receiver
) -> None:
    browser = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(browser, services)
    form = {"url": receiver.url, "event": "build.failed"}
    shown = submit(browser, "/webhooks", data=form).text
    (hook,) = services.webhooks.all()
    assert hook.events == ("build.failed",)
    secret = services.store.webhooks.secret(hook.id)
    assert secret in shown
    for path in ("/webhooks", f"/webhooks/{hook.id}"):
        assert secret not in browser.get(path).text
    for what in ("test", "pause", "resume", "remove"):
        answer = submit(browser, f"/webhooks/{hook.id}", f"/webhooks/{hook.id}/{what}")
        assert answer.status_code == 303
    actions = [one.action for one in services.audit.page(who="web admin")]
    assert actions[:5] == [f"webhook {what}" for what in ("remove", "resume", "pause", "test", "add")]
    assert secret not in str(services.audit.page())


@pytest.mark.parametrize("url", ["ftp://a.example/", "javascript:alert(1)", ""])
def test_the_page_says_what_is_wrong_with_an_address(services: Services, url: str) -> None:
    browser = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(browser, services)
    answer = browser.post(
        "/webhooks", data={"url": url, "event": "build.failed", "form_token": token_on(browser, "/webhooks")}
    )
    assert (answer.status_code, 'role="alert"' in answer.text) == (400, True)
    assert services.webhooks.all() == []


def test_the_command_line_adds_tests_and_shows(
    services: Services, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ["--state", str(services.tree.path), "webhook"]
    site = ["--site", str(services.live.path)]
    assert main([*before, "add", *site, receiver.url, "--event", "build.failed"]) == 0
    assert "shown this once: dsw_" in capsys.readouterr().out
    assert main([*before, "test", *site, "1"]) == 0
    assert main(["--state", str(services.tree.path), "process", "webhooks", *site]) == 0
    assert receiver.events() == ["test"]
    for words in (["list"], ["deliveries", "1"], ["pause", "1"], ["resume", "1"], ["remove", "1"]):
        assert main([*before, words[0], *site, *words[1:]]) == 0
    said = capsys.readouterr().out
    assert "delivered" in said and "200 OK" in said
    assert services.webhooks.all() == []
