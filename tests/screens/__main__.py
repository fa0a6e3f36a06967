"""`make screenshots`: the pages of docs/web.md as Chromium shows them, over the farm of the test cache."""

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.desks.examinations import Progress
from appliance.facts import render_facts
from appliance.findings import Examined, Finding, Level
from appliance.model import Disk, Facts, Firmware, MachineState, Tree
from appliance.overlays import HOME, example_site
from appliance.run import run
from appliance.services import Services
from appliance.webhook_model import Answer, Happening
from tests.screens.shots import MAC, SHOTS
from tests.webdoor import COOKIE, begin_session
from webui.app import make_app
from webui.server import make_server

CHROMIUM = "/usr/bin/chromium"
CACHE = Path(os.environ.get("DISTSERVER_CACHE", "/var/cache/distserver"))
WHERE = HOME / "docs" / "screens"
OF_ITS_OWN = ("store", "keys", "logs", "channels")
"""Rooms of the state that are written to; the others are only read."""


SEEN = (
    ("Intel", "NUC7i5", 240),
    ("Dell", "PowerEdge R640", 960),
    ("Supermicro", "X11SSL-F", 480),
    ("LENOVO", "ThinkCentre M910q", 256),
)
HOSTS = (("cc1", 6.5, HostState.READY), ("cc2", 2.1, HostState.READY), ("cc3", 0.0, HostState.UNKNOWN))


@contextmanager
def farm() -> Iterator[Services]:
    """A copy of what is written of the cache's farm; what it built is looked at where it lies."""
    built = CACHE / "state"
    if not (built / "releases").is_dir():
        raise SystemExit(f"{built} has no release: `make test` builds the example's")
    with tempfile.TemporaryDirectory(prefix="distserver-screens-") as name:
        state = Path(name) / "state"
        state.mkdir()
        for room in sorted(built.iterdir()):
            if room.name in OF_ITS_OWN:
                shutil.copytree(room, state / room.name, ignore=shutil.ignore_patterns("S.*"))
            else:
                (state / room.name).symlink_to(room)
        site = Path(shutil.copytree(example_site(), Path(name) / "site"))
        services = Services(site, Tree(state))
        fill(services)
        yield services


def examine(interface: str, progress: Progress) -> Examined:
    return Examined(
        interface,
        1,
        (
            Finding(Level.GREEN, "DHCP", "192.0.2.1 answers within 12 ms and leaves booting to others"),
            Finding(Level.YELLOW, "lease time", "leases last 120 s", "an hour or more spares requests"),
        ),
    )


def fill(services: Services) -> None:
    """Machines that say hello as real ones do, hosts, and what waits for somebody."""
    for number, (vendor, product, size) in enumerate(SEEN, 1):
        disks = (Disk("/dev/sda", size * 10**9, "sata", serial=f"S{number}X7", model="SSD"),)
        facts = Facts(
            MAC.format(number),
            Firmware.UEFI,
            16 << 30,
            cpu="8 cores",
            vendor=vendor,
            product=product,
            disks=disks,
        )
        services.desk.hello(render_facts(facts), "http://192.0.2.10:8888")
    services.assign(MAC.format(2), "vm", name="db1")
    services.assign(MAC.format(3), "vm", name="web3")
    services.arm(MAC.format(3))
    services.store.machines.move(MAC.format(3), MachineState.INSTALLING)
    problem = "no disk has 500 GB, the profile wants one"
    services.store.machines.move(MAC.format(3), MachineState.FAILED, problem=problem)
    for name, load, state in HOSTS:
        report = HostReport(name, "x86_64", 8, load=load)
        host = CompileHost(name, "192.0.2.20", state, seen_at=services.clock(), report=report)
        services.store.compile_hosts.put(host)
    services.examinations.want(who="web ann")
    services.examinations.make_next(["eth0"], examine, seconds=5)
    asked = [("use", "dev-lang/python", "The following USE changes are necessary", "dev-lang/python sqlite")]
    services.store.questions.update("vm", asked, now=services.clock())
    hook, _ = services.webhooks.add("https://chat.example/hooks/farm", [one.value for one in Happening])
    services.webhooks.test(hook.id)
    services.webhooks.send_due(lambda url, message, headers: Answer(200, "200 OK"))


@contextmanager
def served(services: Services) -> Iterator[str]:
    app = make_app(lambda: Services(services.live.path, services.tree))
    server = make_server(app, "127.0.0.1", 0)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()


def main() -> None:
    WHERE.mkdir(exist_ok=True)
    with farm() as services, served(services) as url, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(color_scheme="light", timezone_id="UTC", locale="en-GB")
        context.add_cookies([{"name": COOKIE, "value": begin_session(services, name="ann"), "url": url}])
        page = context.new_page()
        for shot in SHOTS:
            page.set_viewport_size(shot.size)  # type: ignore[arg-type]
            answer = page.goto(url + shot.way(services))
            if not answer or answer.status != 200:
                raise SystemExit(f"{shot.name}: {answer and answer.status}")
            file = WHERE / f"{shot.name}.png"
            page.screenshot(path=file)
            # A palette of 32 colours is all that such pages have.
            run(["pngquant", "--force", "--strip", "--output", file, "32", file])
            print(f"{file.relative_to(HOME)} {file.stat().st_size // 1024} KiB", file=sys.stderr)
        browser.close()


if __name__ == "__main__":
    main()
