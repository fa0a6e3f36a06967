"""Texts that would break a machine, and postings of clients that make no sense: one sentence each."""

import json
from typing import Any

import pytest

from appliance.errors import Problem
from appliance.merge_checks import check
from appliance.merge_model import (
    MOST_ITEMS,
    read_posting,
)
from tests.mergeyard import item


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("/etc/a", b"x\n<<<<<<< ours\ny\n=======\nz\n>>>>>>> theirs\n", "line 2 is a marker"),
        ("/etc/a", b"||||||| base\n", "line 1 is a marker"),
        ("/etc/a.json", b"{,}", "would not be read"),
        ("/etc/a.toml", b"a = \n", "would not be read"),
        ("/etc/a.xml", b"<a><b></a>", "would not be read"),
        ("/etc/a.py", b"def\n", "would not be read"),
        ("/etc/a.ini", b"[a\n", "would not be read"),
        ("/etc/a.json", b"[" * 100_000, "would not be read"),
    ],
)
def test_what_cannot_be_is_refused_before_any_machine_gets_it(path: str, content: bytes, said: str) -> None:
    with pytest.raises(Problem, match=said):
        check(path, content)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/a", b"Title\n=======\n"),
        ("/etc/a.json", b'{"a": 1}\n'),
        ("/etc/php.ini", b"engine = On\n[PHP]\nextension=a\nextension=b\n"),
        ("/etc/a.xml", b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "a.dtd"><a/>'),
        ("/etc/noending", b"\xff\x00"),
    ],
)
def test_what_is_usual_is_not_refused(path: str, content: bytes) -> None:
    check(path, content)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (b"\xff", "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b"3", "expected a list"),
        (b'{"items": 3}', "expected a list"),
        (b"[3]", "item 0 is no object"),
        (json.dumps([{}] * (MOST_ITEMS + 1)).encode(), "at most"),
        (b" " * 600_000, "at most"),
    ],
)
def test_a_posting_that_makes_no_sense_is_one_sentence(said: bytes, wrong: str) -> None:
    with pytest.raises(Problem, match=wrong) as caught:
        read_posting(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "etc/passwd"), ("path", "/etc/../x"), ("path", "/a//b"), ("path", "/a\nb"),
        ("path", "/\ud800"),
        ("path", "/" + "a" * 2000), ("path", 7), ("path", None), ("path", "/a\x7f"), ("base", "ab"),
        ("ours", 7), ("theirs", ["a"]), ("secret", "yes"), ("mode", "0644"), ("mode", -1), ("mode", 1 << 70),
        ("why", 3), ("said", {}), ("state", "odd"), ("state", []), ("result", "AB" * 32),
    ],
)  # fmt: skip
def test_an_item_that_makes_no_sense_is_named(name: str, value: Any) -> None:
    with pytest.raises(Problem, match="item 1"):
        read_posting(json.dumps([item(), item() | {name: value}]).encode())
