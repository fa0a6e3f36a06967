"""Requests of workers: signed, good once, and good only for what they say."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.signed import BODY, NAME, ONCE, SUM, TIME, WINDOW_SECONDS, Gate, Request, answer_sum, headers

SECRET = b"a secret that both sides have"
NOW = 5000.0
REQUEST = Request("PUT", "/farm/pool/abc?x=1", "builder2", NOW, "0123", "feed")


@pytest.fixture
def gate() -> Gate:
    return Gate(SECRET, now=NOW - 1000)


def test_a_signed_request_is_let_in_once(gate: Gate) -> None:
    sent = headers(REQUEST, SECRET)
    assert gate.judge("PUT", "/farm/pool/abc?x=1", sent, now=NOW) == REQUEST
    assert gate.judge("PUT", "/farm/pool/abc?x=1", sent, now=NOW + 1) == "it was here before"
    assert isinstance(
        gate.judge("PUT", REQUEST.path, headers(replace(REQUEST, once="4"), SECRET), now=NOW), Request
    )


@pytest.mark.parametrize("name", [NAME, TIME, ONCE, BODY, SUM])
@pytest.mark.parametrize("value", ["", "1", "other"])
def test_a_changed_or_missing_header_is_refused(gate: Gate, name: str, value: str) -> None:
    sent = {**headers(REQUEST, SECRET), name: value}
    assert isinstance(gate.judge(REQUEST.method, REQUEST.path, sent, now=NOW), str)


def test_another_method_path_or_secret_is_refused(gate: Gate) -> None:
    sent = headers(REQUEST, SECRET)
    assert gate.judge("GET", REQUEST.path, sent, now=NOW) == "its signature is wrong"
    assert gate.judge("PUT", "/farm/pool/abd?x=1", sent, now=NOW) == "its signature is wrong"
    foreign = headers(REQUEST, b"another secret")
    assert gate.judge("PUT", REQUEST.path, foreign, now=NOW) == "its signature is wrong"
    assert gate.judge("PUT", REQUEST.path, {}, now=NOW) == "it is not signed"


@pytest.mark.parametrize("shift", [-WINDOW_SECONDS - 1, WINDOW_SECONDS + 1])
def test_a_clock_that_is_far_off_is_named(gate: Gate, shift: float) -> None:
    said = gate.judge("PUT", REQUEST.path, headers(REQUEST, SECRET), now=NOW + shift)
    assert said == "its clock differs by 301 s from the farm's"


def test_a_restarted_door_refuses_what_it_may_have_seen_before() -> None:
    door = Gate(SECRET, now=NOW + 1)
    assert (
        door.judge("PUT", REQUEST.path, headers(REQUEST, SECRET), now=NOW + 2)
        == "it is older than the farm's door"
    )


@given(st.lists(st.floats(NOW, NOW + 3000), max_size=30))
def test_a_number_is_remembered_as_long_as_its_request_could_come_again(times: list[float]) -> None:
    door = Gate(SECRET, now=NOW - 1)
    let_in = 0
    for now in sorted(times):
        let_in += isinstance(door.judge("PUT", REQUEST.path, headers(REQUEST, SECRET), now=now), Request)
    assert let_in <= 1


def test_an_answer_is_good_for_its_request_alone() -> None:
    sums = {
        answer_sum(SECRET, once, status, body)
        for once in "ab"
        for status in (200, 404)
        for body in (b"", b"x")
    }
    assert len(sums) == 8
