"""Which compiler cache a build gets, and what has to go for it."""

import os
import stat
from pathlib import Path

import pytest

from appliance.sandbox import Bind
from buildfarm.ccache import (
    PLACE,
    Counts,
    Shelf,
    count,
    drop,
    environment,
    is_installed,
    package_files,
    shelf,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64
MIB = 2**20


@pytest.fixture
def lowers(tmp_path: Path) -> list[Path]:
    """The layers of a root; ccache is in the lower one."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    upper.mkdir()
    (lower / "usr/bin").mkdir(parents=True)
    (lower / "usr/bin/ccache").touch()
    (lower / "usr/lib/ccache").mkdir(parents=True)
    return [upper, lower]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    place = tmp_path / "ccache"
    place.mkdir()
    return place


def fill(room: Path, toolchain: str, *, mib: int, used_at: int) -> None:
    place = room / toolchain[:16]
    (place / "cache").mkdir(parents=True)
    (place / "cache/object").write_bytes(os.urandom(mib * MIB))
    (place / "lock").touch()
    os.utime(place / "lock", (used_at, used_at))


def names(room: Path) -> list[str]:
    return sorted(path.name[0] for path in room.iterdir())


def test_a_build_gets_the_cache_of_its_toolchain(room: Path, lowers: list[Path]) -> None:
    with shelf(room, lowers, toolchain=A, build="build-one", bound_bytes=100 * MIB) as got:
        assert got.mounts == (Bind(room / A[:16] / "cache", PLACE, read_only=False),)
        assert got.env["CCACHE_DIR"] == "/var/cache/ccache"
        assert got.env["CCACHE_MAXSIZE"] == "100Mi"
        assert got.env["CCACHE_STATSLOG"] == "/var/cache/ccache/build-one.log"
        mode = (room / A[:16] / "cache").stat().st_mode
        assert mode & stat.S_ISGID
        assert mode & stat.S_IWGRP


def test_without_a_bound_or_without_ccache_in_the_root_there_is_none(room: Path, lowers: list[Path]) -> None:
    with shelf(room, lowers, toolchain=A, build="x", bound_bytes=0) as got:
        assert got == Shelf()
    with shelf(room, lowers[:1], toolchain=A, build="x", bound_bytes=MIB) as got:
        assert got == Shelf()
        assert got.counts() == Counts()
    assert names(room) == []


def test_ccache_without_its_links_is_no_ccache(lowers: list[Path]) -> None:
    assert is_installed(lowers)
    (lowers[1] / "usr/lib/ccache").rmdir()
    assert not is_installed(lowers)


def test_the_longest_unused_cache_goes_first_as_far_as_needed(room: Path, lowers: list[Path]) -> None:
    fill(room, A, mib=3, used_at=2000)
    fill(room, B, mib=3, used_at=1000)
    with shelf(room, lowers, toolchain=C, build="x", bound_bytes=10 * MIB) as got:
        assert names(room) == ["a", "c"]
        assert 6 <= int(got.env["CCACHE_MAXSIZE"].removesuffix("Mi")) <= 7


def test_a_cache_in_use_stays(room: Path, lowers: list[Path]) -> None:
    with shelf(room, lowers, toolchain=A, build="x", bound_bytes=100 * MIB):
        (room / A[:16] / "cache/object").write_bytes(os.urandom(6 * MIB))
        with shelf(room, lowers, toolchain=B, build="y", bound_bytes=10 * MIB):
            assert names(room) == ["a", "b"]
    with shelf(room, lowers, toolchain=B, build="y", bound_bytes=10 * MIB):
        assert names(room) == ["b"]


def test_two_builds_share_a_toolchains_cache_at_the_same_time(room: Path, lowers: list[Path]) -> None:
    with (
        shelf(room, lowers, toolchain=A, build="x", bound_bytes=MIB) as one,
        shelf(room, lowers, toolchain=A, build="y", bound_bytes=MIB) as other,
    ):
        assert one.mounts == other.mounts
        assert one.env["CCACHE_STATSLOG"] != other.env["CCACHE_STATSLOG"]


def test_with_distcc_the_compiler_itself_is_asked_who_it_is() -> None:
    assert environment(MIB, "x.log", distcc=True)["CCACHE_COMPILERCHECK"] == "%compiler% -v"
    assert environment(MIB, "x.log", distcc=False)["CCACHE_COMPILERCHECK"] == "content"


def test_hits_and_misses_are_read_from_the_log_of_one_build() -> None:
    log = (
        "# /a.c\ncache_miss\ndirect_cache_miss\npreprocessed_cache_miss\n# /a.c\ndirect_cache_hit\n"
        "# /b.c\npreprocessed_cache_hit\ndirect_cache_miss\n# \ncalled_for_link\n"
    )
    assert count(log) == Counts(hits=2, misses=1)
    assert count("") == Counts()


def test_a_name_that_would_leave_the_room_is_a_mistake_of_the_caller(room: Path, lowers: list[Path]) -> None:
    with (
        pytest.raises(ValueError, match=r"\.\./x"),
        shelf(room, lowers, toolchain=A, build="../x", bound_bytes=MIB),
    ):
        pass


def test_what_a_wrong_host_put_into_a_cache_is_gone_and_others_stay(room: Path, lowers: list[Path]) -> None:
    fill(room, A, mib=1, used_at=1)
    fill(room, B, mib=1, used_at=1)
    with shelf(room, lowers, toolchain=A, build="x", bound_bytes=100 * MIB):
        drop(room, A)
        assert names(room) == ["b"]
    drop(room, A)
    with shelf(room, lowers, toolchain=A, build="y", bound_bytes=100 * MIB):
        assert not (room / A[:16] / "cache/object").exists()
    assert (room / B[:16] / "cache/object").exists()


def test_the_cache_is_on_for_named_packages_beside_the_profiles_own_settings() -> None:
    assert package_files({}, []) == {}
    made = package_files({"etc/portage/make.conf": b""}, ["sys-apps/sed-4.9", "app-arch/gzip-1"])
    assert made == {
        "etc/portage/package.env/zz-farm": b"=app-arch/gzip-1 distserver-ccache\n"
        b"=sys-apps/sed-4.9 distserver-ccache\n",
        "etc/portage/env/distserver-ccache": b'FEATURES="ccache"\n',
    }
    made = package_files({"etc/portage/package.env": b"sys-apps/sed o3"}, ["sys-apps/sed-4.9"])
    assert made["etc/portage/package.env"] == b"sys-apps/sed o3\n=sys-apps/sed-4.9 distserver-ccache\n"
