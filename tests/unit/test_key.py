"""What makes a package be built again, what does not, and how it is explained."""

import pytest

from buildfarm.key import OWN_TOOLCHAIN, Needs, Recipe, build_key, changed, neutral_key, strict

SED = Recipe(
    "sys-apps/sed-4.9",
    {
        "ebuild": "aa" * 32,
        "eclass tiny": "bb" * 32,
        "USE": "acl amd64",
        "variable CFLAGS": "-O2",
        "variable CHOST": "x86_64-pc-linux-gnu",
        "variable LC_TIME": "C",
        "toolchain": f"{'cc' * 32} gcc 12.2.0, glibc 2.36",
    },
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ebuild", "dd" * 32),
        ("eclass tiny", "dd" * 32),
        ("eclass more", "dd" * 32),
        ("USE", "amd64"),
        ("variable CFLAGS", "-O3"),
        ("variable NEVER_HEARD_OF", "1"),
        ("toolchain", f"{'dd' * 32} gcc 13.1.0, glibc 2.36"),
        ("slot dev-libs/a:=", "0/2"),
    ],
)
def test_every_part_decides(name: str, value: str) -> None:
    assert build_key(SED.with_parts({name: value})) != build_key(SED)


def test_another_version_has_another_key() -> None:
    assert build_key(Recipe("sys-apps/sed-4.9-r1", SED.parts)) != build_key(SED)


def test_the_order_of_the_parts_and_their_borders_are_no_accident() -> None:
    turned = Recipe(SED.cpv, dict(reversed(list(SED.parts.items()))))
    assert build_key(turned) == build_key(SED)
    assert build_key(Recipe("a/b-1", {"x": "yz"})) != build_key(Recipe("a/b-1", {"xy": "z"}))


@pytest.mark.parametrize(
    "name", ["variable CFLAGS", "variable LDFLAGS", "variable CFLAGS_x86", "variable BUILD_CC", "toolchain"]
)
def test_compiler_and_flags_are_no_part_of_the_neutral_key(name: str) -> None:
    assert neutral_key(SED.with_parts({name: "other"})) == neutral_key(SED)


@pytest.mark.parametrize("name", ["USE", "ebuild", "variable CHOST", "variable LC_TIME", "file a.patch"])
def test_everything_else_is(name: str) -> None:
    assert neutral_key(SED.with_parts({name: "other"})) != neutral_key(SED)


def test_a_neutral_key_is_never_a_build_key() -> None:
    bare = Recipe("virtual/a-0", {"EAPI": "8"})
    assert neutral_key(bare) != build_key(bare)


def test_a_part_of_the_toolchain_does_not_count_the_toolchain_it_was_made_with() -> None:
    noted = SED.with_parts({OWN_TOOLCHAIN: "aa gcc 12"})
    assert build_key(noted) == build_key(SED)
    assert neutral_key(noted) == neutral_key(SED)
    assert changed(SED, noted) == []


def test_a_rebuild_is_explained_in_short_sentences() -> None:
    after = SED.with_parts(
        {
            "eclass tiny": "dd" * 32,
            "USE": "amd64 nls",
            "variable CFLAGS": "-O3",
            "variable LC_TIME": "de_DE",
            "toolchain": f"{'dd' * 32} gcc 13.1.0, glibc 2.36",
            "file a.patch": "ee" * 32,
            "distfile sed-4.9.tar.xz": "123 SHA512 aa",
        }
    )
    assert changed(SED, after) == [
        "USE: +nls -acl",
        "distfile sed-4.9.tar.xz is new",
        "eclass tiny changed",
        "file a.patch is new",
        "toolchain: gcc 12.2.0, glibc 2.36 (cccccccc) -> gcc 13.1.0, glibc 2.36 (dddddddd)",
        "CFLAGS: -O2 -> -O3",
        "LC_TIME: C -> de_DE",
    ]
    assert "file a.patch is gone" in changed(after, SED)
    assert changed(SED, SED) == []
    assert changed(SED, Recipe("sys-apps/sed-4.10", SED.parts)) == ["version: 4.9 -> 4.10"]


CHAIN = {
    "a/app-1": Recipe("a/app-1", {"ebuild": "1"}),
    "a/lib-1": Recipe("a/lib-1", {"ebuild": "2"}),
    "a/base-1": Recipe("a/base-1", {"ebuild": "3"}),
    "a/other-1": Recipe("a/other-1", {"ebuild": "4"}),
}
NEEDS = {
    "a/app-1": Needs(build=("a/lib-1",)),
    "a/lib-1": Needs(run=("a/base-1",)),
    "a/base-1": Needs(build=("a/lib-1",)),
}


def keys_after(cpv: str, parts: dict[str, str]) -> set[str]:
    """Which packages a change of one of them builds again in strict mode."""
    before = strict(CHAIN, NEEDS)
    after = strict({**CHAIN, cpv: CHAIN[cpv].with_parts(parts)}, NEEDS)
    return {one for one in CHAIN if build_key(before[one]) != build_key(after[one])}


def test_strict_keys_follow_build_dependencies_through_what_those_run_with_and_through_cycles() -> None:
    assert keys_after("a/base-1", {"ebuild": "5"}) == {"a/base-1", "a/app-1"}
    assert keys_after("a/lib-1", {"ebuild": "5"}) == {"a/base-1", "a/lib-1", "a/app-1"}
    assert keys_after("a/other-1", {"ebuild": "5"}) == {"a/other-1"}


def test_strict_rebuilds_are_explained_too() -> None:
    before = strict(CHAIN, NEEDS)["a/app-1"]
    near = strict({**CHAIN, "a/lib-1": CHAIN["a/lib-1"].with_parts({"EAPI": "8"})}, NEEDS)["a/app-1"]
    far = strict({**CHAIN, "a/base-1": CHAIN["a/base-1"].with_parts({"EAPI": "8"})}, NEEDS)["a/app-1"]
    assert changed(before, near) == ["dependency a/lib-1 changed"]
    assert changed(before, far) == ["a dependency of its build dependencies changed"]


def test_the_flags_of_dependencies_do_not_keep_a_neutral_package_from_being_shared() -> None:
    other = {cpv: one.with_parts({"variable CFLAGS": "-O3"}) for cpv, one in CHAIN.items()}
    assert neutral_key(strict(other, NEEDS)["a/app-1"]) == neutral_key(strict(CHAIN, NEEDS)["a/app-1"])
    assert build_key(strict(other, NEEDS)["a/app-1"]) != build_key(strict(CHAIN, NEEDS)["a/app-1"])


def test_strict_keys_of_thousands_of_packages_are_made_at_once() -> None:
    """A chain of all of them, closed to a ring: everything depends on everything."""
    names = [f"a/p{number}-1" for number in range(2000)]
    recipes = {name: Recipe(name, {"ebuild": name}) for name in names}
    ring = {name: Needs(build=(names[place - 1],)) for place, name in enumerate(names)}
    assert len({build_key(one) for one in strict(recipes, ring).values()}) == len(names)
