"""Three versions of a file: laws that hold for all texts, and the cases that each have a rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distserver_client import keyvalue, survival
from distserver_client.keyvalue import Dialect
from distserver_client.merging import (
    Decision,
    KeepOurs,
    Merged,
    Question,
    Same,
    TakeTheirs,
    decide,
)
from distserver_client.threeway import LEFT_OVER, Clash, Plain, diff3, pieces
from distserver_client.triples import ABSENT, Kind, Version

PATH = "/etc/conf.d/thing"
LINES = st.sampled_from(
    [
        *(b"", b"#", b"# a", b"a=1", b"a=2", b"b=1", b'b="1', b'2"', b"c 1", b"[x]", b"}"),
        *(b"=======", b"<<<<<<< x", b"\xff\r", b"no\0text", b"a=1 # b"),
    ]
)
TEXTS = st.tuples(st.lists(LINES, max_size=8), st.booleans()).map(
    lambda made: b"\n".join(made[0]) + (b"\n" if made[1] else b"")
)
VERSIONS = st.one_of(
    TEXTS.map(lambda text: Version(Kind.FILE, text)),
    st.just(ABSENT),
    st.just(Version(Kind.LINK, b"target")),
    st.just(Version(Kind.DIRECTORY)),
)


def result(decision: Decision, ours: Version, theirs: Version) -> Version | None:
    """What is there afterwards; None when somebody has to say."""
    if isinstance(decision, Question):
        return None
    if isinstance(decision, Merged):
        return Version(Kind.FILE, decision.content)
    return theirs if isinstance(decision, TakeTheirs) else ours


def merge(base: bytes, ours: bytes, theirs: bytes, path: str = PATH) -> bytes | str:
    """The result, or why it is a question."""
    mine, yours = Version(Kind.FILE, ours), Version(Kind.FILE, theirs)
    decision = decide(path, Version(Kind.FILE, base), mine, yours, diff3)
    if isinstance(decision, Question):
        return decision.why
    made = result(decision, mine, yours)
    assert made is not None
    return made.content


@given(base=VERSIONS, other=VERSIONS)
@settings(deadline=None, max_examples=200)
def test_laws_of_one_change(base: Version, other: Version) -> None:
    assert result(decide(PATH, base, base, other, diff3), base, other) == other
    assert result(decide(PATH, base, other, other, diff3), other, other) == other
    if other.kind is not Kind.ABSENT:
        assert result(decide(PATH, base, other, base, diff3), other, base) == other


@given(base=TEXTS, ours=TEXTS, theirs=TEXTS)
@settings(deadline=None, max_examples=150)
def test_laws_of_two_changes(base: bytes, ours: bytes, theirs: bytes) -> None:
    made = merge(base, ours, theirs)
    assert made == merge(base, ours, theirs)
    if isinstance(made, bytes) and made not in (ours, theirs):
        assert not LEFT_OVER.search(made)
        assert merge(theirs, made, theirs) == made
        assert set(made.split(b"\n")) <= {b"", *base.split(b"\n"), *ours.split(b"\n"), *theirs.split(b"\n")}


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_changes_that_are_far_apart_are_both_there(data: st.DataObject) -> None:
    count = data.draw(st.integers(12, 30))
    base = [b"key%d=0\n" % number for number in range(count)]
    ours, theirs = list(base), list(base)
    mine = data.draw(st.integers(0, count - 1))
    yours = data.draw(st.integers(0, count - 1).filter(lambda number: number != mine))
    ours[mine] = b"key%d=mine\n" % mine
    theirs[yours] = b"key%d=theirs\n" % yours
    expected = list(ours)
    expected[yours] = theirs[yours]
    # Neighbours, too: they are keys of their own.
    assert merge(b"".join(base), b"".join(ours), b"".join(theirs)) == b"".join(expected)


TEN = b"".join(b"%d\n" % number for number in range(10))
ONE = TEN.replace(b"1\n", b"one\n")
EIGHT = b"8\n", b"eight\n"
X = TEN.replace(b"3\n", b"x\n")


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        (TEN, ONE, TEN.replace(*EIGHT), ONE.replace(*EIGHT)),
        (TEN, TEN + b"ten\n", b"new\n" + TEN, b"new\n" + TEN + b"ten\n"),
        # No newline at the end: in the base, in ours, in theirs, in all.
        (TEN[:-1], ONE[:-1], b"new\n" + TEN[:-1], b"new\n" + ONE[:-1]),
        (TEN, TEN[:-1], b"new\n" + TEN, b"new\n" + TEN[:-1]),
        (TEN, b"new\n" + TEN, TEN[:-1], b"new\n" + TEN[:-1]),
        # Windows line ends in all of them.
        (b"a\r\n1\r\n2\r\n3\r\n", b"A\r\n1\r\n2\r\n3\r\n", b"a\r\n1\r\n2\r\nd\r\n", b"A\r\n1\r\n2\r\nd\r\n"),
        # Both did the same, and one of them more.
        (TEN, X, X + b"y\n", X + b"y\n"),
    ],
)  # fmt: skip
def test_clean_merges(base: bytes, ours: bytes, theirs: bytes, expected: bytes) -> None:
    assert merge(base, ours, theirs, "/etc/notes") == expected


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "why"),
    [
        (b"a\0\n", b"b\0\n", b"c\0\n", "not a text"),
        (b"a\n" * 9, b"b\n", b"c\n" * (1 << 20), "larger"),
        (b"a\nb\nc\nd\n", b"a\r\nb\r\nc\r\nd\r\n", b"a\nb\nc\ne\n", "line ends"),
        (b"a\nb\n=======\nd\n", b"A\nb\n=======\nd\n", b"a\nb\n=======\nD\n", "marker"),
        (b"a\nb\nc\nd\n", b"a\nX\nc\nd\n", b"a\nY\nc\nd\n", "same lines"),
        # Neighbours in a file of which nobody knows what a line means.
        (b"go\nleft\nnow\n", b"go!\nleft\nnow\n", b"go\nleft!\nnow\n", "same lines"),
        # Far apart, but of one setting: the later (or the earlier) one would undo the other.
        (TEN, b"Port 22\n" + TEN, TEN + b"Port 2222\n", "both sides changed 'Port'"),
        (b"k=1\n" + TEN, TEN, b"k=1\n" + TEN + b"k=2\n", "both sides changed 'k'"),
    ],
)
def test_questions(base: bytes, ours: bytes, theirs: bytes, why: str) -> None:
    assert why in str(merge(base, ours, theirs, "/etc/notes"))


def test_the_same_change_twice_is_not_taken_for_one() -> None:
    assert merge(b"1\n2\n3\n", b"x\n1\n2\n3\n", b"1\n2\n3\nx\n", "/etc/notes") == b"x\n1\n2\n3\nx\n"


def test_trivial_cases_by_kind() -> None:
    link, other, file = Version(Kind.LINK, b"a"), Version(Kind.LINK, b"b"), Version(Kind.FILE, b"x")
    new = Version(Kind.FILE, b"y")
    assert decide(PATH, file, ABSENT, file, diff3) == KeepOurs("not changed by the package")
    assert decide(PATH, file, new, ABSENT, diff3) == KeepOurs(
        "changed here; the package does not ship it any more"
    )
    assert decide(PATH, file, file, ABSENT, diff3) == TakeTheirs("not changed here")
    assert decide(PATH, None, new, new, diff3) == Same()
    assert decide(PATH, file, Version(Kind.FILE, b"x", 0o600), Version(Kind.FILE, b"x"), diff3) == Same()
    for base, ours, theirs in (
        (None, file, new),
        (file, ABSENT, new),
        (ABSENT, file, new),
        (file, link, new),
        (link, other, Version(Kind.LINK, b"c")),
        (file, Version(Kind.DIRECTORY), new),
    ):
        assert isinstance(decide(PATH, base, ours, theirs, diff3), Question)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "expected"),
    [
        # Neighbours.
        (b"a=1\nb=1\n", b"a=2\nb=1\n", b"a=1\nb=3\n", b"a=2\nb=3\n"),
        # Each added one at the same place; the comment of ours comes along.
        (b"a=1\n", b"a=1\n# mine\nm=1\n", b"a=1\n# new\nn=1\n", b"a=1\n# mine\nm=1\n# new\nn=1\n"),
        # The commented default was changed by them and put to use by us.
        (b"#p=1\nq=1\n", b"p=2\nq=1\n", b"#p=3\nq=1\n", b"p=2\n#p=3\nq=1\n"),
        # We removed one, they changed its neighbour.
        (b"a=1\nb=1\nc=1\n", b"a=1\nc=1\n", b"a=1\nb=1\nc=2\n", b"a=1\nc=2\n"),
        # Both wrote another comment on it: both stay.
        (b"# c\na=1\n", b"# c of ours\na=2\n", b"# c of theirs\na=1\n", b"# c of ours\n# c of theirs\na=2\n"),
        # The sentences of a comment keep their order, and what came after a setting comes after it.
        (b"# A\n# B\nb=1\n", b"# A\n# B of ours\nb=1\n", b"# A of theirs\n# B\nb=1\n",
         b"# A of theirs\n# B of ours\nb=1\n"),
        (b"a=1\n", b"a=1\n# mine\nm=$a\n", b"a=2\n", b"a=2\n# mine\nm=$a\n"),
        # A value of several lines is one value.
        (b'U="a\nb"\nv=1\n', b'U="a\nb\nc"\nv=1\n', b'U="a\nb"\nv=2\n', b'U="a\nb\nc"\nv=2\n'),
        (b"[x]\na = 1\nb = 1\n[y]\na = 1\n", b"[x]\na = 2\nb = 1\n[y]\na = 1\n",
         b"[x]\na = 1\nb = 2\n[y]\na = 1\n", b"[x]\na = 2\nb = 2\n[y]\na = 1\n"),
    ],
)  # fmt: skip
def test_settings_are_merged_by_key(base: bytes, ours: bytes, theirs: bytes, expected: bytes) -> None:
    assert merge(base, ours, theirs) == expected


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [
        (b"a=1\nb=1\n", b"a=2\nb=1\n", b"a=3\nb=1\n"),
        (b"a=1\nb=1\n", b"b=1\n", b"a=3\nb=1\n"),
        (b"#p=1\n", b"p=2\n", b"p=3\n"),
        (b'U="a\nb"\n', b'U="a\nb\nc"\n', b'U="a\nd"\n'),
        (b"if x; then\na=1\nb=1\nfi\n", b"if x; then\na=2\nb=1\nfi\n", b"if x; then\na=1\nb=2\nfi\n"),
        (b"[x]\na=1\n", b"[y]\na=1\n", b"[x]\na=2\n"),
    ],
)
def test_a_key_that_both_changed_is_a_question(base: bytes, ours: bytes, theirs: bytes) -> None:
    assert isinstance(merge(base, ours, theirs), str)


def test_dialects() -> None:
    assert keyvalue.dialect("/etc/sysctl.conf", b"# x\nnet.ipv4.ip_forward = 1\n-a.b=2\n") is Dialect.EQUALS
    assert keyvalue.dialect("/etc/x.ini", b"[a]\nkey word = 1\n more\n[b]\nx: 2\n") is Dialect.INI
    assert keyvalue.dialect("/etc/ssh/sshd_config", b"Port 22\nMatch User x\n  Port 1\n") is Dialect.WORDS
    assert keyvalue.dialect("/etc/x", b"#!/bin/sh\na=1\n") is None
    assert keyvalue.dialect("/etc/x", b'a="1\n') is None
    assert keyvalue.dialect("/etc/x", b"a=1\n", b"while true\n") is None


def test_a_section_is_part_of_a_key() -> None:
    read = keyvalue.settings(b"[a]\nx=1\n[b]\nx=2\n", Dialect.INI)
    assert read is not None
    assert (read[b"[[a]\nx"], read[b"[[b]\nx"]) == ((b"x=1",), (b"x=2",))


def test_a_result_that_lost_something_is_seen() -> None:
    base, ours, theirs = TEN, TEN.replace(b"1\n", b"one\n"), TEN.replace(b"8\n", b"eight\n")
    good = ours.replace(b"8\n", b"eight\n")
    assert survival.complaint(PATH, base, ours, theirs, good) == ""
    for bad in (ours, theirs, base, good + b"more\n", good.replace(b"5\n", b""), b"eight\n" + ours):
        assert survival.complaint(PATH, base, ours, theirs, bad)
    moved = b"one\n" + TEN.replace(b"1\n", b"").replace(b"8\n", b"eight\n")
    assert survival.complaint(PATH, base, ours + b"z\n", theirs, b"z\n" + good)
    assert survival.complaint(PATH, base, ours, theirs, moved) == ""


def test_what_diff3_says_is_read() -> None:
    said = b"a\n<<<<<<< base\nb\n=======\nB\n>>>>>>> theirs\n"
    assert pieces(said) == [Plain((b"a\n", b"B\n"))]
    clash = b"<<<<<<< ours\n1\n||||||| base\n=======\n2\n>>>>>>> theirs\nz\n"
    assert pieces(clash) == [Clash((), (b"1\n",), (b"2\n",)), Plain((b"z\n",))]
    for cut in range(1, 5):
        assert pieces(b"\n".join(clash.split(b"\n")[:cut]) + b"\n") is None
    assert pieces(b"=======\n") is None
    assert diff3(b"a\n", b"b\n", b"c\n") == [Clash((b"a\n",), (b"b\n",), (b"c\n",))]
