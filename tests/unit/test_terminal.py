"""What a person types at a console: what is the machine's, and what is ours."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.terminal import Escapes


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (b"ls\r", [(b"ls\r", b"")]),
        (b"~.", [(b"", b".")]),
        (b"reboot\r~.", [(b"reboot\r", b".")]),
        (b"cd ~.\r", [(b"cd ~.\r", b"")]),
        (b"\r~B", [(b"\r", b"B")]),
        (b"\r~?x", [(b"\r", b"?"), (b"x", b"")]),
        (b"\r~~.", [(b"\r~.", b"")]),
        (b"\r~x", [(b"\r~x", b"")]),
        (b"\r~", [(b"\r", b"")]),
        (b"~B~.", [(b"", b"B"), (b"", b".")]),
    ],
)
def test_a_tilde_at_the_start_of_a_line_is_ours(typed: bytes, found: list[tuple[bytes, bytes]]) -> None:
    assert Escapes().feed(typed) == found


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_it_does_not_matter_how_the_keys_come(typed: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(typed), *(min(cut, len(typed)) for cut in cuts)})
    escapes, pieces = Escapes(), []
    for start, end in itertools.pairwise(places):
        pieces += escapes.feed(typed[start:end])
    whole = Escapes().feed(typed)
    assert b"".join(keys + wish for keys, wish in pieces) == b"".join(keys + wish for keys, wish in whole)


@given(st.binary(max_size=80).filter(lambda typed: b"~" not in typed))
def test_without_a_tilde_all_is_the_machines(typed: bytes) -> None:
    assert b"".join(keys for keys, _ in Escapes().feed(typed)) == typed
