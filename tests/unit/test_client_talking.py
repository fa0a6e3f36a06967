"""The agent's decisions about talking: what is an order, when to try again, when a certificate is due."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client_report import read_report, with_lists
from distserver_client.report import (
    MOST_BYTES,
    Changed,
    Drift,
    Open,
    Phase,
    Report,
    message,
    package_drift,
)
from distserver_client.talking import LONGEST_PAUSE_SECONDS, Lifetime, pause, read_order

RELEASE = "20260101-000000000000"
DAY = 86400.0


@given(st.integers(0, 1000), st.floats(0, 1))
def test_pauses_grow_to_an_hour_and_half_of_each_is_by_chance(failures: int, draw: float) -> None:
    assert 15.0 <= pause(failures, draw) <= LONGEST_PAUSE_SECONDS
    assert pause(failures, 1.0) == 2 * pause(failures, 0.0)
    assert pause(failures + 1, draw) >= pause(failures, draw)


def test_a_certificate_is_due_in_its_last_third_and_when_the_clock_makes_no_sense() -> None:
    made = Lifetime(100 * DAY, 190 * DAY)
    assert [made.is_due(day * DAY) for day in (101, 159, 161, 200, 0)] == [False, False, True, True, True]
    assert Lifetime(0.0, 0.0).is_due(100 * DAY)


def test_an_order_without_a_release_is_never_a_go() -> None:
    said = {"release": "", "go": True, "why": "x", "serial": 1, "again_seconds": 0, "policy": {}}
    order = read_order(said)
    assert not order.go and order.again_seconds == 10.0


@pytest.mark.parametrize(
    "wrong",
    [{"release": "../../etc"}, {"go": "yes"}, {"policy": []}, {"serial": "1"}, {"again_seconds": None}],
)
def test_an_order_that_makes_no_sense_is_none(wrong: dict[str, object]) -> None:
    said = {"release": RELEASE, "go": True, "why": "", "serial": 1, "again_seconds": 9, "policy": {}}
    assert read_order(said).go
    with pytest.raises(ValueError, match="an order"):
        read_order(said | wrong)


@given(st.lists(st.text(alphabet='a\x00\u20ac\\"', max_size=400), max_size=600), st.text(max_size=20))
def test_every_report_is_of_a_size_and_a_form_that_the_server_takes(names: list[str], said: str) -> None:
    drift = package_drift(names, names[:5], ("app/x-1",))
    made = message(Report(RELEASE, Phase.FAILED, target=RELEASE, said=said, drift=drift))
    body = json.dumps(made).encode()
    assert len(body) <= MOST_BYTES
    read = read_report(body)
    assert read.drifts == len(drift) and read.failed and read.target == RELEASE


LINES = st.lists(st.text(max_size=400), max_size=300)


@given(LINES, LINES, LINES, LINES, st.dictionaries(st.text(max_size=50), st.text(max_size=400), max_size=60))
def test_all_lists_together_fit_and_how_many_there_are_is_told(
    drift: list[str], local: list[str], questions: list[str], services: list[str], facts: dict[str, str]
) -> None:
    said = Report(
        RELEASE,
        Phase.CURRENT,
        drift=[Drift("file", one, one) for one in drift],
        local=[Changed(one, one) for one in local],
        questions=[Open(one, here=True) for one in questions],
        services=services,
        reboot="a" * 400,
        facts=tuple(facts.items()),
    )
    made = message(said)
    body = json.dumps(made).encode()
    assert len(body) <= MOST_BYTES
    read = read_report(body)
    counts = (read.drifts, read.locals, read.merges, read.stale)
    assert counts == (len(drift), len(local), len(questions), len(services))
    assert read.reboot and read.lists == made["lists"]
    short = message(said, held=read.lists)
    assert "drift" not in short and with_lists(read_report(json.dumps(short).encode()), read) == read


def test_lists_that_the_server_has_not_are_asked_for() -> None:
    said = Report(RELEASE, Phase.CURRENT, drift=[Drift("file", "/a", "changed")])
    whole = read_report(json.dumps(message(said)).encode())
    short = read_report(json.dumps(message(said, held=whole.lists)).encode())
    other = read_report(json.dumps(message(Report(RELEASE, Phase.CURRENT, services=["a"]))).encode())
    assert with_lists(short, None) is None and with_lists(short, other) is None
    assert with_lists(short, whole) == whole and with_lists(whole, other) == whole
    empty = message(Report(RELEASE, Phase.CURRENT))
    nothing = read_report(
        json.dumps(message(Report(RELEASE, Phase.CURRENT), held=str(empty["lists"]))).encode()
    )
    assert with_lists(nothing, None) == nothing


def test_what_differs_is_told_with_how_it_differs() -> None:
    said = package_drift(["a/b-1"], ["a/a-1"], ["a/c-1"])
    assert said == (
        Drift("package", "a/a-1", "the release has none"),
        Drift("package", "a/b-1", "another package than the release's"),
        Drift("package", "a/c-1", "missing"),
    )
