"""The kernel is found wherever a package puts it, and is the one that was asked for."""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.site_model import DiskLayout, Profile, StageSource
from buildfarm import kernel_source
from buildfarm.installer import modules
from buildfarm.kernel import (
    Kernel,
    KernelFiles,
    choose,
    extract_kernel,
    find_kernel,
    objections,
    read_kconfigs,
)

OURS = ["/boot/vmlinuz-6.1-x", "/boot/config-6.1-x", "/boot/System.map-6.1-x", "/boot/vmlinuz-6.0-x.old"]
# As kernel-build.eclass installs it: the image in the build tree, links to it beside the modules.
TREE = "/usr/src/linux-6.6.30-gentoo-dist"
GENTOO = {
    f"{TREE}/arch/x86/boot/bzImage": "",
    f"{TREE}/.config": "",
    f"{TREE}/System.map": "",
    f"{TREE}/init/Kconfig": "",
    "/lib/modules/6.6.30-gentoo-dist/vmlinuz": f"../../../{TREE}/arch/x86/boot/bzImage",
    "/lib/modules/6.6.30-gentoo-dist/build": f"../../../{TREE}",
    "/lib/modules/6.6.30-gentoo-dist/kernel/fs/ext4/ext4.ko.xz": "",
}


def plain(names: list[str]) -> dict[str, str]:
    return dict.fromkeys(names, "")


def test_a_kernel_in_boot() -> None:
    files = {**plain(OURS), "/boot/vmlinuz": "vmlinuz-6.1-x"}
    assert find_kernel(files) == KernelFiles(
        "6.1-x", "/boot/vmlinuz-6.1-x", "/boot/config-6.1-x", modules=False
    )


def test_a_kernel_as_gentoos_eclass_installs_it() -> None:
    image, config = f"{TREE}/arch/x86/boot/bzImage", f"{TREE}/.config"
    assert find_kernel(GENTOO) == KernelFiles("6.6.30-gentoo-dist", image, config, modules=True)


def test_modules_of_a_merged_root_are_below_usr() -> None:
    merged = {
        name.replace("/lib/", "/usr/lib/"): target.replace("../../../", "../../../../").replace("//", "/")
        for name, target in GENTOO.items()
    }
    found = find_kernel(merged)
    assert found
    assert (found.image, found.modules) == (f"{TREE}/arch/x86/boot/bzImage", True)
    absolute = {**merged, "/usr/lib/modules/6.6.30-gentoo-dist/vmlinuz": f"{TREE}/arch/x86/boot/bzImage"}
    assert find_kernel(absolute) == found


def test_an_image_that_is_a_file_beside_its_modules() -> None:
    files = plain([f"/usr/lib/modules/6.1/{name}" for name in ("vmlinuz", "config", "kernel/a.ko")])
    assert find_kernel(files) == KernelFiles(
        "6.1", "/usr/lib/modules/6.1/vmlinuz", "/usr/lib/modules/6.1/config", modules=True
    )


def test_an_image_only_in_the_build_tree() -> None:
    files = plain(["/usr/src/linux-6.1/arch/arm64/boot/Image.gz", "/usr/src/linux-6.1/.config"])
    found = find_kernel(files)
    assert found
    assert found.image.endswith("Image.gz")
    assert found.config == "/usr/src/linux-6.1/.config"


def test_of_several_versions_the_highest_counts() -> None:
    found = find_kernel(plain(["/boot/vmlinuz-6.9.1", "/boot/vmlinuz-6.10.0", "/boot/config-6.9.1"]))
    assert found == KernelFiles("6.10.0", "/boot/vmlinuz-6.10.0", "", modules=False)


def test_an_image_without_a_version() -> None:
    assert find_kernel(plain(["/boot/bzImage"])) == KernelFiles("", "/boot/bzImage", "", modules=False)


@pytest.mark.parametrize(
    "files",
    [
        {},
        plain(["/usr/bin/witness", "/usr/src/linux-6.1/Makefile"]),
        {"/boot/vmlinuz-1": "elsewhere"},
        {"/boot/vmlinuz-1": "vmlinuz-1"},
    ],
)
def test_what_is_no_kernel_is_not_taken_for_one(files: dict[str, str]) -> None:
    assert find_kernel(files) is None


def test_of_several_slots_the_highest_version_is_booted_not_the_last_that_was_built() -> None:
    packages = [
        Package("a" * 64, f"sys-kernel/k-{version}", 1, 1, "", built_at, "")
        for version, built_at in (("6.9.12", 3.0), ("6.12.1", 2.0), ("6.12.1-r1", 1.0))
    ]
    other = Package("b" * 64, "sys-kernel/k-extra-7", 1, 1, "", 9.0, "")
    found = choose([*packages, other], "sys-kernel/k")
    assert found
    assert found.cpv == "sys-kernel/k-6.12.1-r1"
    assert choose(packages, "sys-kernel/j") is None


def make_gpkg(path: Path, files: Mapping[str, bytes], links: Mapping[str, str]) -> Path:
    """As much of a gpkg as reading its image needs."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"image{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in links.items():
            entry = tarfile.TarInfo(f"image{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    with tarfile.open(path, "w") as outer:
        entry = tarfile.TarInfo("kernel-1/image.tar")
        entry.size = len(image.getvalue())
        outer.addfile(entry, io.BytesIO(image.getvalue()))
    return path


def gentoo_package(path: Path) -> Path:
    files = {name: name.encode() for name, target in GENTOO.items() if not target}
    files[f"{TREE}/.config"] = b"CONFIG_A=y\n# CONFIG_B is not set\n"
    files[f"{TREE}/Kconfig"] = b"config A\n\tbool\nif A\nconfig B\n\tbool\n\tdepends on C\nendif\n"
    return make_gpkg(path, files, {name: target for name, target in GENTOO.items() if target})


def test_image_and_configuration_are_taken_out_of_a_package(tmp_path: Path) -> None:
    package = gentoo_package(tmp_path / "kernel.gpkg.tar")
    found = extract_kernel(package, tmp_path / "kernel")
    assert (tmp_path / "kernel").read_text() == f"{TREE}/arch/x86/boot/bzImage"
    assert found.version == "6.6.30-gentoo-dist"
    assert found.config.startswith("CONFIG_A=y")
    assert found.modules


def test_a_package_without_a_kernel_is_a_problem(tmp_path: Path) -> None:
    package = make_gpkg(tmp_path / "x.gpkg.tar", {"/usr/bin/x": b""}, {})
    with pytest.raises(Problem, match="installs no kernel image"):
        extract_kernel(package, tmp_path / "kernel")


def test_a_kernel_without_what_was_asked_for_is_refused_with_the_reason(tmp_path: Path) -> None:
    package = gentoo_package(tmp_path / "kernel.gpkg.tar")
    kernel = extract_kernel(package, tmp_path / "kernel")
    kconfigs = read_kconfigs([package])
    assert "Kconfig" in kconfigs
    assert objections("CONFIG_A=y\n", kernel, arch="amd64", kconfigs=kconfigs) == []
    (said,) = objections("CONFIG_A=y\nCONFIG_B=y\n", kernel, arch="amd64", kconfigs=kconfigs)
    assert said == "kernel 6.6.30-gentoo-dist: CONFIG_B is n, wanted y: it depends on C"


def test_a_kernel_that_hides_its_configuration_is_refused_when_something_was_asked_for() -> None:
    hidden = Kernel("", "/boot/bzImage", "", modules=False)
    assert objections("", hidden, arch="amd64", kconfigs={}) == []
    (said,) = objections("CONFIG_A=y\n", hidden, arch="amd64", kconfigs={})
    assert "without its configuration" in said


@pytest.mark.parametrize(("place", "link"), [("lib", ""), ("usr/lib", "usr/lib"), ("usr/lib", "")])
def test_the_installer_takes_modules_wherever_they_are(tmp_path: Path, place: str, link: str) -> None:
    drivers = tmp_path / place / "modules/6.6/kernel/drivers"
    for name in ("virtio/virtio.ko", "gpu/drm/drm.ko"):
        (drivers / name).parent.mkdir(parents=True)
        (drivers / name).write_text(name)
    (drivers.parents[1] / "build").symlink_to("../../../src/linux-6.6")
    if link:
        (tmp_path / "lib").symlink_to(link)
    assert [entry.name for entry in modules(tmp_path)] == ["lib/modules/6.6/kernel/drivers/virtio/virtio.ko"]


PROFILE = Profile(
    name="p", description="", arch="amd64", chost="x86_64-pc-linux-gnu", portage_profile="r:p",
    stage=StageSource("build"), install_stage=StageSource("install"),
    kernel_package="sys-kernel/gentoo-sources-kernel", kernel_arguments="", kernel_config="CONFIG_A=y\n",
    portage={}, world=(), disk=DiskLayout((), 0),
    kernel_source="sys-kernel/gentoo-sources", kernel_base="defconfig",
)  # fmt: skip
SOURCES = kernel_source.Sources("sys-kernel/gentoo-sources-6.6.30-r1", ("sys-devel/flex", "sys-devel/bison"))


def test_the_farms_ebuild_needs_the_very_sources_that_were_chosen(tmp_path: Path) -> None:
    made = kernel_source.write_repository(PROFILE, SOURCES, tmp_path / "made", masters=["gentoo", "guru"])
    place = tmp_path / "made/sys-kernel/gentoo-sources-kernel"
    text = (place / "gentoo-sources-kernel-6.6.30-r1.ebuild").read_text()
    assert "\t=sys-kernel/gentoo-sources-6.6.30-r1\n\tsys-devel/bison\n\tsys-devel/flex\n" in text
    assert 'KEYWORDS="amd64"' in text
    assert "@" not in text.replace('"${@}"', "").replace("[@]", "")
    assert "CONFIG_A" not in text
    assert (place / "files/kconfig.py").is_file()
    assert "masters = gentoo guru\n" in (tmp_path / "made/metadata/layout.conf").read_text()
    assert (made.name, made.location) == ("distserver-kernels", tmp_path / "made")


def test_an_older_version_does_not_stay_in_the_farms_repository(tmp_path: Path) -> None:
    kernel_source.write_repository(PROFILE, SOURCES, tmp_path / "made", masters=["gentoo"])
    newer = replace(SOURCES, cpv="sys-kernel/gentoo-sources-6.12.1")
    kernel_source.write_repository(PROFILE, newer, tmp_path / "made", masters=["gentoo"])
    (left,) = (tmp_path / "made").rglob("*.ebuild")
    assert left.name == "gentoo-sources-kernel-6.12.1.ebuild"


def test_the_options_are_files_of_the_build_root() -> None:
    assert kernel_source.configuration(PROFILE) == {
        "etc/kernel/config.d/50-distserver.config": b"CONFIG_A=y\n",
        "etc/kernel/config.d/base": b"defconfig",
    }
    assert list(kernel_source.configuration(replace(PROFILE, kernel_source=""))) == [
        "etc/kernel/config.d/50-distserver.config"
    ]
    assert kernel_source.options(PROFILE) != kernel_source.options(replace(PROFILE, kernel_base="tinyconfig"))
    assert kernel_source.options(PROFILE) == kernel_source.options(replace(PROFILE, name="other"))


def test_a_processor_whose_image_nobody_knows_is_a_problem() -> None:
    with pytest.raises(Problem, match="a kernel for alpha"):
        kernel_source.ebuild(replace(PROFILE, arch="alpha"), SOURCES)


@pytest.mark.parametrize("state", ["absent", "masked", "invalid"])
def test_sources_that_cannot_be_had_are_named(state: str) -> None:
    with pytest.raises(Problem, match="sys-kernel/gentoo-sources is"):
        kernel_source.read_answer(PROFILE, {"state": state, "cpv": "", "tools": []})
