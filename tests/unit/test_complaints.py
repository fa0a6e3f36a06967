"""Portage's words, recorded from 3.0.83, as questions; and what they become in a Resolution."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildfarm.complaints import masked_question, read_complaints
from buildfarm.inside.words import lines, missing, rebuilds
from buildfarm.resolution import QuestionKind, parse

RECORDED = Path(__file__).resolve().parent.parent / "data/portage/complaints"
EMPTY: dict[str, Any] = {
    "portage": "3.0.83",
    "method": "emerge --pretend",
    "complete": True,
    "choices": [],
    "uninstalls": [],
    "missing": {},
    "words": "",
}


def words(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cycle", [("cycle", "app-misc/egg app-misc/hen", "package.use: =app-misc/egg-1 -hatch")]),
        (
            "slot-conflict",
            [
                (
                    "slot-conflict",
                    "app-misc/lib:0",
                    "package.mask: =app-misc/lib-2 or package.mask: =app-misc/lib-1",
                )
            ],
        ),
        ("masked", [("mask", "app-misc/masked", "package.unmask: =app-misc/masked-1")]),
        ("required-use", [("required-use", "app-misc/required", "package.use: app-misc/required two")]),
        ("use", [("use", "app-misc/flag", "package.use: app-misc/flag fast")]),
        (
            "changes",
            [
                (
                    "keyword",
                    "app-misc/testing",
                    "package.accept_keywords: =app-misc/testing-1 ~amd64",
                ),
                ("use", "app-misc/flag", "package.use: >=app-misc/flag-1 fast"),
                ("license", "app-misc/evil", "package.license: >=app-misc/evil-1 Evil"),
            ],
        ),
        ("skipped", [("skipped", "app-misc/lib:0", "")]),
        ("solved-blocker", []),
        ("no-such-set", [("set", "nosuch", "")]),
        (
            "no-binary",
            [
                (
                    "unsatisfied",
                    "app-misc/chain",
                    "perhaps app-misc/shifting, app-misc/shrunk, app-misc/leaf is meant",
                )
            ],
        ),
        (
            "world",
            [
                ("missing", "app-misc/absent", ""),
                ("missing", "app-misc/masked", ""),
                ("missing", "app-misc/testing", ""),
            ],
        ),
    ],
)
def test_a_complaint_is_a_question(name: str, expected: list[tuple[str, str, str]]) -> None:
    found = read_complaints(words(name))
    assert [(one.kind.value, one.subject, one.suggestion) for one in found] == expected


@pytest.mark.parametrize("how", ["hard", "soft"])
def test_a_blocker_says_who_pulled_both_in(how: str) -> None:
    (question,) = read_complaints(words(f"{how}-blocker"))
    assert question.kind is QuestionKind.BLOCKER
    assert question.subject == "app-misc/victim"
    assert question.text.startswith(f"app-misc/victim is {how} blocking app-misc/{how}-1\n")


def test_the_lines_of_a_cycle_are_portages_own() -> None:
    (question,) = read_complaints(words("cycle"))
    assert "(buildtime, USE=hatch)" in question.text


def test_what_no_rule_knows_is_a_question_too() -> None:
    text = "\n!!! The moon is in the wrong phase.\n!!! Wait.\n\nCalculating ...\n"
    (question,) = read_complaints(text)
    assert question.kind is QuestionKind.OTHER
    assert question.subject == "The moon is in the wrong phase."
    assert question.text == "!!! The moon is in the wrong phase.\n!!! Wait."


def test_the_candidate_that_needs_the_fewest_lines_is_suggested() -> None:
    rows = [
        ("cat/one-9999", "missing keyword, package.mask"),
        ("cat/one-3", "EAPI 99"),
        ("cat/one-2", "~amd64 keyword"),
        ("cat/one-1", "package.mask"),
    ]
    question = masked_question("cat/one", rows)
    assert question.kind is QuestionKind.KEYWORD
    assert question.suggestion == "package.accept_keywords: =cat/one-2 ~amd64"
    assert masked_question("cat/one", [("cat/one-3", "EAPI 99")]).suggestion == ""


def test_a_resolver_that_gave_up_without_a_word_is_a_question() -> None:
    found = parse({**EMPTY, "complete": False, "words": "what?"})
    assert [(one.kind, one.text) for one in found.questions] == [(QuestionKind.OTHER, "what?")]
    assert parse(EMPTY).questions == ()


def test_advice_completes_the_first_complaint_and_adds_what_would_come_next() -> None:
    answer = {**EMPTY, "complete": False, "words": words("use"), "advice": words("changes")}
    use, keyword, licence = parse(answer).questions
    assert (use.kind, use.suggestion) == (QuestionKind.USE, "package.use: >=app-misc/flag-1 fast")
    assert "there are no ebuilds built with USE flags" in use.text
    assert "the following USE change is necessary" in use.text
    assert (keyword.kind, licence.kind) == (QuestionKind.KEYWORD, QuestionKind.LICENSE)


def test_a_missing_world_atom_shows_why_each_candidate_is_masked() -> None:
    masked = {"app-misc/masked": [{"cpv": "app-misc/masked-1", "masks": ["package.mask"]}]}
    absent, found, _ = parse({**EMPTY, "words": words("world"), "missing": masked}).questions
    assert absent.suggestion == ""
    assert found.suggestion == "package.unmask: =app-misc/masked-1"
    assert "app-misc/masked-1 (masked by: package.mask)" in found.text


def test_lines_of_emerge_have_build_ids_slots_and_repositories() -> None:
    text = (
        '[binary   R    ~] app-misc/a-1-2.5-r1-3:0/4::tree [1.1:0/3::tree] USE="a* -b" 12 KiB\n'
        "[binary  N     ] app-misc/plain-7::tree  0 KiB\n"
        "[ebuild     U  ] dev-libs/b-2_rc1-4:2::other [1:2::other] 0 KiB\n"
        "[uninstall     ] app-misc/old-1::tree \n"
        "[blocks b      ] app-misc/old (is soft blocking app-misc/new-1)\n"
    )
    assert [tuple(row.values()) for row in lines(text)] == [
        ("app-misc/a-1-2.5-r1", "binary", "tree", 3),
        ("app-misc/plain-7", "binary", "tree", None),
        ("dev-libs/b-2_rc1-4", "ebuild", "other", None),
        ("app-misc/old-1", "uninstall", "tree", None),
    ]


def test_skipped_world_atoms_are_read() -> None:
    assert missing(words("world")) == {"app-misc/absent", "app-misc/masked", "app-misc/testing"}


def test_rebuilds_are_read_with_their_cause() -> None:
    text = """
The following packages are causing rebuilds:

  (app-misc/so-2:0/2::tree, ebuild scheduled for merge) causes rebuilds for:
    (app-misc/user-1:0/0::tree, ebuild scheduled for merge)
    (app-misc/other-3:0/0::tree, ebuild scheduled for merge)
"""
    assert rebuilds(text) == {"app-misc/user-1": ["app-misc/so-2"], "app-misc/other-3": ["app-misc/so-2"]}


@given(st.text(max_size=80))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_complaints(f"!!! {text}")
