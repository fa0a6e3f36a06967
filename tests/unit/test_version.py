"""Versions in their order, checked against an independent implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pkgcore.ebuild.cpv import CPV

from buildfarm.version import compare, without_revision

# A first number with a leading zero is a fraction for the other implementation, not for the specification.
NUMBERS = st.builds(
    "{}{}".format,
    st.integers(0, 300),
    st.lists(st.from_regex(r"\.[0-9]{1,3}", fullmatch=True), max_size=3).map("".join),
)
SUFFIX = st.from_regex(r"_(alpha|beta|pre|rc|p)[0-9]{0,2}", fullmatch=True)
SUFFIXES = st.lists(SUFFIX, max_size=2).map("".join)
VERSIONS = st.builds(
    "{}{}{}{}".format,
    NUMBERS,
    st.sampled_from(["", "", "a", "b"]),
    SUFFIXES,
    st.sampled_from(["", "-r0", "-r1", "-r10"]),
)


def oracle(one: str, other: str) -> int:
    first, second = (CPV(f"cat/pkg-{version}", versioned=True) for version in (one, other))
    return int(first > second) - int(first < second)


@given(VERSIONS, VERSIONS)
def test_the_order_is_the_one_another_implementation_finds(one: str, other: str) -> None:
    assert compare(one, other) == oracle(one, other)
    assert compare(other, one) == -compare(one, other)


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("1.2", "1.10"),
        ("1.010", "1.1"),
        ("1.0", "1.0.0"),
        ("1.0_rc1", "1.0"),
        ("1.0", "1.0_p1"),
        ("1.0", "1.0a"),
        ("1.0", "1.0-r1"),
        ("9", "10"),
    ],
)
def test_less_is_less(less: str, more: str) -> None:
    assert compare(less, more) == -1


def test_a_version_without_its_revision() -> None:
    assert without_revision("1.0_p1-r3") == "1.0_p1"


@pytest.mark.parametrize("text", ["", "r1", "1.", "1.0-1", "1_x", "a"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no version"):
        compare(text, "1")
