"""Lines of world and package.* that Portage would pass over are named, and no others are."""

import shutil
from pathlib import Path

import pytest

from appliance.overlays import example_site
from appliance.package_lines import is_checked, mistakes
from appliance.site import WrongSite, read_site


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("world", "dev-lang/lua # a comment", ""),
        ("world", "-app-misc/hello", ""),
        ("world", "@kde", ""),
        ("world", "dev-lang/lua:5.4/5.4=::gentoo[-deprecated,readline(+)]", ""),
        ("world", "lua", "got 'lua'"),
        ("world", "dev-lang/*", "got 'dev-lang/*'"),
        ("world", "dev-lang/lua app-misc/hello", "got 'dev-lang/lua app-misc/hello'"),
        ("world", "dev-lang/lua-5.4", "or =CATEGORY/NAME-VERSION"),
        ("portage/package.use", "*/* VIDEO_CARDS: -* intel PYTHON_TARGETS: python3_11 # why", ""),
        ("portage/package.use/lua", ">=dev-lang/lua-5.4_rc1-r2 readline -deprecated", ""),
        ("portage/package.use/lua", "dev-lang/lua readline,deprecated", "got 'readline,deprecated'"),
        ("portage/package.use/lua", "dev-lang/lua +readline", "got '+readline'"),
        ("portage/package.use", "dev-lang/lua", "got nothing"),
        ("portage/package.use", "dev-lang/lua[readline] x", "after the atom, not in brackets"),
        ("portage/package.use", "dev-lang/lua 5TARGETS: x", "a variable such as PYTHON_TARGETS:"),
        ("portage/package.mask", "dev-lang/lua dev-lang/perl", "one atom on the line"),
        ("portage/package.mask", "-dev-lang/lua", ""),
        ("portage/package.unmask", "==dev-lang/lua-5", "got '==dev-lang/lua-5'"),
        ("portage/package.accept_keywords", "dev-lang/lua", ""),
        ("portage/package.accept_keywords", "dev-lang/lua ~amd64 ** -x86", ""),
        ("portage/package.accept_keywords", "dev-lang/lua ~~amd64", "got '~~amd64'"),
        ("portage/package.license", "*/* -@EULA @FREE GPL-2+", ""),
        ("portage/package.license", "dev-lang/lua GPL/2", "got 'GPL/2'"),
        ("portage/package.license", "=dev-lang/lua-5-3 GPL-2", "got '=dev-lang/lua-5-3'"),
    ],
)
def test_each_line_is_right_or_says_why_not(name: str, line: str, said: str) -> None:
    found = mistakes(name, f"# first\n\n  {line}\n")
    assert [number for number, _ in found] == ([3] if said else [])
    assert said in "".join(text for _, text in found)


def test_what_portage_does_not_read_is_not_checked() -> None:
    names = ("portage/package.use/.x", "portage/package.use/x~", "portage/make.conf", "kernel.config")
    assert [name for name in names if is_checked(name)] == []
    assert is_checked("portage/package.use/a/b") and is_checked("world")


def test_the_reader_of_the_site_names_file_and_line(tmp_path: Path) -> None:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    use = site / "profiles/vm/portage/package.use"
    use.mkdir(parents=True)
    (use / "lua").write_text("dev-lang/lua readline\nlua readline\n")
    (use / "odd").write_bytes(b"\xff\n")
    (site / "profiles/amd64/world").write_text("app-misc/hello\nhello\n")
    with pytest.raises(WrongSite) as caught:
        read_site(site)
    assert [one.partition(" expected")[0] for one in caught.value.complaints] == [
        f"{site}/profiles/amd64/world:2:",
        f"{use}/lua:2:",
        f"{use}/odd: byte 0 is not UTF-8",
    ]
