"""Names and places of files on a medium: no two alike, whatever they are called."""

import re
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from iso.layout import BLOCK_BYTES, EFI_PATH, Image, Place, blocks, contents, lay_out, volume_label

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..")
)
NEAR = st.builds("".join, st.lists(st.sampled_from("aA.-_x"), min_size=1, max_size=70)).filter(
    lambda name: name not in (".", "..")
)


def image(**other: object) -> Image:
    values: dict[str, object] = {
        "label": "TEST", "files": {}, "bios": None, "efi": None, "mbr": None, "made_at": 0
    }  # fmt: skip
    return Image(**(values | other))  # type: ignore[arg-type]


def named(*paths: str) -> dict[str, Place]:
    tree = lay_out(paths)
    return {place.path: place for place in (*tree.directories, *tree.files)}


def test_names_of_a_medium_in_its_three_trees() -> None:
    found = named("boot/grub/grub.cfg", f"pool/ab/{'ab' * 32}.gpkg.tar", "distserver/id-0123", "README")
    assert found["boot/grub/grub.cfg"] == Place(
        "boot/grub/grub.cfg", "/BOOT/GRUB/GRUB.CFG;1", "/boot/grub/grub.cfg"
    )
    package = found[f"pool/ab/{'ab' * 32}.gpkg.tar"]
    assert package.iso == f"/POOL/AB/{'AB' * 13}A.TAR;1"
    assert package.joliet == f"/pool/ab/{'ab' * 30}.tar"
    assert package.name == f"{'ab' * 32}.gpkg.tar"
    assert found["distserver/id-0123"].iso == "/DISTSERVER/ID_0123.;1"
    assert found["README"].iso == "/README.;1"


def test_directories_come_after_those_they_lie_in() -> None:
    assert [one.path for one in lay_out(["r/b/x", "r/a/y", "boot/z"]).directories] == [
        "boot", "r", "r/a", "r/b"
    ]  # fmt: skip


def test_names_that_differ_only_in_case_or_far_behind_get_numbers() -> None:
    found = named("Read Me.txt", "read-me.txt", "a" * 80 + ".img", "a" * 81 + ".img")
    assert {found["Read Me.txt"].iso, found["read-me.txt"].iso} == {"/READ_ME.TXT;1", "/READ_ME1.TXT;1"}
    assert len({one.iso for one in found.values()}) == 4
    assert len({one.joliet.casefold() for one in found.values()}) == 4


def test_a_name_that_looks_numbered_stays_apart_from_one_that_is() -> None:
    found = named("a b", "a-b", "a_b1", "a+b")
    assert len({one.iso for one in found.values()}) == 4


@given(st.lists(st.lists(NAMES | NEAR, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12))
def test_any_paths_are_told_apart_in_every_tree(paths: list[str]) -> None:
    try:
        tree = lay_out(paths)
    except Problem as no:
        assert any(word in no.message for word in ("longer than", "both a file and a directory"))
        return
    places = (*tree.directories, *tree.files)
    assert {one.path for one in tree.files} == set(paths)
    assert len({one.iso for one in places}) == len({one.joliet.casefold() for one in places}) == len(places)
    of = {one.path: one for one in places}
    for one in places:
        up = str(PurePosixPath(one.path).parent)
        above = of[up] if up != "." else Place(".", "", "")
        assert one.iso.rpartition("/")[0] == above.iso
        assert one.joliet.rpartition("/")[0] == above.joliet
        shape = r"(?=.{1,31};1$)[A-Z0-9_]*\.[A-Z0-9_]*;1" if one in tree.files else r"[A-Z0-9_]{1,31}"
        assert re.fullmatch(shape, one.iso.rpartition("/")[2])
        assert re.fullmatch(r'[^*/:;?\\<>|"]{1,64}', one.joliet.rpartition("/")[2])


@given(st.lists(NEAR, min_size=1, max_size=12, unique=True), st.randoms())
def test_names_do_not_depend_on_the_order_of_what_is_given(paths: list[str], chance: object) -> None:
    turned = paths.copy()
    chance.shuffle(turned)  # type: ignore[attr-defined]
    assert lay_out(paths) == lay_out(turned)


@pytest.mark.parametrize("path", ["", "/etc", "a//b", "a/", "a/../b", "./a", "a\0b"])
def test_what_is_no_path_on_a_medium_is_named(path: str) -> None:
    with pytest.raises(Problem, match="no path on a medium"):
        lay_out([path])


def test_a_name_of_256_bytes_is_refused() -> None:
    lay_out(["a" * 255])
    with pytest.raises(Problem, match="255 bytes"):
        lay_out(["é" * 128])


def test_a_file_cannot_be_a_directory() -> None:
    with pytest.raises(Problem, match="a is both a file and a directory"):
        lay_out(["a", "a/b"])


@given(st.lists(st.integers(0, 9 * BLOCK_BYTES), max_size=20), st.integers(16, 1000))
def test_files_stand_behind_one_another_on_4_kib(sizes: list[int], first: int) -> None:
    end = first * BLOCK_BYTES
    for size, start in zip(sizes, blocks(sizes, first), strict=True):
        assert start * BLOCK_BYTES % 4096 == 0
        assert 0 <= start * BLOCK_BYTES - end < 4096 + BLOCK_BYTES
        end = start * BLOCK_BYTES + size


def test_labels_are_those_of_iso_9660() -> None:
    assert volume_label("distserver-amd64 2026") == "DISTSERVER_AMD64_2026"
    assert contents(image(label="A" * 32)) == {}
    for bad in ("", "lower", "A-B", "A" * 33):
        with pytest.raises(Problem, match="label of a volume"):
            contents(image(label=bad))


def test_names_of_the_writers_own_files_are_refused() -> None:
    with pytest.raises(Problem, match=r"efi\.img is made by the writer"):
        contents(image(files={EFI_PATH: b""}))


def test_an_mbr_needs_a_core() -> None:
    with pytest.raises(Problem, match="needs a BIOS image"):
        contents(image(mbr=bytes(512)))
