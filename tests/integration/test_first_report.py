"""The program on an installed machine that reports, against a real HTTP server."""

import asyncio
import importlib.util
import itertools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from aiohttp import web

from appliance import first_report
from appliance.client_keys import ClientKeys
from appliance.deadline import wait_until
from appliance.first_report import credential, parse, proven, split
from appliance.media_secret import media_secret
from appliance.model import MachineState, Tree
from appliance.overlays import example_site, overlay
from appliance.run import run, running
from appliance.services import Services
from appliance.store.media import KnownMedium
from pxe.http import application
from pxe.sightings import Sightings

PROGRAM = overlay("client") / "usr/lib/distserver/first-report"
KEY = credential(b"secret", "0123456789abcdef")
HEAD = (
    f"medium 0123456789abcdef\nnonce {'ab' * 16}\nrelease 20260101-00000000000a\nprofile vm\n"
    f"hostname web1\nfingerprint {'cd' * 32}\n"
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """What the installer left."""
    place = tmp_path / "report"
    place.mkdir(mode=0o700)
    (place / "credential").write_text(f"{KEY}\n")
    (place / "head").write_text(HEAD)
    (place / "events").write_text("1000 stage done 12.5 2000000 stage.tar\n1060 packages done 60.0 -\n")
    (place / "facts").write_text("mac 52:54:00:00:00:01\nfirmware uefi\nmemory 1024\n")
    return place


@contextmanager
def server(answers: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Gives these answers, the last one for ever; what was posted."""
    posted: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/installed"
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            text = answers[min(len(posted), len(answers)) - 1]
            status = 500 if text == "broken" else 200
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{one.server_address[1]}", posted
        finally:
            one.shutdown()
            thread.join()


def report(machine: Path, url: str) -> str:
    address = machine.parent / "server"
    address.write_text(f"{url}\n")
    return run([sys.executable, PROGRAM, machine, address, "0.01"], timeout_seconds=60).stdout


@pytest.mark.parametrize("last", ["taken", "known since yesterday"])
def test_it_tries_until_the_report_was_taken_and_removes_it_then(machine: Path, last: str) -> None:
    with server(["broken", "refused the medium was revoked", last]) as (url, posted):
        said = report(machine, url)
    assert len(posted) == 3
    assert said.splitlines()[-1] == f"first-report: {last}"
    assert "status 500: broken" in said
    assert not machine.exists()
    told, text = split(posted[-1])
    assert proven(told, KEY, text)
    read = parse(text)
    assert (read.hostname, [one.stage for one in read.events]) == ("web1", ["stage", "packages"])


def test_a_machine_that_reaches_nobody_goes_on_trying_and_keeps_its_report(machine: Path) -> None:
    address = machine.parent / "server"
    address.write_text("http://127.0.0.1:1\n")
    log = machine.parent / "log"
    log.touch()
    with running([sys.executable, PROGRAM, machine, address, "0.01"], output=log) as child:
        wait_until(
            lambda: log.read_text().count("Connection refused") > 3 or None, seconds=60, what="its tries"
        )
        assert child.poll() is None
        # A second one finds that it is being done.
        assert run([sys.executable, PROGRAM, machine, address], timeout_seconds=60).stdout == ""
    assert (machine / "head").exists()


def test_a_machine_without_a_report_has_nothing_to_do(tmp_path: Path) -> None:
    assert run([sys.executable, PROGRAM, tmp_path / "none"], timeout_seconds=60).stdout == ""


def test_a_report_of_any_length_is_one_that_the_server_reads(machine: Path) -> None:
    line = "1000 packages done 1.0 5 " + "x" * 4000
    (machine / "events").write_text(f"{line}\n" * 900)
    with server(["taken"]) as (url, posted):
        report(machine, url)
    assert len(posted[0]) < 64 * 1024
    assert len(parse(split(posted[0])[1]).events) == 100


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # What is compiled beside the program would be laid over machines.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("first_report_program", str(PROGRAM))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("made_up", "macs", "reported"),
    [
        ("02:21:03:00:10:dd", ["52:54:00:77:00:01"], "52:54:00:77:00:01"),
        ("02:21:03:00:10:dd", [], "02:21:03:00:10:dd"),
        ("02:21:03:00:10:dd", ["52:54:00:77:00:01", "02:21:03:00:10:dd"], "02:21:03:00:10:dd"),
        ("52:54:00:77:00:02", ["52:54:00:77:00:01"], "52:54:00:77:00:02"),
    ],
)
def test_a_machine_that_got_a_card_later_reports_under_its_mac(
    module: ModuleType, tmp_path: Path, made_up: str, macs: list[str], reported: str
) -> None:
    for number, mac in enumerate(macs):
        (tmp_path / f"eth{number}" / "device").mkdir(parents=True)
        (tmp_path / f"eth{number}" / "address").write_text(f"{mac}\n")
    (tmp_path / "lo").mkdir()
    told = module.named(f"mac {made_up}\nfirmware bios\n", module.cards(tmp_path))
    assert told == f"mac {reported}\nfirmware bios\n"


def test_pauses_grow_to_an_hour_and_no_further(module: ModuleType) -> None:
    pauses = list(itertools.islice(module.pauses(5.0), 20))
    assert pauses[:3] == [5.0, 10.0, 20.0]
    assert pauses[-1] == 3600.0 == max(pauses)


@pytest.mark.parametrize("name", ["etc/local.d/distserver-report.start", "etc/rc.d/distserver-report"])
def test_the_boot_does_not_wait_for_it(name: str) -> None:
    script = overlay("client") / name
    assert os.access(script, os.X_OK)
    assert "first-report </dev/null >/dev/null 2>&1 &\n" in script.read_text()
    run(["sh", "-n", script])


def test_systemd_starts_it_when_there_is_a_report() -> None:
    home = overlay("client") / "etc/systemd/system"
    wanted = home / "multi-user.target.wants/distserver-report.service"
    assert wanted.resolve() == (home / "distserver-report.service").resolve()
    assert "ConditionPathIsDirectory=/var/lib/distserver/report" in wanted.read_text()


@contextmanager
def appliance(tree: Tree, site: Path) -> Iterator[str]:
    """The boot server's own HTTP over a store; its URL."""
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    urls: list[str] = []

    async def serve() -> None:
        desk = Services(site, tree).desk
        runner = web.AppRunner(application(desk, tree.room("boot"), Sightings()))
        await runner.setup()
        place = web.TCPSite(runner, "127.0.0.1", 0)
        await place.start()
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        await end.wait()
        await runner.cleanup()
        desk.journal.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield wait_until(lambda: urls[0] if urls else None, seconds=60, what="the server")
    finally:
        for loop, end in stop:
            loop.call_soon_threadsafe(end.set)
        thread.join()


def test_what_it_sends_makes_the_machine_an_installed_one_of_the_server(machine: Path) -> None:
    tree = Tree(machine.parent / "state")
    site = Path(shutil.copytree(example_site(), machine.parent / "site"))
    store = Services(site, tree).store
    made = KnownMedium(
        "0123456789abcdef", 1.0, "ann", "http://10.77.0.2", True, (("20260101-00000000000a", "vm"),)
    )
    store.media.add(made)
    (machine / "credential").write_text(first_report.credential(media_secret(tree), made.id))
    with appliance(tree, site) as url:
        copied = shutil.copytree(machine, machine.parent / "again")
        assert report(machine, url) == "first-report: taken\n"
        assert report(copied, url) == "first-report: known this report came before\n"
    found = store.machines.get("52:54:00:00:00:01")
    assert found is not None
    assert (found.state, found.name, found.profile) == (MachineState.INSTALLED, "web1", "vm")


def test_it_enrols_the_key_that_it_makes_where_the_release_brings_a_door(machine: Path) -> None:
    tree = Tree(machine.parent / "state")
    site = Path(shutil.copytree(example_site(), machine.parent / "site"))
    services = Services(site, tree)
    made = KnownMedium(
        "0123456789abcdef", 1.0, "ann", "http://10.77.0.2", True, (("20260101-00000000000a", "vm"),)
    )
    services.store.media.add(made)
    (machine / "credential").write_text(first_report.credential(media_secret(tree), made.id))
    keys = ClientKeys.below(tree)
    keys.keep("lab", ("127.0.0.1",), group=0)
    home = machine.parent
    shutil.copy(keys.authority, home / "ca.crt")
    (home / "door-port").write_text("8443\n")
    copied = shutil.copytree(machine, home / "again")
    with appliance(tree, site) as url:
        taken, enrolled = report(machine, url).splitlines()
        assert taken == "first-report: taken" and enrolled.startswith("first-report: key ")
        # The answer got lost: the same key is enrolled again, which changes nothing.
        assert report(copied, url).splitlines()[1] == enrolled
    assert (home / "door").read_text() == "https://127.0.0.1:8443\n"
    assert (home / "machine.key").stat().st_mode & 0o777 == 0o600
    one = services.clients.sign_next()
    assert one and one.mac == "52:54:00:00:00:01" and enrolled.endswith(one.key)
    assert services.desk.clients.certificate(one.key)
