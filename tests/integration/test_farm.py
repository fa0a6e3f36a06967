"""The farm with real Portage: what it builds, reuses, refuses and survives."""

import bz2
import os
import signal
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.sandbox import Sandbox
from buildfarm import gpkg, layers, manifest, provenance
from buildfarm.build import BuildResult
from buildfarm.lease import Lease, Usage
from buildfarm.pool import Pool
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


def test_a_profile_becomes_a_signed_release(first: tuple[Farmyard, BuildResult]) -> None:
    farm, result = first
    assert result.reasons == ()
    assert result.release is not None
    assert result.fresh
    assert sorted(result.built) == ALL
    assert result.reused == ()
    place = farm.tree.room("releases") / result.release.id
    verify(farm.tree.room("keys") / "public.gpg", place / "manifest", place / "manifest.sig")
    sealed = manifest.parse((place / "manifest").read_text())
    assert [item.name for item in sealed.packages] == [f"{name}-1" for name in ALL]
    assert (place / "kernel").read_text() == "CONFIG_TINY=y\n"
    with tarfile.open(place / "portage.tar") as archive:
        names = archive.getnames()
    assert "etc/portage/make.conf" in names
    assert "etc/portage/make.profile" in names
    assert "var/lib/portage/world" in names
    assert flags(farm, result.release.id) == "-O2"
    assert any(p.status == "done" and p.package.startswith(WITNESS) and p.seconds for p in farm.seen)
    assert mounts_below(farm.path) == []


def test_the_same_again_is_nothing_to_do(grown: Farmyard) -> None:
    before = grown.releases()
    result = grown.build()
    assert result.release
    assert [result.release.id] == before == grown.releases()
    assert not result.fresh
    assert result.built == ()
    assert sorted(result.reused) == ALL


def test_other_cflags_compile_what_is_compiled_again_and_going_back_compiles_nothing(grown: Farmyard) -> None:
    (before,) = grown.releases()
    grown.cflags = "-O3"
    second = grown.build()
    assert second.reasons == ()
    assert second.release
    assert second.release.id != before
    # The others hold no compiled code and no flags.
    assert sorted(second.built) == [WITNESS, "sys-kernel/tiny-kernel-1"]
    assert sorted(second.reused) == ["app-misc/slow-1", "virtual/witness-0"]
    assert flags(grown, second.release.id) == "-O3"
    grown.cflags = "-O2"
    third = grown.build()
    assert third.release
    assert third.release.id == before
    assert third.built == ()


def test_a_changed_ebuild_compiles_only_that_package(grown: Farmyard) -> None:
    source = grown.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text().replace('"witness"', '"still a witness"'))
    result = grown.build()
    assert result.reasons == ()
    assert result.built == (WITNESS,)


def test_a_new_toolchain_is_merged_before_all_else(grown: Farmyard) -> None:
    place = grown.repository / "sys-devel/binutils-config"
    place.mkdir(parents=True)
    slow = (grown.repository / "virtual/witness/witness-0.ebuild").read_text()
    (place / "binutils-config-1.ebuild").write_text(slow.replace('RDEPEND="', 'RDEPEND=" '))
    with (grown.repository / "profiles/categories").open("a") as file:
        file.write("sys-devel\n")
    grown.world = (*grown.world, "sys-devel/binutils-config")
    result = grown.build()
    assert result.reasons == ()
    assert result.built == ("sys-devel/binutils-config-1",)
    said = [progress.message for progress in grown.seen if progress.step == "packages"]
    assert "the toolchain first: sys-devel/binutils-config-1" in said


def test_native_flags_of_the_repository_are_refused_with_what_they_mean_here(grown: Farmyard) -> None:
    with (grown.repository / "profiles/base/make.defaults").open("a") as defaults:
        defaults.write('FFLAGS="-march=native"\n')
    with pytest.raises(Problem, match="would be compiled with -march=native"):
        grown.build()


def test_what_was_built_with_a_host_of_wrong_objects_is_built_again_without_it(grown: Farmyard) -> None:
    """A stand-in for the cluster, whose own tests have real hosts: it lends one and then calls it wrong."""
    lent: list[str] = []

    @contextmanager
    def lend(
        sandbox: Sandbox, processors: int, *, identity: str = "", cross: Sandbox | None = None
    ) -> Iterator[Lease]:
        lent.append(identity)
        wrong = Usage(remote={"bad": 1}, wrong={"bad": "an object is not what the toolchain makes"})
        yield Lease(slots=processors, hosts=("bad",), _final=wrong)

    source = grown.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text().replace('"witness"', '"a new witness"'))
    before = len(grown.ledger.packages())
    grown = replace(grown, lend=lend, seen=[])
    result = grown.build()
    assert result.reasons == ()
    assert result.built == (WITNESS,)
    assert len(lent) == 1
    assert len(grown.ledger.packages()) == before + 1
    said = [progress.message for progress in grown.seen if progress.status == "failed"]
    assert said == ["building again without compile hosts: bad: an object is not what the toolchain makes"]


def test_a_package_that_is_no_longer_wanted_leaves_the_release(grown: Farmyard) -> None:
    grown.world = ("app-misc/witness", "sys-kernel/tiny-kernel")
    result = grown.build()
    assert result.reasons == ()
    assert result.built == ()
    assert "app-misc/slow-1" not in result.reused


def test_a_failing_ebuild_publishes_nothing_and_shows_its_log(grown: Farmyard) -> None:
    before = grown.releases()
    grown.world = (*grown.world, "app-misc/broken")
    source = grown.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text() + "\n")
    result = grown.build()
    assert result.release is None
    assert [failure.package for failure in result.failed] == ["app-misc/broken-1"]
    assert "broken on purpose" in result.failed[0].tail
    assert result.failed[0].log
    assert result.failed[0].log.is_file()
    assert result.reasons[0].startswith("app-misc/broken-1 does not build")
    assert any("status 1" in reason for reason in result.reasons)
    assert grown.releases() == before
    assert mounts_below(grown.path) == []
    # What was finished beside the failure is kept.
    assert result.built == (WITNESS,)
    grown.world = grown.world[:-1]
    assert grown.build().built == ()


def test_a_kernel_that_lacks_an_option_is_not_published(grown: Farmyard) -> None:
    """The tiny kernel's configuration is whatever is asked for, so one says that it took something away."""
    ebuild = grown.repository / "sys-kernel/tiny-kernel/tiny-kernel-1.ebuild"
    ebuild.write_text(
        ebuild.read_text().replace("newins", 'echo CONFIG_TINY=m > "${T}"/vmlinuz || die\n\tnewins', 1)
    )
    before = grown.releases()
    result = grown.build()
    assert result.reasons == ("kernel 1: CONFIG_TINY is m, wanted y",)
    assert grown.releases() == before


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
        listing = farm.tree.room("roots") / "one/attempt/pkgdir/Packages"

        def listed() -> bool | None:
            return (listing.exists() and WITNESS in listing.read_text()) or None

        wait_until(listed, seconds=DEADLINE_SECONDS, what="the witness is built")
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


def test_a_profile_made_of_the_same_things_takes_the_root_of_the_other(grown: Farmyard) -> None:
    twin = replace(grown, name="two", seen=[])
    result = twin.build()
    assert result.reasons == ()
    assert result.release
    assert result.release.profile == "two"
    assert result.built == ()
    assert sorted(result.reused) == ALL
    assert [p.message for p in twin.seen if p.step == "root"] == ["is the same as that of one"]
    assert result.logs
    assert not (result.logs / "emerge.out").exists()
    assert Root(twin.tree.room("roots") / "two").head() == Root(twin.tree.room("roots") / "one").head()


def test_a_new_profile_starts_from_the_root_that_is_most_like_it(grown: Farmyard) -> None:
    other = replace(grown, name="two", world=("app-misc/witness", "sys-kernel/tiny-kernel"), seen=[])
    result = other.build()
    assert result.reasons == ()
    assert result.release
    assert result.built == ()
    assert [p.message for p in other.seen if p.step == "root"] == ["starts from that of one"]
    assert "app-misc/slow-1" not in result.reused
    again = grown.build()
    assert again.release
    assert sorted(again.reused) == ALL


def vdb(farm: Farmyard, cpv: str, name: str) -> bytes:
    """A file of /var/db/pkg in the committed root of the farm's profile."""
    found = layers.find(Root(farm.tree.room("roots") / farm.name).committed(), f"var/db/pkg/{cpv}/{name}")
    assert found, f"{cpv} has no {name}"
    return found.read_bytes()


def test_a_profile_of_other_flags_builds_what_is_compiled_and_every_package_says_where_it_is_from(
    grown: Farmyard,
) -> None:
    grown.name, grown.cflags = "two", "-O3"
    # The profile's own bashrc goes on working beside ours.
    grown.files = {"bashrc": b'post_src_install() { echo own > "${PORTAGE_BUILDDIR}"/build-info/OWN; }\n'}
    result = grown.build()
    assert result.reasons == ()
    assert sorted(result.built) == ALL, "a bashrc is a reason to build"
    assert vdb(grown, WITNESS, "OWN") == b"own\n"
    grown.name, grown.cflags = "three", "-O1"
    result = grown.build()
    assert sorted(result.built) == [WITNESS, "sys-kernel/tiny-kernel-1"]
    assert {(one.cpv, one.profile) for one in result.origins} == {
        (WITNESS, "three"), ("sys-kernel/tiny-kernel-1", "three"),
        ("app-misc/slow-1", "two"), ("virtual/witness-0", "two"),
    }  # fmt: skip
    # Merged from the package, as on every client.
    lent = provenance.parse(vdb(grown, "virtual/witness-0", provenance.NAME).decode()).facts
    assert (lent["package"], lent["profile"], lent["CFLAGS"]) == ("virtual/witness-0", "two", "-O3")
    built = next(one for one in result.origins if one.cpv == WITNESS)
    said = provenance.read(Pool(grown.tree.room("pool")).file(built.sha256))
    assert said == provenance.parse(vdb(grown, WITNESS, provenance.NAME).decode())
    assert said
    assert (said.facts["profile"], said.facts["CFLAGS"]) == ("three", "-O1")
    assert said.facts["compiler"].startswith("gcc ")
    assert {"build key", "build host", "toolchain", "snapshot tiny", "begun"} <= said.facts.keys()
    assert b"distserver" not in bz2.decompress(vdb(grown, WITNESS, "environment.bz2"))


def test_damaged_packages_of_the_pool_are_built_again_and_nothing_else_is(grown: Farmyard) -> None:
    pool = Pool(grown.tree.room("pool"))
    there = {package.cpv: pool.file(package.sha256) for package in grown.ledger.packages()}
    cut, altered = there[WITNESS], there["app-misc/slow-1"]
    for place, content in (
        (cut, cut.read_bytes()[:-512]),
        (altered, altered.read_bytes().replace(b"gpkg-1", b"gpkg-2")),
    ):
        place.unlink()
        place.write_bytes(content)
    grown.name = "two"
    first = grown.build()
    assert first.built == (WITNESS,), "what is cut off was not offered"
    assert first.release is None, "what is altered was offered, and Portage refused it"
    second = grown.build()
    assert second.reasons == ()
    assert second.built == ("app-misc/slow-1",)
    assert sorted(place.name for place in (pool.path / "damaged").iterdir()) == sorted(
        [cut.name, altered.name]
    )
