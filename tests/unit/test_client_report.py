"""Reports of installed machines: whatever they say is bounded, and what is kept reads back the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client_report import MOST_BYTES, MOST_DRIFT, Phase, read_report, write_report
from appliance.errors import Problem

ID = "20260101-000000000000"
TEXT = st.text(alphabet="a0Z/ \x00\x1b\u202e\ud800\xe9", max_size=9) | st.sampled_from(("current", ID))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
KEYS = ("release", "target", "phase", "said", "inventory", "packages", "drift", "drifts", "reboot", "kernel",
        "merges", "health", "facts", "steps", "unread", "local", "locals", "questions", "services", "stale",
        "lists", "reboot_for")  # fmt: skip


def body(**said: object) -> bytes:
    return json.dumps({"phase": "current", "release": ID} | said).encode()


def test_a_whole_report_reads_and_is_kept_as_it_is() -> None:
    said = read_report(
        body(
            inventory="ab" * 32,
            packages=140,
            drift=[{"kind": "file", "name": "/etc/motd", "said": "changed"}],
            drifts=9,
            unread=2,
            local=[{"path": "/etc/issue", "said": "changed here"}],
            questions=[{"path": "/etc/shadow", "here": True}],
            services=["sshd"],
            reboot=True,
            reboot_for="another kernel",
            lists="cd" * 32,
            kernel="6.1.176",
            merges=2,
            health="ok",
            facts={"cpu": "x"},
            steps=[{"name": "fetch", "seconds": 1.5, "bytes": 10}],
            later="what this server does not know",
        )
    )
    assert said.phase is Phase.CURRENT and said.drifts == 9 and said.reboot and not said.failed
    assert (said.locals, said.stale, said.merges, said.unread) == (1, 1, 2, 2)
    assert read_report(write_report(said).encode()) == said


def test_orders_to_terminals_and_turned_writing_are_taken_out() -> None:
    said = read_report(body(said="a\x1b[2J\u202eb\x00\ud800c", kernel="x" * 9999))
    assert said.said == "a\ufffd[2J\ufffdb\ufffd\ufffdc" and len(said.kernel) == 300


def test_a_long_list_is_cut_and_still_counted() -> None:
    said = read_report(body(drift=[{"kind": "file", "name": "x"}] * (MOST_DRIFT + 5), drifts=MOST_DRIFT + 5))
    assert len(said.drift) == MOST_DRIFT and said.drifts == MOST_DRIFT + 5


def test_a_failed_update_and_a_failed_health_check_are_failures() -> None:
    assert read_report(body(phase="failed")).failed and read_report(body(health="failed")).failed


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"null",
        b"{",
        b'{"phase": "flying"}',
        b'{"phase": "current", "steps": [{"seconds": NaN}]}',
        b'{"phase": "current", "steps": [{"seconds": -1}]}',
        b'{"phase": "current", "merges": true}',
        b'{"phase": "current", "facts": {"a": 1}}',
        b'{"phase": "current", "drift": [{"kind": "moon"}]}',
        b'{"phase": "current", "inventory": "AB"}',
        b'{"phase": "current", "services": "sshd"}',
        b'{"phase": "current", "services": [1]}',
        b'{"phase": "current", "local": [1]}',
        b'{"phase": "current", "lists": "AB"}',
        b" " * (MOST_BYTES + 1),
    ],
)
def test_what_makes_no_sense_is_a_sentence(said: bytes) -> None:
    with pytest.raises(Problem):
        read_report(said)


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_anything_at_all_is_a_report_or_a_problem(said: dict[str, object]) -> None:
    try:
        read = read_report(json.dumps(said).encode())
    except Problem:
        return
    assert read_report(write_report(read).encode()) == read
    write_report(read).encode()


@given(st.binary(max_size=300))
def test_bytes_are_a_report_or_a_problem(said: bytes) -> None:
    with pytest.raises(Problem):
        read_report(said)
