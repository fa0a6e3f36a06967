"""Changes of profiles' files: which may be asked for, how two go together, what the reader says first."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.account_model import Role
from appliance.candidate import judge, line_of_key
from appliance.edit_model import (
    MOST_BYTES,
    Change,
    check_path,
    check_role,
    digest,
    encode,
    new_profile,
    who_may,
)
from appliance.errors import Problem
from appliance.overlays import example_site
from appliance.text_merge import merge


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


def change(site: Path, name: str, text: str | None, profile: str = "vm") -> Change:
    file = site / "profiles" / profile / name
    base = file.read_bytes() if file.exists() else None
    return Change(profile, name, base, None if text is None else encode(text))


@pytest.mark.parametrize(
    "name",
    ["world", "profile.toml", "portage/package.use/lua", "portage/env/a+b@c.conf", "my.config", "portage/_x"],
)
def test_files_of_a_profile_have_such_names(name: str) -> None:
    check_path("vm", name)


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "../vm/world", "portage/../../x", "portage//x", "portage/", "portage",
        "portage/.x", ".git/config", "a/b", "portage/a\nb", "portage/a b", "world\0", "-rf",
        "portage/" + "a" * 101,
        "/".join(["portage", *"abcdefgh"]), "portage/a:b", "portage/\u00e9",
    ],
)  # fmt: skip
def test_nothing_else_is_a_file_of_a_profile(name: str) -> None:
    with pytest.raises(Problem):
        check_path("vm", name)


@pytest.mark.parametrize("profile", ["", "..", "VM", "a/b", "a" * 32, "-a", ".git", "a\n"])
def test_nothing_else_is_a_profile(profile: str) -> None:
    with pytest.raises(Problem, match="name of a profile"):
        check_path(profile, "world")


def test_what_can_run_code_as_root_is_for_admins() -> None:
    for name in ("world", "portage/package.use", "portage/package.mask/lua", "portage/package.license"):
        assert who_may(name) is Role.OPERATOR
        check_role(Role.OPERATOR, name)
    for name in (
        "profile.toml", "kernel.config", "authorized_keys", "portage/make.conf", "portage/bashrc",
        "portage/env/x", "portage/package.env", "portage/patches/a/b.patch", "portage/package.use.force",
        "portage/postsync.d/x", "worldly", "portage/package.provided",
    ):  # fmt: skip
        assert who_may(name) is Role.ADMIN
        with pytest.raises(Problem, match="for admins"):
            check_role(Role.OPERATOR, name)


def test_texts_end_with_a_line_feed_and_hold_no_control_characters() -> None:
    assert encode("a\r\nb\rc") == b"a\nb\nc\n"
    assert encode("") == b"" and encode("\ta\n\n") == b"\ta\n\n"
    with pytest.raises(Problem, match="line 2 holds the control character 0x1b"):
        encode("a\n\x1b[31m")
    with pytest.raises(Problem, match="half a character"):
        encode("\ud800")
    with pytest.raises(Problem, match="expected at most"):
        encode("a" * MOST_BYTES)
    assert digest(None) == "" != digest(b"")


def test_a_mistake_is_at_its_line(site: Path) -> None:
    toml = (site / "profiles/amd64/profile.toml").read_text()
    wrong = judge(site, change(site, "profile.toml", toml.replace("\narch =", "\narhc ="), "amd64"))
    first = wrong.refused[0]
    assert (first.profile, first.name, first.said.partition(",")[0]) == (
        "amd64",
        "profile.toml",
        "arhc: unknown key",
    )
    assert toml.splitlines()[first.line - 1].startswith("arch")
    assert wrong.heirs == ("vm",)


def test_a_mistake_the_reader_knows_by_its_key_alone_gets_the_keys_line(site: Path) -> None:
    text = (site / "profiles/vm/profile.toml").read_text()
    more = '\n[disk]\n[[disk.partition]]\nname = "root"\nsize = "much"\nmount = "/"\n'
    (wrong,) = judge(site, change(site, "profile.toml", text + more)).refused
    assert "expected a size" in wrong.said
    assert (text + more).splitlines()[wrong.line - 1] == 'size = "much"'
    assert line_of_key(text, "nothing") == 0


def test_a_change_of_a_parent_is_judged_with_its_children(site: Path) -> None:
    text = (site / "profiles/amd64/profile.toml").read_text().replace("\nchost", "\n#chost")
    (wrong,) = judge(site, change(site, "profile.toml", text, "amd64")).refused
    assert (wrong.profile, wrong.said) == ("vm", "chost: missing (nor in amd64)")


def test_new_profiles_new_files_and_deleted_ones_are_judged(site: Path) -> None:
    new = new_profile(("vm",))
    assert judge(site, change(site, "profile.toml", new, "other")).refused == ()
    assert (
        judge(site, change(site, "wrold", "a/b\n"))
        .refused[0]
        .said.startswith("unknown file, did you mean world")
    )
    assert judge(site, change(site, "portage/make.conf", None)).refused == ()
    assert judge(site, change(site, "profile.toml", None)).refused[0].said == "no such file"
    (site / "profiles/vm/portage/package.use").write_text("a/b c\n")
    assert judge(site, change(site, "portage/package.use/x", "a/b c\n")).refused


def test_two_broken_files_are_put_right_one_after_the_other(site: Path) -> None:
    right = (site / "profiles/vm/profile.toml").read_text()
    (site / "profiles/vm/profile.toml").write_text("[[[")
    (site / "profiles/amd64/profile.toml").write_text("[[[")
    made = judge(site, change(site, "profile.toml", right))
    assert made.refused == ()
    assert [(one.profile, one.name) for one in made.elsewhere] == [("amd64", "profile.toml")]
    assert judge(site, change(site, "profile.toml", "]")).refused


LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), max_size=8).map("".join)


@settings(max_examples=300)
@given(base=LINES, mine=LINES, theirs=LINES)
def test_what_only_one_changed_is_taken_and_nothing_of_theirs_gets_lost_in_silence(
    base: str, mine: str, theirs: str
) -> None:
    assert merge(base, mine, base).text == mine and not merge(base, mine, base).clashes
    assert merge(base, base, theirs).text == theirs and not merge(base, base, theirs).clashes
    assert merge(base, mine, mine).text == mine
    both = merge(base, mine, theirs)
    if not both.clashes:
        assert merge(base, theirs, mine) == both


def test_changes_of_different_lines_go_together_and_those_of_the_same_are_shown() -> None:
    base = "one\ntwo\nthree\nfour\nfive\n"
    mine, theirs = base.replace("one", "1"), base.replace("five", "5")
    assert merge(base, mine, theirs).text == "1\ntwo\nthree\nfour\n5\n"
    clash = merge(base, base.replace("three", "3"), base.replace("three", "drei"))
    assert clash.text == base.replace("three", "3")
    assert [(one.base, one.mine, one.theirs, one.line) for one in clash.clashes] == [
        (("three",), ("3",), ("drei",), 3)
    ]


def test_texts_of_many_like_lines_are_put_together_at_once() -> None:
    base = "a\n" * 100_000
    assert merge(base, base + "b\n", "c\n" + base).text
