"""The agent's talk with a real door over TLS: certificate, order, report, and all that can go wrong."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from appliance import client_keys
from appliance.client_keys import ClientKeys
from appliance.model import Tree
from appliance.services import Services
from distserver_client.errors import Away, Problem
from distserver_client.report import Drift, Health, Phase, Report, message
from distserver_client.talking import MOST_BYTES, Refused, Talk
from distserver_client.triples import Item, State
from pxe.client_door import Route, body_of, machine_of
from tests.client_yard import DoorThread, open_services, settle

ONE = "52:54:00:00:00:01"
RELEASE = "20260101-000000000000"


async def merges(request: web.Request) -> web.Response:
    """The part of the server that answers questions on configuration files, as far as talking needs it."""
    machine_of(request)
    items = json.loads(await body_of(request, 1 << 20))
    return web.json_response([{"state": "keep"} for _ in items if items[0]["path"] != "/short"])


async def blob(request: web.Request) -> web.Response:
    machine_of(request)
    if request.method == "PUT":
        await body_of(request, 1 << 20)
        return web.Response(text="{}")
    return web.Response(body=b"x" * (MOST_BYTES + 10))


ROUTES = (
    Route("POST", "/client/merges", merges),
    Route("PUT", "/client/blob/{sha256}", blob),
    Route("GET", "/client/blob/{sha256}", blob),
)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return open_services(tmp_path)


@pytest.fixture
def door(services: Services) -> Iterator[DoorThread]:
    with DoorThread(services, ROUTES).open() as opened:
        yield opened


def talk(services: Services, door: DoorThread, place: Path) -> Talk:
    """Of a machine that has its certificate."""
    made = Talk(settle(services, ONE, place, door.port))
    services.clients.sign_next()
    assert made.tend()
    return made


def test_a_certificate_is_fetched_once_it_is_signed_and_then_it_is_enough(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = Talk(settle(services, ONE, tmp_path, door.port))
    with pytest.raises(Refused) as refused:
        one.order()
    assert refused.value.is_stranger
    with pytest.raises(Away, match="not signed"):
        one.tend()
    services.clients.sign_next()
    assert one.tend() and not one.tend()
    assert one.identity.certificate.stat().st_mode & 0o777 == 0o644
    order = one.order()
    assert not order.go and "names no release" in order.why and 0 < order.again_seconds < 86400
    assert order.policy["reboot"] == "never" and order.policy["spread"] == 3600.0


def test_a_machine_whose_certificate_ended_while_it_was_off_comes_back_by_itself(
    services: Services, door: DoorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_keys, "DAYS", 0)
    one = talk(services, door, tmp_path)
    monkeypatch.undo()
    services.store.database.execute("UPDATE client_key SET ends_at = 1")
    services.clients.sign_next()
    assert one.tend() and not one.tend()
    assert one.order().release == ""


def test_a_certificate_is_renewed_before_it_ends(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = talk(services, door, tmp_path)
    services.store.database.execute("UPDATE client_key SET ends_at = 1")
    services.clients.sign_next()
    later = replace_clock(one, services.clock() + 50 * 86400)
    assert not later.tend()
    later = replace_clock(one, services.clock() + 61 * 86400)
    assert later.tend()


def replace_clock(one: Talk, now: float) -> Talk:
    return replace(one, clock=lambda: now)


def test_a_retired_machine_is_told_that_it_is_a_stranger(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = talk(services, door, tmp_path)
    services.machine_desk.retire(ONE)
    with pytest.raises(Refused, match="no machine has this certificate") as refused:
        one.order()
    assert refused.value.is_stranger


def test_another_server_on_the_address_is_not_believed(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = talk(services, door, tmp_path)
    other = ClientKeys.below(Tree(tmp_path / "other"))
    other.keep("evil", ("127.0.0.1",), group=0)
    shutil.copy(other.authority, one.identity.authority)
    with pytest.raises(Problem, match="is not the server of this machine"):
        one.order()
    one.identity.door.write_text(f"https://localhost.evil.example:{door.port}")
    with pytest.raises(Away):
        one.order()
    for wrong in (
        "http://127.0.0.1:1",
        "https://",
        "https://a b",
        "https://[",
        "",
        "https://127.0.0.1:99999",
    ):
        one.identity.door.write_text(wrong)
        with pytest.raises(Problem):
            one.order()


def test_a_server_that_is_away_is_away(services: Services, tmp_path: Path) -> None:
    with DoorThread(services).open() as door:
        one = talk(services, door, tmp_path)
    with pytest.raises(Away, match="does not answer"):
        one.order()


def test_a_report_arrives_whole_and_one_that_is_too_long_is_cut(
    services: Services, door: DoorThread, tmp_path: Path
) -> None:
    one = talk(services, door, tmp_path)
    drift = tuple(Drift("file", f"/etc/{number}/" + "x" * 290, "changed") for number in range(2000))
    said = Report(
        RELEASE,
        Phase.CURRENT,
        packages=140,
        drift=drift,
        reboot="another kernel",
        kernel="6.1",
        health=Health.OK,
        facts=(("cpu", "one"),),
        seconds=(("fetch", 1.5),),
        size_bytes=9,
    )
    one.report(message(said))
    (told,) = services.store.clients.reports(ONE)
    report = told.report
    assert (report.release, report.packages, report.reboot, report.drifts) == (RELEASE, 140, True, 2000)
    assert 50 < len(report.drift) < 500 and report.facts == (("cpu", "one"),)
    assert [(step.name, step.seconds, step.size_bytes) for step in report.steps] == [
        ("fetch", 1.5, 0),
        ("received", 0.0, 9),
    ]
    one.event("fetch", message="all of it", seconds=2.5, bytes=7)
    event = services.show_machine(ONE).events[-1][1]
    assert (event.stage, event.message, event.seconds, event.size_bytes) == ("fetch", "all of it", 2.5, 7)
    with pytest.raises(Refused, match="400"):
        one.report({"phase": "flying"})


def test_questions_and_contents_go_and_come(services: Services, door: DoorThread, tmp_path: Path) -> None:
    one = talk(services, door, tmp_path)
    item = Item("/etc/motd", "", "a" * 64, "b" * 64, 0o644, False, "both changed it")
    assert [answer.state for answer in one.known([item, item])] == [State.KEEP, State.KEEP]
    with pytest.raises(Problem, match="did not answer each"):
        one.known([replace(item, path="/short")])
    one.give("a" * 64, b"content")
    assert len(one.get("a" * 64)) == MOST_BYTES + 10
    with pytest.raises(Problem, match="longer than"):
        one.ask("GET", "/client/blob/" + "a" * 64)
