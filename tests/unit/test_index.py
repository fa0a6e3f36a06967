"""The Packages index, read and written."""

from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.farm_model import Package
from buildfarm import index

DATA = Path(__file__).resolve().parent.parent / "data" / "portage"


def package(cpv: str, *, slot: str = "0", sha256: str = "ab" * 32, built_at: float = 5.0) -> Package:
    entry = index.write_paragraph({"CPV": cpv, "SLOT": slot, "BUILD_ID": "1", "SHA256": sha256})
    return Package(sha256, cpv, 1, 10, "key", built_at, entry)


def test_a_real_index_is_read_with_what_its_header_says_for_all() -> None:
    found = index.parse((DATA / "Packages").read_text())
    assert found.header["VERSION"] == "0"
    assert [p["CPV"] for p in found.paragraphs] == [
        "app-misc/slow-1",
        "app-misc/witness-1",
        "virtual/witness-0",
    ]
    assert {p["CHOST"] for p in found.paragraphs} == {"x86_64-pc-linux-gnu"}


def test_writing_and_reading_again_changes_nothing() -> None:
    once = index.parse((DATA / "Packages").read_text())
    assert index.parse(index.write(once)) == once
    assert index.write(index.parse(index.write(once))) == index.write(once)


def test_the_same_packages_in_any_order_give_the_same_bytes() -> None:
    some = [package("b/b-1", sha256="cd" * 32), package("a/a-1"), package("a/a-2", slot="2")]
    assert index.make({"ARCH": "amd64"}, some) == index.make({"ARCH": "amd64"}, some[::-1])


def test_each_package_is_named_at_its_place_in_the_pool() -> None:
    fields = index.parse(index.make({}, [package("a/a-1")])).paragraphs[0]
    assert fields["PATH"] == f"pool/ab/{'ab' * 32}.gpkg.tar"


def test_each_package_has_a_time_or_a_client_would_hang() -> None:
    # portage 3.0.83, bintree.download_required: KeyError '_mtime_', and emerge waits for ever.
    assert index.parse(index.make({}, [package("a/a-1")])).paragraphs[0]["MTIME"] == "5"


def test_the_uri_is_in_the_header_only_when_given() -> None:
    assert "URI" not in index.parse(index.make({}, [])).header
    assert index.parse(index.make({}, [], uri="http://x")).header["URI"] == "http://x"


def test_two_packages_of_one_slot_are_refused() -> None:
    with pytest.raises(Problem, match="a/a:0: a/a-1 and a/a-2"):
        index.make({}, [package("a/a-1"), package("a/a-2", slot="0/3")])


def test_a_paragraph_without_a_package_is_refused() -> None:
    with pytest.raises(Problem, match="paragraph 1"):
        index.parse("VERSION: 0\n\nSIZE: 4\n")


@pytest.mark.parametrize(
    ("cpv", "expected"),
    [
        ("sys-apps/sed-4.9", ("sys-apps/sed", "4.9")),
        ("sys-apps/sed-4.9-r1", ("sys-apps/sed", "4.9-r1")),
        ("x11-libs/gtk+-3.24", ("x11-libs/gtk+", "3.24")),
        ("dev-lang/a-r2-1", ("dev-lang/a-r2", "1")),
    ],
)
def test_a_version_is_what_follows_the_name(cpv: str, expected: tuple[str, str]) -> None:
    assert index.split_cpv(cpv) == expected
