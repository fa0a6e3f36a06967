"""REQUIRED_USE: which flags of a package have to change."""

import pytest

from buildfarm.required_use import flags, holds, solve

SHOWN = 'USE="one -two (-forced) new%* {-test}" ABI_X86="(64) -32" PYTHON_TARGETS="-python3_12 -python3_13"'


def test_flags_as_emerge_shows_them() -> None:
    is_set, forced = flags(SHOWN)
    assert is_set == {
        "one": True,
        "two": False,
        "forced": False,
        "new": True,
        "test": False,
        "abi_x86_64": True,
        "abi_x86_32": False,
        "python_targets_python3_12": False,
        "python_targets_python3_13": False,
    }
    assert forced == {"forced", "abi_x86_64"}


@pytest.mark.parametrize(
    ("expression", "held"),
    [
        ("", True),
        ("a", True),
        ("!a", False),
        ("a b", False),
        ("a? ( b )", False),
        ("b? ( c )", True),
        ("!b? ( a )", True),
        ("any-of ( b c )", False),
        ("any-of ( b ( a !c ) )", True),
        ("exactly-one-of ( a b )", True),
        ("exactly-one-of ( b c )", False),
        ("at-most-one-of ( a !b )", False),
        ("a? ( any-of ( b !c ) ) b", False),
    ],
)
def test_what_holds(expression: str, held: bool) -> None:
    assert holds(expression, {"a": True, "b": False, "c": False}) is held


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("one? ( two )", ["two"]),
        ("one? ( forced )", ["-one"]),
        (
            "!two? ( any-of ( python_targets_python3_12 python_targets_python3_13 ) )",
            ["python_targets_python3_12"],
        ),
        (
            "exactly-one-of ( python_targets_python3_12 python_targets_python3_13 )",
            ["python_targets_python3_12"],
        ),
        ("two test", ["two", "test"]),
        ("!one", ["-one"]),
        ("forced", []),
        ("unknown", []),
    ],
)
def test_the_fewest_flags_that_help(expression: str, words: list[str]) -> None:
    is_set, forced = flags(SHOWN)
    assert solve(expression, is_set, forced) == words
