"""Server time and memory of the pages that list much, against an empty page of the same application."""

import contextlib
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from tests.bench import emit
from tests.benches_web.fleet import MACHINES, RELEASES, Fleet
from tests.webdoor import sign_in
from webui.access import Role, needs
from webui.app import make_app

ROUNDS = 15
FIRST_ROUNDS = 5
LIMIT_MS = 100.0
EMPTY = "/empty"
PAGES = {
    "overview": "/",
    "machines": "/machines",
    "machines/search": "/machines?text=node77",
    "machines/last": f"/machines?page={MACHINES // 50}",
    "profiles": "/profiles",
    "profile": "/profile/vm",
    "releases": "/releases",
    "releases/last": f"/releases?page={RELEASES // 50}",
}


def measure(cases: list[str], fleet: Fleet, say: Callable[[str], None]) -> None:
    app = make_app(fleet.services)
    app.add_url_rule(EMPTY, "empty", needs(Role.VIEWER)(lambda: ""))
    browser = app.test_client()
    services = fleet.services()
    sign_in(browser, services)
    services.store.close()
    empty = middle(browser, EMPTY)
    point = point_read(fleet.tree.store)
    say(f"an empty page: {empty:.1f} ms; one row by its key: {point:.3f} ms")
    for case in cases:
        spent = middle(browser, PAGES[case])
        say(f"{case}: {spent:.1f} ms of server time")
        emit(
            "web",
            f"{case}/time",
            "an empty page behind the same door",
            ours=spent,
            theirs=empty,
            unit="ms",
            goal="",
        )
        emit("web", f"{case}/limit", "the limit", ours=spent, theirs=LIMIT_MS, unit="ms", goal="< 1.0")
        emit(
            "web", f"{case}/point", "one SQLite row by its key", ours=spent, theirs=point, unit="ms", goal=""
        )
    first = first_of(fleet)
    say(f"overview, the first page of a thread: {first:.1f} ms")
    emit("web", "overview/first", "the limit", ours=first, theirs=LIMIT_MS, unit="ms", goal="< 1.0")
    peak_empty, peak = peak_of(app, [EMPTY], fleet), peak_of(app, [PAGES[case] for case in cases], fleet)
    emit(
        "web",
        "memory",
        "the same process, an empty page",
        ours=peak,
        theirs=peak_empty,
        unit="MiB",
        goal="<= 1.5",
    )


def middle(browser: FlaskClient, path: str) -> float:
    """Milliseconds of a request without a network, as the median of some."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        answer = browser.get(path)
        found.append(1000 * (time.perf_counter() - started))
        assert answer.status_code == 200, (path, answer.status_code)
    return statistics.median(found)


def first_of(fleet: Fleet) -> float:
    """The same of a thread that has no store and no site in memory yet."""
    found: list[float] = []
    services = fleet.services()
    browser = make_app(fleet.services).test_client()
    sign_in(browser, services)
    services.store.close()
    browser.get("/")

    def look() -> None:
        started = time.perf_counter()
        assert browser.get("/").status_code == 200
        found.append(1000 * (time.perf_counter() - started))

    for _ in range(FIRST_ROUNDS):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    return statistics.median(found)


def point_read(store: Path) -> float:
    """Milliseconds of reading one machine through a connection that is open."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        (mac,) = connection.execute("SELECT mac FROM machine LIMIT 1 OFFSET 5000").fetchone()
        found = []
        for _ in range(1000):
            started = time.perf_counter()
            connection.execute("SELECT * FROM machine WHERE mac = ?", (mac,)).fetchone()
            found.append(1000 * (time.perf_counter() - started))
    return statistics.median(found)


def peak_of(app: Flask, paths: list[str], fleet: Fleet) -> float:
    """MiB of this process at its highest while it serves; proc(5), clear_refs and VmHWM."""
    browser = app.test_client()
    services = fleet.services()
    sign_in(browser, services)
    services.store.close()
    Path("/proc/self/clear_refs").write_text("5")
    for path in paths * 3:
        browser.get(path)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
