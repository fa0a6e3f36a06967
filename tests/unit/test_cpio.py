"""The initramfs format, read back by the programs that read it elsewhere."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.run import run
from buildfarm.cpio import Entry, cpio, directory, file, link, node
from buildfarm.elf import linkage

TREE = [
    file("etc/motd", b"hello\n"),
    link("bin/sh", "busybox"),
    file("bin/busybox", b"\0" * 5, 0o755),
    node("dev/console", 5, 1),
    directory("tmp", 0o1777),
]


def test_another_program_lists_what_was_written(tmp_path: Path) -> None:
    listing = run(["cpio", "-tv", "--quiet"], stdin=cpio(TREE)).stdout
    rows = [(line.split()[0], line.split(maxsplit=8)[-1].strip()) for line in listing.splitlines()]
    assert [kind for kind, _ in rows] == [
        "drwxr-xr-x", "-rwxr-xr-x", "lrwxrwxrwx", "drwxr-xr-x", "crw-------", "drwxr-xr-x", "-rw-r--r--",
        "drwxrwxrwt",
    ]  # fmt: skip
    assert "bin/sh -> busybox" in listing
    assert "5,   1" in listing


def test_another_program_unpacks_the_same_bytes(tmp_path: Path) -> None:
    plain = [entry for entry in TREE if not stat.S_ISCHR(entry.mode)]
    run(["cpio", "-i", "--quiet"], stdin=cpio(plain), cwd=tmp_path)
    assert (tmp_path / "etc/motd").read_bytes() == b"hello\n"
    assert (tmp_path / "bin/busybox").read_bytes() == b"\0" * 5
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")


@given(st.permutations(TREE))
def test_the_order_of_entries_changes_no_byte(entries: list[Entry]) -> None:
    assert cpio(entries) == cpio(TREE)


def test_time_stamps_are_the_given_one() -> None:
    assert cpio(TREE, epoch=1) != cpio(TREE)
    assert b"%08X" % 0x12345678 in cpio([file("a", b"")], epoch=0x12345678)


@pytest.mark.parametrize("name", ["", "/etc/motd", "a/../b", "a//b", "./a", "TRAILER!!!"])
def test_a_name_that_leaves_the_archive_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a relative path"):
        cpio([file(name, b"")])


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="comes twice"):
        cpio([file("a", b"1"), file("a", b"2")])


def test_a_file_cannot_hold_other_files() -> None:
    with pytest.raises(ValueError, match="is no directory"):
        cpio([file("a", b""), file("a/b", b"")])


def test_needed_libraries_are_what_the_loader_would_look_for() -> None:
    about = linkage(Path("/usr/bin/gpgv").read_bytes())
    assert about is not None
    assert about.interpreter.startswith("/lib")
    listed = run(["ldd", "/usr/bin/gpgv"]).stdout
    assert about.needed
    assert all(name in listed for name in about.needed)


def test_a_script_is_no_elf_file_and_a_cut_one_is_damaged() -> None:
    assert linkage(b"#!/bin/sh\n") is None
    with pytest.raises(ValueError, match="damaged ELF file"):
        linkage(Path("/usr/bin/gpgv").read_bytes()[:40])
