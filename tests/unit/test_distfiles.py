"""The list of Debian sources, DIST lines, and files against them."""

import hashlib
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.model import Tree
from buildfarm.distfiles import Dist, Source, fetch_reference, mismatch, parse_manifest, parse_sources

CONTENT = b"a tarball"
BLAKE2B = hashlib.blake2b(CONTENT).hexdigest()
SHA512 = hashlib.sha512(CONTENT).hexdigest()
DIST = f"DIST hello-2.10.tar.gz {len(CONTENT)} BLAKE2B {BLAKE2B} SHA512 {SHA512}"


def test_a_source_is_four_words() -> None:
    text = "# a comment\n\nhello-2.10.tar.gz  hello 2.10-3  hello_2.10.orig.tar.gz  # upstream's\n"
    assert parse_sources(text) == (Source("hello-2.10.tar.gz", "hello", "2.10-3", "hello_2.10.orig.tar.gz"),)


def test_a_source_of_three_words_is_refused_with_its_line() -> None:
    with pytest.raises(Problem, match="line 2: expected 4 words, found 3"):
        parse_sources("# heading\nhello-2.10.tar.gz hello 2.10-3\n")


def test_only_dist_lines_of_a_manifest_count() -> None:
    (dist,) = parse_manifest(f"EBUILD x.ebuild 1 SHA512 00\n{DIST}\n-----BEGIN PGP SIGNATURE-----\n")
    assert dist == Dist("hello-2.10.tar.gz", len(CONTENT), {"BLAKE2B": BLAKE2B, "SHA512": SHA512})


@pytest.mark.parametrize("line", ["DIST name", "DIST name big SHA512 00", "DIST name 1 SHA512"])
def test_a_broken_dist_line_is_refused(line: str) -> None:
    with pytest.raises(Problem, match="this line of a Manifest"):
        parse_manifest(line)


def test_a_file_that_is_what_the_manifest_says_matches(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert mismatch(file, parse_manifest(DIST)[0]) == ""


def test_a_changed_byte_is_named_with_both_hashes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"A tarball")
    found = hashlib.blake2b(b"A tarball").hexdigest()
    assert mismatch(file, parse_manifest(DIST)[0]) == f"its BLAKE2B is {found}, the Manifest says {BLAKE2B}"


def test_a_second_hash_is_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert "its SHA512 is" in mismatch(file, parse_manifest(DIST.replace(SHA512, "0" * 128))[0])


def test_another_size_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT + b"!")
    assert mismatch(file, parse_manifest(DIST)[0]) == "it has 10 bytes, the Manifest says 9"


def test_a_manifest_without_strong_hashes_proves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    assert "no BLAKE2B or SHA512" in mismatch(file, Dist("x", len(CONTENT), {"MD5": "00"}))


def repository(place: Path, sources: str) -> Path:
    (place / "metadata").mkdir(parents=True)
    (place / "metadata/debian-sources").write_text(sources)
    (place / "app-misc/hello").mkdir(parents=True)
    (place / "app-misc/hello/Manifest").write_text(f"{DIST}\n")
    return place


def test_files_that_are_there_are_not_fetched_again(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "state")
    (tree.room("distfiles") / "hello-2.10.tar.gz").write_bytes(CONTENT)
    place = repository(tmp_path / "repository", "hello-2.10.tar.gz hello 2.10-3 hello_2.10.orig.tar.gz\n")
    said: list[str] = []
    fetch_reference(place, tree, said.append)
    assert said == []


def test_a_source_without_a_manifest_line_is_refused(tmp_path: Path) -> None:
    place = repository(tmp_path / "repository", "other.tar.gz other 1 other.tar.gz\n")
    with pytest.raises(Problem, match=r"lists other\.tar\.gz, but no Manifest has it"):
        fetch_reference(place, Tree(tmp_path / "state"), print)
