"""States of a compile host, what it may say of itself, and how long a bad one is kept out."""

import pytest

from appliance.compile_host import (
    FIRST_QUARANTINE_SECONDS,
    LONGEST_QUARANTINE_SECONDS,
    CompileHost,
    HostReport,
    HostState,
    accept,
    heard,
    parse_report,
    punish,
    settle,
)
from appliance.errors import Problem

HASH = "ab" * 32
TEXT = f"host one\narch x86_64\ncpus 8\nmemory 1024\nload 0.5\nserial 7\nruns {HASH} 3640\nproblem p q\n"
REPORT = HostReport("one", "x86_64", 8)


def host(state: HostState = HostState.GONE) -> CompileHost:
    return CompileHost("one", "10.0.0.1", state)


def test_a_report_is_read() -> None:
    assert parse_report(TEXT) == HostReport("one", "x86_64", 8, 1024, 0.5, 7, {HASH: 3640}, "p q")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "host is ''"),
        ("host ../one\narch x86_64", "host is '../one'"),
        ("host one\narch x86 64", "arch is"),
        ("host one\narch x86_64\ncpus 0", "cpus is '0'"),
        ("host one\narch x86_64\ncpus nan", "cpus is 'nan'"),
        ("host one\narch x86_64\nruns abc 1", "expected `runs HASH PORT`"),
        (f"host one\narch x86_64\nruns {HASH} 99999", "expected `runs HASH PORT`"),
        ("host one\nshell rm", "line 2 starts with 'shell'"),
    ],
)
def test_a_report_that_makes_no_sense_is_refused(text: str, said: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_report(text)
    assert said in caught.value.message


def test_a_known_host_that_says_hello_is_ready_and_gone_after_a_minute() -> None:
    ready = heard(host(), REPORT, now=1000.0)
    assert ready.state is HostState.READY
    assert settle(ready, now=1059.0).state is HostState.READY
    assert settle(ready, now=1061.0).state is HostState.GONE


def test_an_unknown_host_stays_unknown_until_a_person_accepts_it() -> None:
    unknown = heard(host(HostState.UNKNOWN), REPORT, now=1000.0)
    assert unknown.state is HostState.UNKNOWN
    assert accept(unknown, now=1001.0).state is HostState.READY


def test_each_quarantine_is_longer_and_has_an_end() -> None:
    bad = punish(heard(host(), REPORT, now=0.0), "wrong", now=0.0)
    assert bad.state is HostState.QUARANTINED
    assert bad.until == FIRST_QUARANTINE_SECONDS
    assert heard(bad, REPORT, now=10.0).state is HostState.QUARANTINED
    free = heard(bad, REPORT, now=bad.until + 1)
    assert free.state is HostState.READY
    assert free.reason == ""
    again = punish(free, "wrong", now=0.0)
    assert again.until == 4 * FIRST_QUARANTINE_SECONDS
    for _ in range(20):
        again = punish(again, "wrong", now=0.0)
    assert again.until == LONGEST_QUARANTINE_SECONDS


def test_a_person_can_end_a_quarantine() -> None:
    bad = punish(heard(host(), REPORT, now=0.0), "wrong", now=0.0)
    free = accept(bad, now=1.0)
    assert free.state is HostState.READY
    assert free.strikes == 0


def test_an_illegal_move_raises() -> None:
    with pytest.raises(Problem, match="is unknown and cannot become quarantined"):
        host(HostState.UNKNOWN).moved(HostState.QUARANTINED)


def test_slots_are_the_sites_or_the_processors_it_reports() -> None:
    assert heard(host(), REPORT, now=0.0).jobs == 8
    assert CompileHost("one", "10.0.0.1", HostState.GONE, slots=3, report=REPORT).jobs == 3
