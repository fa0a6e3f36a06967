"""Pictures of the overview, parts of lists, and how numbers are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui.glance import LEAST, WIDTH, along, parts
from webui.paging import sheet_of
from webui.words import number, share, size

COUNTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 10**6), min_size=1, max_size=8)


@given(COUNTS)
def test_parts_fill_the_bar_side_by_side_and_each_is_seen(counts: dict[str, int]) -> None:
    found = parts(counts)
    assert [part.name for part in found] == [name for name, count in counts.items() if count]
    end = 0.0
    for part in found:
        assert part.left == pytest.approx(end, abs=0.2)
        assert part.width > LEAST / 2
        end = part.left + part.width
    assert not found or end == pytest.approx(WIDTH, abs=0.2)


def test_a_part_is_as_wide_as_its_share() -> None:
    small, large = parts({"a": 1, "none": 0, "b": 3})
    assert (small.width, large.left, large.width) == (250.0, 250.0, 750.0)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_time_stays_on_its_axis(start: float, length: float, first: float, whole: float) -> None:
    left, width = along(start, start + length, first=first, last=first + whole)
    assert left >= 0 and width >= LEAST and left + width <= WIDTH + 0.2


def test_a_time_lies_where_it_belongs() -> None:
    assert along(50, 100, first=0, last=200) == (250.0, 250.0)
    assert along(-50, 100, first=0, last=200) == (0.0, 500.0)


@pytest.mark.parametrize(
    ("asked", "number_", "offset"),
    [
        ("", 1, 0),
        ("2", 2, 50),
        ("3", 3, 100),
        ("4", 3, 100),
        ("0", 1, 0),
        ("-1", 1, 0),
        ("²", 1, 0),
        ("9" * 99, 1, 0),
    ],
)
def test_an_address_asks_for_a_part_that_there_is(asked: str, number_: int, offset: int) -> None:
    sheet = sheet_of({"page": asked}, 101)
    assert (sheet.number, sheet.offset, sheet.count) == (number_, offset, 3)


def test_the_neighbours_keep_the_words_of_the_address() -> None:
    sheet = sheet_of({"page": "2", "text": "web", "state": ""}, 101)
    assert (sheet.before, sheet.after) == (1, 3)
    assert sheet.words(3) == {"text": "web", "page": "3"}
    alone = sheet_of({}, 0)
    assert (alone.count, alone.before, alone.after) == (1, None, None)


def test_sizes_shares_and_numbers_are_short() -> None:
    assert [size(count) for count in (0, 1023, 1536, 5 << 30, 300 << 20, 5 << 50)] == [
        "0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB", "300 MiB", "5120 TiB",
    ]  # fmt: skip
    assert (share(0.999), share(1.0)) == ("99 %", "100 %")
    assert number(10_000) == "10\u202f000"
