"""The farm with real Portage: what it builds, reuses, refuses and survives."""

import os
import signal
import tarfile
import time
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import CommandFailed
from buildfarm import gpkg, manifest
from buildfarm.root import Root
from buildfarm.signing import verify
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard

WITNESS = "app-misc/witness-1"
ALL = ["app-misc/slow-1", WITNESS, "sys-kernel/tiny-kernel-1", "virtual/witness-0"]
DEADLINE_SECONDS = 300.0


@pytest.fixture
def farm(tmp_path: Path, build_stage: Stage, install_stage: Stage) -> Farmyard:
    return Farmyard.make(tmp_path, build_stage, install_stage)


def flags(farm: Farmyard, release: str) -> str:
    """The CFLAGS the release's witness was compiled with."""
    sealed = manifest.parse((farm.tree.room("releases") / release / "manifest").read_text())
    item = next(item for item in sealed.packages if item.name.startswith(WITNESS))
    path = farm.tree.room("pool") / item.sha256[:2] / f"{item.sha256}.gpkg.tar"
    return gpkg.read_metadata(path, keys=["CFLAGS"])["CFLAGS"]


def mounts_below(path: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(path) in line]


def test_a_profile_becomes_a_signed_release_and_the_same_again_is_nothing_to_do(farm: Farmyard) -> None:
    first = farm.build()
    assert first.reasons == ()
    assert first.release is not None
    assert first.fresh
    assert sorted(first.built) == ALL
    assert first.reused == ()
    place = farm.tree.room("releases") / first.release.id
    verify(farm.tree.room("keys") / "public.gpg", place / "manifest", place / "manifest.sig")
    sealed = manifest.parse((place / "manifest").read_text())
    assert [item.name for item in sealed.packages] == [f"{name}-1" for name in ALL]
    assert (place / "kernel").read_text() == "CONFIG_TINY=y\n"
    with tarfile.open(place / "portage.tar") as archive:
        names = archive.getnames()
    assert "etc/portage/make.conf" in names
    assert "etc/portage/make.profile" in names
    assert "var/lib/portage/world" in names
    assert flags(farm, first.release.id) == "-O2"
    assert any(p.status == "done" and p.package.startswith(WITNESS) and p.seconds for p in farm.seen)

    second = farm.build()
    assert second.release == first.release
    assert not second.fresh
    assert second.built == ()
    assert sorted(second.reused) == ALL
    assert farm.releases() == [first.release.id]
    assert mounts_below(farm.path) == []


def test_a_signature_does_not_fit_a_changed_manifest(farm: Farmyard) -> None:
    result = farm.build()
    assert result.release
    place = farm.tree.room("releases") / result.release.id
    forged = farm.path / "manifest"
    forged.write_text((place / "manifest").read_text().replace("amd64", "arm64"))
    with pytest.raises(CommandFailed):
        verify(farm.tree.room("keys") / "public.gpg", forged, place / "manifest.sig")


def test_other_cflags_compile_everything_again_and_going_back_compiles_nothing(farm: Farmyard) -> None:
    first = farm.build()
    farm.cflags = "-O3"
    second = farm.build()
    assert second.reasons == ()
    assert first.release and second.release
    assert second.release.id != first.release.id
    assert sorted(second.built) == ALL
    assert flags(farm, second.release.id) == "-O3"
    farm.cflags = "-O2"
    third = farm.build()
    assert third.release == first.release
    assert third.built == ()


def test_a_changed_ebuild_compiles_only_that_package(farm: Farmyard) -> None:
    farm.build()
    source = farm.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text().replace('"witness"', '"still a witness"'))
    result = farm.build()
    assert result.reasons == ()
    assert result.built == (WITNESS,)


def test_a_package_that_is_no_longer_wanted_leaves_the_release(farm: Farmyard) -> None:
    farm.build()
    farm.world = ("app-misc/witness", "sys-kernel/tiny-kernel")
    result = farm.build()
    assert result.reasons == ()
    assert result.built == ()
    assert "app-misc/slow-1" not in result.reused


def test_a_failing_ebuild_publishes_nothing_and_shows_its_log(farm: Farmyard) -> None:
    before = farm.build()
    farm.world = (*farm.world, "app-misc/broken")
    source = farm.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text() + "\n")
    result = farm.build()
    assert result.release is None
    assert [failure.package for failure in result.failed] == ["app-misc/broken-1"]
    assert "broken on purpose" in result.failed[0].tail
    assert result.failed[0].log and result.failed[0].log.is_file()
    assert result.reasons[0].startswith("app-misc/broken-1 does not build")
    assert any("status 1" in reason for reason in result.reasons)
    assert before.release and farm.releases() == [before.release.id]
    # What was finished beside the failure is kept.
    assert result.built == (WITNESS,)
    farm.world = farm.world[:-1]
    assert farm.build().built == ()
    assert mounts_below(farm.path) == []


def test_a_world_atom_that_does_not_exist_is_named_with_its_file(farm: Farmyard) -> None:
    farm.world = (*farm.world, "app-misc/nothing")
    with pytest.raises(Problem) as caught:
        farm.build()
    assert "app-misc/nothing is not in repository tiny" in caught.value.message
    assert str(farm.path / "site/profiles/one/world") in caught.value.hint
    assert farm.releases() == []


def test_a_killed_build_goes_on_without_compiling_finished_packages_again(farm: Farmyard) -> None:
    distfiles = farm.tree.room("distfiles")
    (distfiles / "hold").touch()
    child = os.fork()
    if child == 0:
        try:
            farm.build()
        finally:
            os._exit(0)
    try:
        pkgdir = farm.tree.room("roots") / "one/attempt/pkgdir"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not ((pkgdir / "Packages").exists() and WITNESS in (pkgdir / "Packages").read_text()):
            assert time.monotonic() < deadline, "the witness was not built in time"
            time.sleep(0.2)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not farm.tree.room("releases").exists() or farm.releases() == []
    (distfiles / "hold").unlink()
    result = farm.build()
    assert result.reasons == ()
    assert result.release
    assert WITNESS in result.reused
    assert "app-misc/slow-1" in result.built
    assert mounts_below(farm.path) == []


def test_one_profile_is_built_once_at_a_time(farm: Farmyard) -> None:
    with (
        Root(farm.tree.room("roots") / "one").lock(),
        pytest.raises(Problem, match="being built already"),
    ):
        farm.build()
