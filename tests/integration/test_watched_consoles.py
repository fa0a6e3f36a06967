"""Consoles on the web page: the farm reads a real terminal line, and people come first."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.line_turn import persons_turn
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.consoles import TAIL_BYTES, WatchState
from appliance.watching import keep_watching
from tests.webdoor import make_account, sign_in, submit
from webui.app import make_app

MAC = "52:54:00:77:00:01"
PAGE = f"/machine/{MAC}/console"
MARKUP = "<script>alert(1)</script>"
WAIT = 20.0


@dataclass(frozen=True)
class Wired:
    """A machine at whose serial line the test sits, and the services of the web page."""

    services: Services
    machine: int
    """Descriptor: what is written here the machine says."""

    def says(self, text: bytes) -> None:
        while text:
            text = text[os.write(self.machine, text[:1024]) :]

    def text(self) -> str:
        return self.services.consoles.seen(MAC).text

    def state(self) -> WatchState:
        watch = self.services.consoles.seen(MAC).watch
        assert watch
        return watch.state

    def until(self, what: str, probe: Callable[[], bool]) -> None:
        wait_until(lambda: probe() or None, seconds=WAIT, what=what, last_seen=self.text)

    def another(self) -> Services:
        return Services(self.services.live.path, self.services.tree)


@pytest.fixture
def wired(tmp_path: Path) -> Iterator[Wired]:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    machine, line = os.openpty()
    (tmp_path / "line").symlink_to(os.ttyname(line))
    with (site / "appliance.toml").open("a") as file:
        file.write(f'[[machine]]\nmac = "{MAC}"\n[machine.console]\npath = "../line"\n')
    services = Services(site, Tree(tmp_path / "state"))
    services.add_machine(MAC, name="web1")
    yield Wired(services, machine)
    services.store.close()
    os.close(machine)
    os.close(line)


@contextmanager
def read(wired: Wired) -> Iterator[None]:
    """The farm reads the line as long as the block runs and it is watched."""

    def farm() -> None:
        services = wired.another()
        services.consoles.read(MAC)
        services.store.close()

    reader = threading.Thread(target=farm)
    reader.start()
    try:
        yield
    finally:
        wired.services.consoles.watch(MAC, False)
        reader.join(WAIT)
        assert not reader.is_alive()


def test_what_a_watched_console_says_is_kept_and_grows(wired: Wired) -> None:
    wired.services.consoles.watch(MAC, who="web olga")
    with read(wired):
        wired.until("the line is open", lambda: wired.state() is WatchState.READING)
        wired.says(b"\x1b[2J\x1b[1;31mBIOS\x1b[0m\r\nload 10%\rload 99%\rready\r\nlogim\bn: \x1b]0;title\x07")
        wired.until("it is kept", lambda: wired.text() == "\nBIOS\nready\nlogin: ")
        wired.says(b"\xff\x00ann\r\n")
        wired.until("it grows", lambda: wired.text().endswith("login: \ufffdann\n"))
    assert wired.state() is WatchState.WANTED and not wired.services.consoles.seen(MAC).open
    notes = wired.services.audit.page(action="machine console", subject=MAC)
    assert [one.detail for one in reversed(notes)] == ["watched for 15 min", "not watched any more"]


def test_the_last_of_a_console_that_says_much_is_kept(wired: Wired) -> None:
    wired.services.consoles.watch(MAC)
    with read(wired):
        wired.until("the line is open", lambda: wired.state() is WatchState.READING)
        wired.says(b"".join(b"line %06d\n" % number for number in range(12000)))
        wired.until("the end came", lambda: wired.text().endswith("line 011999\n"))
    assert len(wired.services.store.consoles.tail(MAC)) == TAIL_BYTES
    watch = wired.services.consoles.seen(MAC).watch
    assert watch and watch.size_bytes == 12000 * 12


def test_a_person_has_the_line_for_themselves_and_the_page_goes_on_when_they_leave(wired: Wired) -> None:
    wired.services.consoles.watch(MAC)
    place = wired.services.tree.path / "lines"
    with read(wired):
        wired.until("the line is open", lambda: wired.state() is WatchState.READING)
        with persons_turn(place, MAC):
            wired.until("it is given up", lambda: wired.state() is WatchState.BUSY)
            with pytest.raises(Problem, match="somebody is on the console"), persons_turn(place, MAC):
                raise AssertionError
            again = wired.another()
            again.consoles.read(MAC)
            again.store.close()
            assert wired.state() is WatchState.BUSY
    wired.services.consoles.watch(MAC)
    with read(wired):
        wired.until("it is read again", lambda: wired.state() is WatchState.READING)
        wired.says(b"back\n")
        wired.until("it says more", lambda: "back" in wired.text())


def test_the_farm_reads_each_console_that_is_watched_and_begins_again(wired: Wired, tmp_path: Path) -> None:
    (tmp_path / "line").rename(tmp_path / "away")
    wired.services.consoles.watch(MAC)
    stop = threading.Event()
    farm = threading.Thread(target=keep_watching, args=(wired.another, stop))
    farm.start()
    wired.until("it is no console", lambda: wired.state() is WatchState.FAILED)
    watch = wired.services.consoles.seen(MAC).watch
    assert watch and "is no console" in watch.said
    (tmp_path / "away").rename(tmp_path / "line")
    wired.until("the line is open", lambda: wired.state() is WatchState.READING)
    wired.services.consoles.watch(MAC, False)
    wired.until("it is left alone", lambda: wired.state() is WatchState.WANTED)
    stop.set()
    farm.join(WAIT)


@pytest.fixture
def browser(wired: Wired) -> FlaskClient:
    client = make_app(wired.another).test_client()
    sign_in(client, wired.services, Role.OPERATOR, "olga")
    return client


def test_an_operator_watches_a_console_on_its_page(wired: Wired, browser: FlaskClient) -> None:
    assert f'href="{PAGE}"' in browser.get(f"/machine/{MAC}").text
    assert "Nobody watches it now" in browser.get(PAGE).text
    assert submit(browser, PAGE).status_code == 303
    assert "The farm opens the line" in browser.get(PAGE).text
    wired.services.store.consoles.add(MAC, f"\x1b[31m{MARKUP}".encode())
    wired.services.store.consoles.note(MAC, WatchState.READING)
    text = browser.get(PAGE).text
    assert "&lt;script&gt;alert(1)" in text and MARKUP not in text and "for web olga" in text
    submit(browser, PAGE, data={"watch": "no"})
    assert "Nobody watches it now" in browser.get(PAGE).text
    assert [one.who for one in wired.services.audit.page(action="machine console")] == ["web olga"] * 2
    sign_in(browser, wired.services, Role.VIEWER)
    assert browser.get(PAGE).status_code == 403
    assert PAGE not in browser.get(f"/machine/{MAC}").text


def test_a_machine_without_a_console_says_what_the_site_lacks(wired: Wired, browser: FlaskClient) -> None:
    other = "52:54:00:77:00:02"
    wired.services.add_machine(other)
    page = f"/machine/{other}/console"
    assert "The site names no console" in browser.get(page).text
    submit(browser, PAGE, page)
    assert wired.services.store.consoles.get(other) is None
    assert page not in browser.get(f"/machine/{other}").text


def test_who_is_retired_has_no_console_any_more(wired: Wired) -> None:
    wired.services.consoles.watch(MAC)
    wired.services.machine_desk.retire(MAC)
    assert wired.services.store.consoles.get(MAC) is None and wired.services.consoles.due() == []


def test_programs_watch_a_console_through_the_api(wired: Wired) -> None:
    make_account(wired.services, "ann", Role.ADMIN)
    account = wired.services.accounts.get("ann")
    held = {
        role: {
            "Authorization": f"Bearer {wired.services.api_tokens.make(account, role.value, role, days=1)[1]}"
        }
        for role in (Role.VIEWER, Role.OPERATOR)
    }
    client, path = make_app(wired.another).test_client(), "/api/v1/machines/web1/console"
    assert client.get(path, headers=held[Role.VIEWER]).status_code == 403
    assert client.post(path, json={}, headers=held[Role.OPERATOR]).status_code == 202
    wired.services.store.consoles.add(MAC, b"\x1b[5mhello\r\n")
    said = client.get(path, headers=held[Role.OPERATOR]).json
    assert said and (said["watched"], said["text"], said["state"]) == (True, "hello\n", "wanted")
