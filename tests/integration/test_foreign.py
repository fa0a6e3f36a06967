"""Packages for another processor: what a farm of x86_64 makes for SPARC with a cross compiler."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.model import Tree
from appliance.profile_model import Cross, StageSource
from appliance.run import run
from buildfarm import gpkg, stage
from buildfarm.build import BuildResult
from buildfarm.index import parse
from buildfarm.pool import Pool
from buildfarm.processors import SPARC64, machine_of
from tests.integration.foreign_yard import ForeignYard

WORLD = ("app-misc/linked", "app-misc/witness", "sys-kernel/tiny-kernel")


@pytest.fixture(scope="module")
def sparc(tmp_path_factory: pytest.TempPathFactory, cache: Tree) -> Iterator[tuple[ForeignYard, BuildResult]]:
    """A farm of x86_64 after its first build for SPARC."""
    build, install = (
        stage.acquire(StageSource(f"reference:{variant}:sparc64"), cache, print)
        for variant in ("cross", "install")
    )
    farm = ForeignYard.make(tmp_path_factory.mktemp("sparc"), build, install)
    farm = replace(farm, world=WORLD)
    farm.prepare()
    yield farm, farm.build()


def programs(farm: ForeignYard, result: BuildResult) -> dict[str, bytes]:
    """Every ELF file of every package of the release, with its first octets."""
    assert result.release
    listing = parse((farm.tree.room("releases") / result.release.id / "Packages").read_text())
    found = {}
    for package in listing.paragraphs:
        path = Pool(farm.tree.room("pool")).file(package["SHA256"])
        for name, content in gpkg.read_image(path, wanted=lambda name: True):
            head = content.read(64)
            if head[:4] == b"\x7fELF":
                found[name] = head
    return found


def test_a_release_for_sparc_is_sealed_with_its_chost(sparc: tuple[ForeignYard, BuildResult]) -> None:
    farm, result = sparc
    assert result.reasons == ()
    assert result.release
    listing = parse((farm.tree.room("releases") / result.release.id / "Packages").read_text())
    assert {one.get("CHOST") for one in listing.paragraphs} <= {None, "sparc64-unknown-linux-gnu"}
    assert sorted(one["CPV"] for one in listing.paragraphs) == [
        "app-misc/linked-1", "app-misc/witness-1", "dev-libs/shown-1", "sys-kernel/tiny-kernel-1",
        "virtual/witness-0",
    ]  # fmt: skip


def test_every_program_and_library_in_it_is_for_sparc(sparc: tuple[ForeignYard, BuildResult]) -> None:
    found = programs(*sparc)
    assert sorted(found) == [
        "/boot/vmlinuz-1",
        "/usr/bin/linked",
        "/usr/bin/witness",
        "/usr/lib64/libshown.so.1",
    ]
    assert {machine_of(head) for head in found.values()} == {SPARC64.elf}


def test_what_was_compiled_against_the_second_root_runs_there(
    sparc: tuple[ForeignYard, BuildResult], tmp_path: Path
) -> None:
    """QEMU's user emulation runs it with the machine's own loader and C library, and no file of this host."""
    farm, result = sparc
    machine = tmp_path / "machine"
    run(["cp", "-a", farm.install_stage.root, machine])
    listing = parse(
        (farm.tree.room("releases") / str(result.release and result.release.id) / "Packages").read_text()
    )
    for package in listing.paragraphs:
        path = Pool(farm.tree.room("pool")).file(package["SHA256"])
        for name, content in gpkg.read_image(path, wanted=lambda name: name.startswith("/usr/")):
            place = machine / name.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.read())
            place.chmod(0o755)
    said = run(["qemu-sparc64-static", "-L", machine, machine / "usr/bin/linked"]).stdout
    assert said == "linked 64\n"


def test_kernel_and_installer_are_one_image_for_the_firmware(sparc: tuple[ForeignYard, BuildResult]) -> None:
    farm, result = sparc
    assert result.release
    made = (farm.tree.room("releases") / result.release.id / "sparc64.img").read_bytes()
    assert made[:4] == bytes.fromhex("01030107")
    assert made.rstrip(b"\0").endswith(b"small")


def test_nothing_for_sparc_is_installed_among_the_farms_own_programs(
    sparc: tuple[ForeignYard, BuildResult],
) -> None:
    farm, _ = sparc
    layers = [path for path in (farm.tree.room("roots") / ".layers").iterdir() if path.name.isdigit()]
    assert layers
    names = {
        path.relative_to(layer).as_posix() for layer in layers for path in layer.rglob("*") if path.is_file()
    }
    assert "usr/sparc64-unknown-linux-gnu/usr/bin/linked" in names
    assert not {"usr/bin/linked", "usr/bin/witness", "usr/lib64/libshown.so.1"} & names


def test_a_package_with_a_program_for_the_farms_processor_is_not_published(
    sparc: tuple[ForeignYard, BuildResult], tmp_path: Path
) -> None:
    farm = replace(sparc[0], path=tmp_path, seen=[])
    run(["cp", "-a", f"{sparc[0].path}/.", tmp_path])
    farm.write(
        "app-misc/linked", 'src_install() { cp /bin/true linked || die; dobin linked; }\nQA_PREBUILT="*"'
    )
    result = farm.build()
    assert result.release is None
    assert result.reasons == ("app-misc/linked-1 has /usr/bin/linked of x86_64",)


@pytest.mark.parametrize(
    ("cross", "chost", "said"),
    [
        (Cross.NATIVE, "sparc64-unknown-linux-gnu", "is for another processor than this farm's"),
        (Cross.ROOT, "x86_64-pc-linux-gnu", "runs programs for x86_64-pc-linux-gnu itself"),
    ],
)
def test_the_way_has_to_fit_the_processor(
    sparc: tuple[ForeignYard, BuildResult], cross: Cross, chost: str, said: str
) -> None:
    with pytest.raises(Problem, match=said):
        replace(sparc[0], cross=cross, chost=chost, seen=[]).build()
