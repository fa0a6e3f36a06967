"""The report of an installation from a medium: read, proven, and put into the server's time."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.first_report import (
    FIRST_LINE,
    FirstReport,
    credential,
    parse,
    placed,
    proof,
    proven,
    split,
)

FACTS = "mac 52:54:00:00:00:01\nfirmware uefi\nmemory 1073741824\n"
LINES = (
    "medium 0123456789abcdef",
    f"nonce {'ab' * 16}",
    "release 20260101-00000000000a",
    "profile vm",
    "hostname web1",
    f"fingerprint {'cd' * 32}",
    "event 1000 stage done 12.5 2000000 stage.tar unpacked",
    "event 1060 packages done 60.0 -",
    "sent 2000",
)
KEY = credential(b"secret", "0123456789abcdef")


def text_of(*lines: str, facts: str = FACTS) -> str:
    return "\n".join([FIRST_LINE, *(lines or LINES), "", facts])


def test_a_report_is_read() -> None:
    report = parse(text_of())
    assert (report.medium, report.release, report.profile) == (
        "0123456789abcdef", "20260101-00000000000a", "vm",
    )  # fmt: skip
    assert (report.hostname, report.token, report.facts.mac) == ("web1", "", "52:54:00:00:00:01")
    first, second = report.events
    assert (first.stage, first.seconds, first.size_bytes) == ("stage", 12.5, 2_000_000)
    assert (first.message, second.size_bytes, second.message) == ("stage.tar unpacked", None, "")


def with_line(old: str, new: str) -> str:
    return text_of(*(new if line.startswith(old) else line for line in LINES))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the report starts with ''"),
        (with_line("medium", "medium ../x"), "line 2 of the report is not understood: 'medium ../x'"),
        (with_line("nonce", "nonce short"), "line 3"),
        (with_line("release", "release 20260101"), "line 4"),
        (with_line("hostname", "hostname -x"), "line 6"),
        (with_line("sent", "sent 1e9"), "line 10"),
        (with_line("sent", "sent 1\nsent 2"), "line 11"),
        (with_line("sent", "token " + "ab" * 16), "the report does not say: sent"),
        (with_line("event 1000", "event 1000 stage done 12.5"), "has 4 words after event"),
        (with_line("event 1000", "event - stage done 1 1"), "has no numbers"),
        (with_line("event 1000", "event 1 stage done nan 1"), "has no numbers"),
        (with_line("event 1000", "event 1 stage done 1 1.5"), "has no numbers"),
        (with_line("event 1000", "event 1 stage done 10000000 1"), "has no numbers"),
        (with_line("event 1000", "event 1 Stage done 1 1"), "is not `event"),
        (with_line("event 1000", "event 1 stage begin 1 1"), "is not `event"),
        (with_line("event 1000", "\n".join(["event 1 stage done 1 1"] * 201)), "line 208"),
        (text_of(facts="mac x\n"), "facts line 1"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(Problem, match=re.escape(said)):
        parse(text)


@given(st.text())
def test_whatever_comes_is_a_report_or_a_problem(text: str) -> None:
    for body in (text, text_of(text), text_of(facts=text)):
        try:
            assert isinstance(parse(body), FirstReport)
        except Problem:
            continue


def test_only_the_credential_of_the_medium_proves_a_report() -> None:
    text = text_of()
    told, proven_text = split(f"hmac {proof(KEY, text)}\n{text}")
    assert proven_text == text
    assert proven(told, KEY, text)
    assert not proven(told, KEY, text + " ")
    assert not proven(told, credential(b"secret", "0123456789abcdee"), text)
    assert not proven(told, credential(b"another", "0123456789abcdef"), text)
    assert not proven("ä", KEY, text)


def test_a_body_without_a_proof_is_refused() -> None:
    with pytest.raises(Problem, match="expected `hmac"):
        split(text_of())


def test_steps_are_as_long_ago_as_the_machine_says_whatever_its_clock_shows() -> None:
    report = parse(text_of())  # the last step was 940 s before it was sent
    assert [one.at for one in placed(report, now=1e9, since=0.0)] == [1e9 - 1000, 1e9 - 940]


@pytest.mark.parametrize("sent", ["sent 1050", "sent 999999999"])
def test_of_a_clock_that_was_set_in_between_the_last_step_ends_now(sent: str) -> None:
    report = parse(with_line("sent", sent))
    assert [one.at for one in placed(report, now=1e9, since=9e8)] == [1e9 - 60, 1e9]


def test_a_step_from_before_the_installer_set_the_clock_ends_when_the_next_begins() -> None:
    steps = ["event 20 planner done 5.0 -", "event 30 verify done 8.0 -", "event 900000 stage done 12.5 -"]
    report = parse(with_line("event 1000", "\n".join(steps)).replace("event 1060", "event 900060"))
    placed_at = [(one.stage, one.at) for one in placed(report, now=1e9, since=1e9 - 500)]
    assert placed_at == [
        ("planner", 1e9 - 80.5), ("verify", 1e9 - 72.5), ("stage", 1e9 - 60), ("packages", 1e9),
    ]  # fmt: skip


def test_a_report_without_steps_has_none() -> None:
    lines = [line for line in LINES if not line.startswith("event")]
    assert placed(parse(text_of(*lines)), now=5.0, since=0.0) == []
