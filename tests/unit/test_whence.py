"""Every value of a profile has the file and line that it comes from, and what it replaced is said."""

import tomllib
from typing import Any

import pytest

from appliance.overlays import example_site
from appliance.profiles import read_documents
from appliance.site import read_site
from appliance.site_files import SiteFiles, profiles_of, read_files
from appliance.whence import (
    Listing,
    assignments,
    documents_of,
    heirs_of,
    inherited,
    key_text,
    lineage_of,
    toml_lines,
    trace,
    value_text,
    variables_of,
)

BASE = """# a comment
arch = "amd64"
description = "base"
abstract = true
[stage]
location = "reference:build"
[kernel]
source = "sys-kernel/gentoo-sources"
base = "defconfig"
arguments = "quiet"
[[disk.partition]]
name = "root"
size = "rest"
[[match]]
vendor = "Parent*"
"""
CHILD = """description = "child"
parent = ["base"]

[kernel]
package = "sys-kernel/gentoo-kernel"
[disk]
min_size = "2 GiB"
[[disk.partition]]
name = "esp"
size = "1 GiB"
[[disk.partition]]
name = "all"
size = "rest"
[[match]]
vendor = '''
QEMU'''
arm = true
"""


def files_of(**profiles: dict[str, str]) -> SiteFiles:
    made = {"appliance.toml": b""}
    for name, files in profiles.items():
        made[f"profiles/{name}/"] = b""
        made |= {f"profiles/{name}/{file}": text.encode() for file, text in files.items()}
    return made


def held(listing: Listing) -> dict[str, tuple[str, str]]:
    return {one.key or one.text: (one.text, str(one.place)) for one in listing.held}


def gone(listing: Listing) -> set[tuple[str, str, str]]:
    return {(one.value.text, str(one.value.place), str(one.by)) for one in listing.replaced}


TWO = files_of(base={"profile.toml": BASE}, child={"profile.toml": CHILD})


def test_a_childs_key_replaces_its_parents_and_a_kernel_is_chosen_anew() -> None:
    seen = trace(TWO, "child")
    assert seen.lineage == ("base", "child")
    assert held(seen.settings) == {
        "arch": ('"amd64"', "base/profile.toml:2"),
        "description": ('"child"', "child/profile.toml:1"),
        "parent": ('["base"]', "child/profile.toml:2"),
        "stage.location": ('"reference:build"', "base/profile.toml:6"),
        "kernel.arguments": ('"quiet"', "base/profile.toml:10"),
        "kernel.package": ('"sys-kernel/gentoo-kernel"', "child/profile.toml:5"),
        "disk.min_size": ('"2 GiB"', "child/profile.toml:7"),
        "disk.partition[1].name": ('"esp"', "child/profile.toml:9"),
        "disk.partition[1].size": ('"1 GiB"', "child/profile.toml:10"),
        "disk.partition[2].name": ('"all"', "child/profile.toml:12"),
        "disk.partition[2].size": ('"rest"', "child/profile.toml:13"),
        "match[1].vendor": ('"QEMU"', "child/profile.toml:15"),
        "match[1].arm": ("true", "child/profile.toml:17"),
    }
    assert gone(seen.settings) == {
        ('"base"', "base/profile.toml:3", "child/profile.toml:1"),
        ('"sys-kernel/gentoo-sources"', "base/profile.toml:8", "child/profile.toml:5"),
        ('"defconfig"', "base/profile.toml:9", "child/profile.toml:5"),
        ('"root"', "base/profile.toml:12", "child/profile.toml:9"),
        ('"rest"', "base/profile.toml:13", "child/profile.toml:9"),
    }
    assert seen.setting("description") == "child" and seen.setting("nothing") == ""
    documents = documents_of(TWO)
    for key, text in (("description", "child"), ("arch", "amd64"), ("abstract", ""), ("nothing", "")):
        assert inherited(documents, "child", key) == text


def test_make_conf_is_read_over_many_lines_and_what_extends_itself_stays() -> None:
    text = "# USE='no'\nUSE='a\n  b=c'\nexport X=1 # why\nCFLAGS=\"-O2 \\\"q\\\" -pipe\"\nEND=2"
    assert list(assignments(text)) == [
        ("USE", "a\n  b=c", 2),
        ("X", "1", 4),
        ("CFLAGS", '-O2 \\"q\\" -pipe', 5),
        ("END", "2", 6),
    ]
    files = files_of(
        base={"profile.toml": "", "portage/make.conf": 'USE="a"\nJOBS="1"\n'},
        child={"profile.toml": 'parent = ["base"]', "portage/make.conf": 'USE="${USE} b"\n\nJOBS="2"\n'},
    )
    seen = trace(files, "child").variables
    assert [(one.key, one.text, str(one.place)) for one in seen.held] == [
        ("USE", "a", "base/portage/make.conf:1"),
        ("USE", "${USE} b", "child/portage/make.conf:1"),
        ("JOBS", "2", "child/portage/make.conf:3"),
    ]
    assert gone(seen) == {("1", "base/portage/make.conf:2", "child/portage/make.conf:3")}


def test_world_kernel_options_portage_files_and_keys_say_whose_they_are() -> None:
    files = files_of(
        base={
            "profile.toml": BASE,
            "world": "app-misc/a # why\napp-misc/b\n",
            "kernel.config": "# a\nCONFIG_A=y\nCONFIG_B=m",
            "portage/package.use": "app-misc/a x\n",
            "portage/env/slow": "MAKEOPTS=-j1\n",
            "authorized_keys": "ssh-ed25519 AAAA ann\n",
        },
        child={
            "profile.toml": CHILD,
            "world": "-app-misc/a\n",
            "kernel.config": "# CONFIG_B is not set\n",
            "portage/package.use": "# mine\napp-misc/b y\n",
            "portage/odd": "\0",
        },
    )
    seen = trace(files, "child")
    assert held(seen.world) == {
        "app-misc/b": ("app-misc/b", "base/world:2"),
        'the kernel, "sys-kernel/gentoo-kernel"': (
            'the kernel, "sys-kernel/gentoo-kernel"',
            "child/profile.toml:5",
        ),
    }
    assert gone(seen.world) == {("app-misc/a", "base/world:1", "child/world:1")}
    assert held(seen.options) == {
        "CONFIG_A": ("y", "base/kernel.config:2"),
        "CONFIG_B": ("n", "child/kernel.config:1"),
    }
    assert gone(seen.options) == {("m", "base/kernel.config:3", "child/kernel.config:1")}
    shown = {
        one.name: (one.profile, one.hidden, one.text, [str(v.place) for v in one.lines])
        for one in seen.portage
    }
    assert shown == {
        "env/slow": ("base", (), True, ["base/portage/env/slow:1"]),
        "odd": ("child", (), False, []),
        "package.use": ("child", ("base",), True, ["child/portage/package.use:2"]),
    }
    assert held(seen.keys) == {"ssh-ed25519 AAAA ann": ("ssh-ed25519 AAAA ann", "base/authorized_keys:1")}


@pytest.mark.parametrize(
    "text",
    [
        'a = 1\nb.c = "x"\n[t]\nd = [\n  1,\n  2,\n]\n[t.u]\ne = {f = 1, g = [2]}\n',
        '[[a]]\nb=1\n[[a.c]]\nd = 1\n[[a]]\n[[a.c]]\nd = 2\n[[a.c]]\nd=3\n[a.e]\nf = """\n[no]\nx = 1\n"""\n',
        "\"q k\" = \"=\"\n[ \"t u\" . v ]\nw = '''\n'''\nx = [ {y = 1}, {y = 2} ]\n",
    ],
)
def test_the_lines_of_a_toml_text_are_those_of_its_values(text: str) -> None:
    for path, value, line in toml_lines(text):
        inside: Any = tomllib.loads(text)
        for one in path:
            inside = inside[one]
        assert inside == value
        last = [one for one in path if isinstance(one, str)]
        assert any(word in text.splitlines()[line - 1] for word in last)
    assert len({path for path, _, _ in toml_lines(text)}) == len(list(toml_lines(text))) >= 3


def test_a_text_that_is_no_toml_is_followed_as_far_as_it_goes() -> None:
    assert [(key_text(path), line) for path, _, line in toml_lines("a = 1\nb = \nc = 3\n")] == [
        ("a", 1),
        ("c", 3),
    ]
    assert value_text(["a", True, 2]) == '["a", true, 2]'


@pytest.mark.parametrize(
    "text",
    [
        "a = [\n" + "1,\n" * 60_000 + "]\n",
        "x = \n" * 50_000,
        "[" * 100_000,
        '"""' + "a\n" * 50_000,
        'a = """\n' + '\\"""' * 50_000 + '"""\n',
    ],
)
def test_hostile_toml_is_read_once_and_not_line_after_line(text: str) -> None:
    assert len(list(toml_lines(text))) <= 1


def test_a_make_conf_of_many_lines_is_read_at_once() -> None:
    text = "".join(f'V{number % 9}="x\n"\n' for number in range(20_000)) + "X='"
    seen = variables_of({"vm": text})
    assert len(seen.held) == 10 and len(seen.replaced) == 20_000 - 9


def test_who_inherits_from_whom_even_in_a_circle() -> None:
    documents: dict[str, dict[str, Any]] = {
        "a": {"parent": ["b"]},
        "b": {"parent": ["a"]},
        "c": {"parent": ["a", "none", 3]},
        "d": {},
    }
    assert lineage_of("c", documents) == ("b", "a", "c")
    assert heirs_of("b", documents) == ("a", "c")
    assert heirs_of("d", documents) == ()


def test_the_example_is_traced_as_the_reader_folds_it() -> None:
    site, files = read_site(example_site()), read_files(example_site())
    assert profiles_of(files) == sorted(read_documents(example_site(), [])) == sorted(documents_of(files))
    vm, seen = site.profiles["vm"], trace(files, "vm")
    assert seen.lineage == vm.lineage
    for key, value in (("arch", vm.arch), ("description", vm.description), ("chost", vm.chost)):
        assert seen.setting(key) == value
    assert {f"CONFIG_{one.key.removeprefix('CONFIG_')}={one.text}" for one in seen.options.held} >= {
        line for line in vm.kernel_config.splitlines() if line.startswith("CONFIG_")
    }
