"""What a power cut took of the files of merged packages is found, and what a person changed is left alone."""

import hashlib
from pathlib import Path

import pytest

from distserver_client.protection import Protection
from distserver_client.torn import sweep, torn

SHIPPED = {
    "/usr/bin/thing": b"a program",
    "/usr/share/empty": b"",
    "/etc/thing.conf": b"shipped\n",
    "/etc/empty.conf": b"",
}
NAME = "app-misc/thing-2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    merge(tmp_path, NAME, SHIPPED)
    return tmp_path


def merge(root: Path, name: str, files: dict[str, bytes]) -> Path:
    record = root / "var/db/pkg" / name
    record.mkdir(parents=True)
    lines = [f"obj {path} {hashlib.md5(data).hexdigest()} 1700000000\n" for path, data in files.items()]
    fields = {"CONTENTS": "".join([*lines, "sym /usr/bin/other -> thing 1700000000\n"]), "SLOT": "0\n"}
    for field, text in {**fields, "EAPI": "8\n", "BINPKGMD5": "0" * 32}.items():
        (record / field).write_text(text)
    for path, data in files.items():
        lay(root, path, data)
    (root / "usr/bin/other").unlink(missing_ok=True)
    (root / "usr/bin/other").symlink_to("thing")
    return record


def lay(root: Path, path: str, data: bytes) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def found(root: Path) -> tuple[str, ...]:
    return torn(root, Protection(("/etc",), ("/etc/env.d",)))


def test_a_package_that_is_whole_is_not_merged_again(root: Path) -> None:
    assert found(root) == ()


@pytest.mark.parametrize("content", [b"", b"a pro", b"\0" * 9])
def test_a_program_without_its_content_is(root: Path, content: bytes) -> None:
    lay(root, "/usr/bin/thing", content)
    assert found(root) == (NAME,)


@pytest.mark.parametrize("path", ["usr/bin/thing", "usr/bin/other"])
def test_what_is_not_there_is(root: Path, path: str) -> None:
    (root / path).unlink()
    assert found(root) == (NAME,)


@pytest.mark.parametrize("field", ["SLOT", "BINPKGMD5"])
def test_an_empty_record_is(root: Path, field: str) -> None:
    (root / "var/db/pkg" / NAME / field).write_text("")
    assert found(root) == (NAME,)


def test_a_new_configuration_file_without_its_content_is(root: Path) -> None:
    lay(root, "/etc/thing.conf", b"mine\n")
    lay(root, "/etc/._cfg0000_thing.conf", b"")
    assert found(root) == (NAME,)
    lay(root, "/etc/._cfg0001_thing.conf", b"shipped\n")
    assert found(root) == ()


def test_a_configuration_file_is_the_persons_but_never_empty_for_nothing(root: Path) -> None:
    lay(root, "/etc/thing.conf", b"mine\n")
    assert found(root) == ()
    (root / "etc/thing.conf").unlink()
    assert found(root) == ()
    lay(root, "/etc/thing.conf", b"")
    assert found(root) == (NAME,)


def test_of_two_packages_with_one_file_the_later_ones_is_there(root: Path) -> None:
    merge(root, "app-misc/another-1", {"/usr/bin/thing": b"another program"})
    assert found(root) == ()


def test_a_merge_that_never_became_a_package_is_passed_over(root: Path) -> None:
    merge(root, "app-misc/-MERGING-later-1", {"/usr/bin/later": b"x"})
    lay(root, "/usr/bin/later", b"")
    assert found(root) == ()


def test_what_portage_began_to_write_goes_and_what_only_looks_like_it_stays(tmp_path: Path) -> None:
    stays = [
        "/etc/profile.env",
        "/etc/ld.so.conf.d/mine",
        "/etc/profile.env.bak",
        "/etc/profile.environment2",
    ]
    goes = ["/etc/profile.envbmank9qr", "/etc/environment.d/10-gentoo-env.conf_a1b2c3d"]
    for path in (*stays, *goes):
        lay(tmp_path, path, b"x")
    sweep(tmp_path)
    assert sorted(f"/{one.relative_to(tmp_path)}" for one in tmp_path.rglob("*") if one.is_file()) == sorted(
        stays
    )
