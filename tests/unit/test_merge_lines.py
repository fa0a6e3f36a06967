"""What differs between texts, and the merge that a person goes on with."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.merge_lines import BUDGET, Line, Mark, blocks, difference, lines_of, merge, panes

TEXT = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n", "\n", "x = 1\n"]), max_size=14).map("".join)


@given(TEXT, TEXT)
def test_blocks_are_the_same_in_both_and_in_order(left: str, right: str) -> None:
    one, other = lines_of(left), lines_of(right)
    at = (0, 0)
    for block in blocks(one, other):
        assert at[0] <= block.left and at[1] <= block.right
        at = block.left + block.size, block.right + block.size
        assert one[block.left : at[0]] == other[block.right : at[1]]
    assert at[0] <= len(one) and at[1] <= len(other)


@given(TEXT, TEXT)
def test_what_only_one_side_changed_is_taken(base: str, other: str) -> None:
    assert merge(base, base, other).text == other
    assert merge(base, other, base).text == other
    both = merge(base, other, other)
    assert (both.text, both.conflicts) == (other, 0)


@given(TEXT, TEXT, TEXT)
def test_every_conflict_is_counted_and_marked(base: str, ours: str, theirs: str) -> None:
    merged = merge(base, ours, theirs)
    assert merged.text.count("<<<<<<< ours\n") == merged.text.count(">>>>>>> theirs\n") == merged.conflicts


def test_changes_at_different_places_are_put_together() -> None:
    base = "a\nb\nc\nd\ne\n"
    merged = merge(base, base.replace("a", "A"), base.replace("e", "E"))
    assert (merged.text, merged.conflicts) == ("A\nb\nc\nd\nE\n", 0)


def test_both_changed_the_same_line_is_a_conflict() -> None:
    merged = merge("p 1\nq\n", "p 2\nq\n", "p 3\nq\n")
    assert merged.text == "<<<<<<< ours\np 2\n=======\np 3\n>>>>>>> theirs\nq\n"
    assert merged.conflicts == 1


def test_a_last_line_without_an_end_does_not_run_into_a_marker() -> None:
    assert "b\n=======\n" in merge("a", "b", "c").text
    assert lines_of("a\rb\x0cc\nd") == ["a\rb\x0cc\n", "d"]


def test_the_difference_has_what_goes_and_what_comes_and_folds_the_rest() -> None:
    before = "".join(f"{n}\n" for n in range(100))
    found = difference(lines_of(before), lines_of(before.replace("50\n", "fifty\n")))
    assert [(one.mark, one.number, one.text) for one in found] == [
        (Mark.FOLD, 1, "47"),
        *((Mark.SAME, n + 1, str(n)) for n in (47, 48, 49)),
        (Mark.GONE, 51, "50"),
        (Mark.NEW, 51, "fifty"),
        *((Mark.SAME, n + 1, str(n)) for n in (51, 52, 53)),
        (Mark.FOLD, 55, "46"),
    ]
    assert difference(["a\n"], ["a\n"]) == [Line(Mark.SAME, 1, "a")]
    assert [one.mark for one in difference(["a\n"], ["a"])] == [Mark.GONE, Mark.NEW]


def test_three_panes_mark_what_each_side_changed() -> None:
    base, ours, theirs = panes(["a\n", "b\n", "c\n"], ["a\n", "B\n", "c\n"], ["a\n", "b\n", "C\n"])
    assert [one.mark for one in base] == [Mark.SAME, Mark.GONE, Mark.GONE]
    assert [one.mark for one in ours] == [Mark.SAME, Mark.NEW, Mark.SAME]
    assert [one.mark for one in theirs] == [Mark.SAME, Mark.SAME, Mark.NEW]


def test_what_is_invisible_or_turns_the_writing_is_spelled_out() -> None:
    (line, _) = difference(["a\u202eb\x1b[31m\t\n"], ["\n"])
    assert line.text == "a\\u202eb\\x1b[31m\t"


def test_hostile_texts_are_compared_within_bounds() -> None:
    # 20,000 lines of four kinds, none of them once: line by line that would be 400 million pairs.
    left = [f"{n % 4}\n" for n in range(20_000)]
    right = [f"{n % 3}\n" for n in range(20_000)]
    found = blocks(left, right)
    assert sum(one.size for one in found) <= 20_000
    shuffled = [f"{(n * 7919) % 20_000}\n" for n in range(20_000)]
    assert blocks([f"{n}\n" for n in range(20_000)], shuffled)
    # Lines that are once in what is left, one after the other, with stretches of two kinds between them.
    kinds = ["x\n", "y\n"]
    before = [line for n in range(150) for line in (f"{n}\n", *(kinds[(k * k) % 3 % 2] for k in range(100)))]
    after = [line for n in range(150) for line in (f"{n}\n", *(kinds[k % 7 % 2] for k in range(100)))]
    assert len(before) * 100 > BUDGET
    assert len(blocks(before, after)) > 150
    assert blocks(["a\n"] * 20_001, ["a\n"]) == []
