"""Profiles for another processor: what a site may say, what the kernel is told, what differs in a build."""

import shutil
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.errors import Problem
from appliance.overlays import example_site
from appliance.profile_model import Cross, StageSource
from appliance.site import read_site
from buildfarm import crossing, emulation, processors
from buildfarm.reference_recipes import recipe, variants
from buildfarm.stage import REFERENCES
from tests.unit.plain_profile import PLAIN as PROFILE

TARGET = PurePosixPath("/usr/sparc64-unknown-linux-gnu")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    place = tmp_path / "site"
    shutil.copytree(example_site(), place)
    return place


def say(site: Path, lines: str) -> None:
    """More of the profile amd64, at its beginning."""
    file = site / "profiles/amd64/profile.toml"
    file.write_text(f"{lines}\n{file.read_text()}")


def complaint(site: Path) -> str:
    with pytest.raises(Problem) as caught:
        read_site(site)
    return caught.value.message


def test_a_profile_is_native_unless_it_says_otherwise(site: Path) -> None:
    vm = read_site(site).profiles["vm"]
    assert (vm.cross, vm.cross_stage) == (Cross.NATIVE, None)


def test_an_emulated_profile_has_a_cross_compiler_of_its_own_or_the_reference(site: Path) -> None:
    say(site, 'cross = "emulated"')
    file = site / "profiles/amd64/profile.toml"
    file.write_text(file.read_text().replace("x86_64-pc-linux-gnu", "aarch64-unknown-linux-gnu"))
    assert read_site(site).profiles["vm"].cross_stage == StageSource("reference:cross:aarch64")
    file.write_text(file.read_text() + '[cross_stage]\nlocation = "https://example.org/crossdev.tar.xz"\n')
    assert read_site(site).profiles["vm"].cross_stage == StageSource("https://example.org/crossdev.tar.xz")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('cross = "qemu"', "cross: expected emulated or root, or nothing, got 'qemu'"),
        ('cross = "root"\ncross_stage.location = "x"', 'cross_stage: only with cross = "emulated"'),
        ('cross_stage.location = "x"', 'cross_stage: only with cross = "emulated"'),
    ],
)
def test_what_makes_no_sense_is_named(site: Path, lines: str, said: str) -> None:
    say(site, lines)
    assert said in complaint(site)


@pytest.mark.parametrize(
    ("cross", "chost", "machine", "said"),
    [
        (Cross.NATIVE, "aarch64-unknown-linux-gnu", "x86_64", "another processor than this farm's, x86_64"),
        (Cross.EMULATED, "x86_64-pc-linux-gnu", "x86_64", "runs programs for x86_64-pc-linux-gnu itself"),
        (Cross.ROOT, "i686-pc-linux-gnu", "x86_64", "runs programs for i686-pc-linux-gnu itself"),
        (Cross.NATIVE, "x86_64-pc-linux-gnu", "aarch64", "another processor than this farm's, aarch64"),
    ],
)
def test_a_farm_refuses_what_it_cannot_make(cross: Cross, chost: str, machine: str, said: str) -> None:
    with pytest.raises(Problem, match=said):
        crossing.check(replace(PROFILE, cross=cross, chost=chost), machine)


@pytest.mark.parametrize(
    ("cross", "chost"),
    [
        (Cross.NATIVE, "x86_64-pc-linux-gnu"),
        (Cross.NATIVE, "i686-pc-linux-gnu"),
        (Cross.NATIVE, "riscv64-unknown-linux-gnu"),  # nobody here knows what its files look like
        (Cross.EMULATED, "aarch64-unknown-linux-gnu"),
        (Cross.ROOT, "sparc64-unknown-linux-gnu"),
    ],
)
def test_a_farm_of_x86_64_takes_these(cross: Cross, chost: str) -> None:
    crossing.check(replace(PROFILE, cross=cross, chost=chost), "x86_64")


def test_the_kernel_is_told_how_programs_begin_as_qemu_tells_it() -> None:
    """The two lines are those of QEMU's own scripts/qemu-binfmt-conf.sh for these processors."""
    assert emulation.rule(processors.AARCH64, "/usr/bin/q") == (
        rb":distserver-aarch64:M::\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
        rb":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/q:F"
    )
    assert emulation.rule(processors.SPARC64, "/usr/bin/q") == (
        rb":distserver-sparc64:M::\x7f\x45\x4c\x46\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x2b"
        rb":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff:/usr/bin/q:F"
    )


def test_an_elf_file_says_what_it_is_for_and_other_files_say_nothing() -> None:
    assert processors.machine_of(processors.SPARC64.magic) == processors.SPARC64.elf
    assert processors.machine_of(Path("/bin/sh").read_bytes()[:20]) == processors.X86_64.elf
    assert processors.machine_of(b"#!/bin/sh\n" + bytes(20)) is None
    assert processors.machine_of(b"\x7fELF") is None
    assert processors.describe((1, 2, 8)) == "ELF machine 8, 32 bit"


def test_only_a_build_with_a_second_root_has_its_variables() -> None:
    assert crossing.environment(None) == {}
    assert crossing.target(replace(PROFILE, cross=Cross.EMULATED, chost=TARGET.name)) is None
    assert crossing.target(replace(PROFILE, cross=Cross.ROOT, chost=TARGET.name)) == TARGET
    found = crossing.environment(TARGET)
    assert (found["ROOT"], found["SYSROOT"]) == (str(TARGET), str(TARGET))
    assert found["CC"] == f"{TARGET.name}-gcc --sysroot={TARGET}"
    assert found["CBUILD"] != TARGET.name


def test_the_world_lies_in_the_second_root_and_all_of_portage_in_the_first() -> None:
    files = {"etc/portage/make.conf": b"", "var/lib/portage/world": b"a/b\n"}
    below = "usr/sparc64-unknown-linux-gnu"
    assert sorted(crossing.laid(files, TARGET)) == ["etc/portage/make.conf", f"{below}/var/lib/portage/world"]
    assert crossing.laid(files, None) == files


def test_debian_has_no_release_for_sparc64_so_its_machines_get_what_the_cross_compiler_brings() -> None:
    assert variants("sparc64") == ("install", "cross")
    assert variants("i686") == ("build", "install")
    assert "reference:build:sparc64" not in REFERENCES
    assert {"reference:cross:aarch64", "reference:build:aarch64"} <= set(REFERENCES)
    made = recipe("cross", "sparc64")
    assert {"gcc-sparc64-linux-gnu", "libc6-dev-sparc64-cross", "gcc"} <= set(made.packages)
    assert made.hash not in (recipe("install", "sparc64").hash, recipe("build").hash)
