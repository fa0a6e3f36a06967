"""Toolchain images from a real root: what is in them, and that they compile like the root."""

from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from appliance.sandbox import Overlay, Sandbox
from buildfarm import toolchain
from buildfarm.stage import Stage
from buildfarm.toolchain import SCRATCH, Toolchain, Wanted, sandbox_of
from buildfarm.view import view

CHOST = "x86_64-pc-linux-gnu"
ELEVEN = Wanted(CHOST, f"{CHOST}-gcc-11", f"{CHOST}-g++-11")


@pytest.fixture
def root(tmp_path: Path, build_stage: Stage) -> Sandbox:
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    layers = Overlay((build_stage.root,), tmp_path / "upper", tmp_path / "work")
    return Sandbox(tmp_path / "root", [layers])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, build_stage: Stage) -> tuple[Path, Toolchain]:
    room = tmp_path_factory.mktemp("toolchains")
    return room, toolchain.make(Sandbox(build_stage.root), ELEVEN, room)


def test_an_image_holds_one_compiler_under_all_its_names(made: tuple[Path, Toolchain], root: Sandbox) -> None:
    room, eleven = made
    assert eleven.version.startswith("11.")
    assert eleven.arch == "x86_64"
    assert {f"{CHOST}-gcc-11", f"{CHOST}-g++-11", "gcc-11"} <= set(eleven.names)
    assert not {"gcc", "gcc-12", f"{CHOST}-gcc"} & set(eleven.names)
    image = room / f"{eleven.hash}.sqfs"
    assert run(["sha256sum", image]).stdout.split()[0] == eleven.hash
    listed = run(["unsquashfs", "-l", "-d", "", image]).stdout.splitlines()
    assert f"/usr/lib/distcc/{CHOST}-g++-11" in listed
    assert [name for name in listed if "/gcc/x86_64-linux-gnu/12/" in name] == []
    assert [name for name in listed if name.endswith((".h", "/sh", "/python3"))] == []


def test_the_same_root_gives_the_same_image_and_it_is_made_once(
    made: tuple[Path, Toolchain], root: Sandbox, tmp_path: Path
) -> None:
    room, eleven = made
    stamp = (room / f"{eleven.hash}.sqfs").stat().st_mtime_ns
    assert toolchain.make(root, ELEVEN, room) == eleven
    assert (room / f"{eleven.hash}.sqfs").stat().st_mtime_ns == stamp
    (tmp_path / "other").mkdir()
    assert toolchain.make(root, ELEVEN, tmp_path / "other").hash == eleven.hash
    assert toolchain.all_toolchains(room) == [eleven]
    assert toolchain.find(room, eleven.hash) == eleven


def test_a_compiler_that_is_replaced_in_the_root_changes_its_fingerprint(
    made: tuple[Path, Toolchain], root: Sandbox, tmp_path: Path
) -> None:
    _, eleven = made
    before = toolchain.fingerprint(view(root), eleven)
    assert toolchain.fingerprint(view(root), eleven) == before
    place = tmp_path / "upper/usr/lib/gcc/x86_64-linux-gnu/11"
    place.mkdir(parents=True)
    (place / "cc1").write_bytes(b"another one")
    assert toolchain.fingerprint(view(root), eleven) != before


def test_a_root_without_distcc_and_with_gentoos_places(root: Sandbox, tmp_path: Path) -> None:
    """This host's distccd comes along; what gcc runs lies behind a link to libexec."""
    own, moved = "/usr/lib/gcc/x86_64-linux-gnu/11", "/usr/libexec/gcc/11"
    run(["mkdir", "-p", "/usr/libexec/gcc"], prefix=root.prefix())
    run(["cp", "-a", own, moved], prefix=root.prefix())
    run(["rm", "-r", own, "/usr/bin/distccd", "/usr/bin/distcc"], prefix=root.prefix())
    run(["ln", "-s", moved, own], prefix=root.prefix())
    room = tmp_path / "room"
    room.mkdir()
    eleven = toolchain.make(root, ELEVEN, room)
    assert "usr/libexec/gcc/11/cc1plus" in eleven.files
    assert eleven.daemon[0] == "/opt/distserver/ld.so"
    inside = sandbox_of(room / f"{eleven.hash}.sqfs", tmp_path / "scratch")
    assert run([*eleven.daemon, "--version"], prefix=inside.prefix()).stdout.startswith("distccd 3.4")


def test_compilers_of_two_versions_are_refused(root: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="expected one"):
        toolchain.make(root, Wanted(CHOST, "gcc-11", "g++-12"), tmp_path)


def test_a_compiler_that_is_not_there_is_named(root: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="the compiler gcc-9 is not in"):
        toolchain.make(root, Wanted(CHOST, "ccache gcc-9 -m64", "g++-9"), tmp_path)


def test_the_image_can_write_nothing_of_itself(made: tuple[Path, Toolchain], tmp_path: Path) -> None:
    room, eleven = made
    inside = sandbox_of(room / f"{eleven.hash}.sqfs", tmp_path)
    (tmp_path / "shared/x.i").write_text("int x;")
    gcc = f"{CHOST}-gcc-11"
    run([gcc, "-c", f"{SCRATCH}/x.i", "-o", f"{SCRATCH}/x.o"], prefix=inside.prefix())
    refused = run([gcc, "-c", f"{SCRATCH}/x.i", "-o", "/usr/bin/x.o"], prefix=inside.prefix(), ok=range(256))
    assert "Read-only file system" in refused.stdout
