"""Which files make up a toolchain, in Gentoo's layout and in Debian's."""

from pathlib import Path

import pytest

from buildfarm.compilers import identify, is_part
from buildfarm.view import View

CHOST = "x86_64-pc-linux-gnu"


def put(root: Path, name: str, text: str) -> None:
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def link(root: Path, name: str, target: str) -> None:
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


@pytest.fixture
def gentoo(tmp_path: Path) -> Path:
    """gcc 13 and 12 in slots, 13 chosen by gcc-config; binutils 2.41."""
    root = tmp_path / "gentoo"
    for version in ("12", "13"):
        put(root, f"usr/{CHOST}/gcc-bin/{version}/{CHOST}-gcc", f"\0{version}.2.1\0 20230826")
        put(root, f"usr/{CHOST}/gcc-bin/{version}/{CHOST}-gcc-{version}", f"\0{version}.2.1\0 20230826")
        put(root, f"usr/libexec/gcc/{CHOST}/{version}/cc1", f"cc1 {version}")
        put(root, f"usr/libexec/gcc/{CHOST}/{version}/collect2", f"collect2 {version}")
        put(root, f"usr/lib/gcc/{CHOST}/{version}/libgcc.a", f"libgcc {version}")
        link(root, f"usr/bin/{CHOST}-gcc-{version}", f"/usr/{CHOST}/gcc-bin/{version}/{CHOST}-gcc-{version}")
    link(root, f"usr/bin/{CHOST}-gcc", f"/usr/{CHOST}/gcc-bin/13/{CHOST}-gcc")
    put(root, f"usr/{CHOST}/binutils-bin/2.41/as", "as")
    put(root, f"usr/{CHOST}/binutils-bin/2.41/ld", "ld")
    for name in ("as", "ld"):
        link(root, f"usr/{CHOST}/bin/{name}", f"../binutils-bin/2.41/{name}")
    put(root, "usr/lib64/libc.so.6", "GNU C Library (Gentoo 2.38-r5) stable release version 2.38.\n")
    put(root, "etc/hostname", "a")
    return root


def names(root: Path, **variables: str) -> dict[str, str]:
    return dict(identify(View((root,)), {"CHOST": CHOST, **variables}).files)


def identity(root: Path, **variables: str) -> str:
    return identify(View((root,)), {"CHOST": CHOST, **variables}).identity


def test_gentoos_chosen_compiler_is_described_for_people(gentoo: Path) -> None:
    found = identify(View((gentoo,)), {"CHOST": CHOST})
    assert found.description == "gcc 13.2.1, binutils 2.41, glibc 2.38"
    assert set(found.files) == {"as", "cc", "cc cc1", "cc collect2", "cc libgcc.a", "ld", "libc.so.6"}


def test_another_compiler_in_cc_is_another_toolchain(gentoo: Path) -> None:
    plain = identity(gentoo)
    assert identity(gentoo, CC=f"{CHOST}-gcc-12") != plain
    assert identity(gentoo, CC=f"{CHOST}-gcc") == plain
    assert identity(gentoo, CC=f"ccache {CHOST}-gcc -m32") == plain


def test_only_what_compiles_counts(gentoo: Path) -> None:
    plain, other = identity(gentoo), identity(gentoo, CC=f"{CHOST}-gcc-12")
    put(gentoo, "etc/hostname", "b")
    put(gentoo, f"usr/libexec/gcc/{CHOST}/12/cc1", "patched")
    assert identity(gentoo) == plain
    assert identity(gentoo, CC=f"{CHOST}-gcc-12") != other


@pytest.mark.parametrize(
    "name",
    [
        f"usr/{CHOST}/gcc-bin/13/{CHOST}-gcc",
        f"usr/libexec/gcc/{CHOST}/13/cc1",
        f"usr/lib/gcc/{CHOST}/13/libgcc.a",
        f"usr/{CHOST}/binutils-bin/2.41/as",
        f"usr/{CHOST}/binutils-bin/2.41/ld",
        "usr/lib64/libc.so.6",
    ],
)
def test_each_of_its_parts_counts(gentoo: Path, name: str) -> None:
    plain = identity(gentoo)
    place = gentoo / name
    place.write_text(place.read_text() + "rebuilt")
    assert identity(gentoo) != plain


def test_the_place_of_the_root_and_the_times_of_its_files_do_not_count(gentoo: Path, tmp_path: Path) -> None:
    gentoo.rename(tmp_path / "elsewhere")
    before = identity(tmp_path / "elsewhere")
    for path in sorted((tmp_path / "elsewhere").rglob("*")):
        if path.is_file():
            path.touch()
    assert identity(tmp_path / "elsewhere") == before


def test_a_compiler_that_was_merged_over_the_stage_is_the_one_that_counts(
    gentoo: Path, tmp_path: Path
) -> None:
    upper = tmp_path / "upper"
    put(upper, f"usr/libexec/gcc/{CHOST}/13/cc1", "cc1 13.2.2")
    layered = identify(View((upper, gentoo)), {"CHOST": CHOST})
    assert layered.identity != identity(gentoo)


def test_the_linker_that_the_flags_ask_for_counts(gentoo: Path) -> None:
    put(gentoo, "usr/bin/ld.lld", "lld")
    assert "ld ld.lld" in names(gentoo, LDFLAGS="-Wl,-O1 -fuse-ld=lld")
    assert "ld ld.lld" not in names(gentoo)


def test_clang_counts_with_all_of_gcc_that_it_borrows(gentoo: Path) -> None:
    put(gentoo, "usr/lib/llvm/17/bin/clang", "clang version 17.0.6")
    found = identify(View((gentoo,)), {"CHOST": CHOST, "CC": "clang"})
    assert found.description == "clang 17.0.6, binutils 2.41, glibc 2.38"
    assert {"cc 12 libgcc.a", "cc 13 libgcc.a"} <= set(found.files)


def test_musl_and_a_root_without_compiler(tmp_path: Path) -> None:
    put(tmp_path, "lib/ld-musl-x86_64.so.1", "musl")
    found = identify(View((tmp_path,)), {"CHOST": CHOST})
    assert found.description == "musl"
    assert identify(View((tmp_path / "lib",)), {"CHOST": CHOST}).description == "no compiler"


@pytest.mark.parametrize(
    ("cpv", "part"),
    [
        ("sys-devel/gcc-13.2.1_p20240210", True),
        ("sys-libs/glibc-2.38-r10", True),
        ("cross-aarch64-unknown-linux-gnu/gcc-13.2.1", True),
        ("llvm-core/clang-17.0.6", True),
        ("sys-libs/zlib-1.3", False),
        ("dev-build/gcc-tools-1", False),
    ],
)
def test_which_packages_are_a_toolchain(cpv: str, part: bool) -> None:
    assert is_part(cpv) is part
