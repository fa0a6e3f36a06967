"""A package of kernel sources becomes a package of a kernel, by real Portage in a real root."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.sandbox import Bind
from appliance.site_model import DiskLayout, Profile, Repository, StageSource
from buildfarm import kernel, kernel_source, root
from buildfarm.snapshot import take_all
from buildfarm.stage import Stage
from tests.integration.farmyard import TINY

SOURCES = TINY.parent / "linux"
EBUILD = """
EAPI=8
DESCRIPTION="Sources of a kernel"
SLOT="${PVR}"
KEYWORDS="@KEYWORDS@"
S="${WORKDIR}"
src_install() {
	dodir /usr/src
	cp -r "${FILESDIR}/linux" "${ED}/usr/src/linux-6.6.30-test" || die
}
"""
PROFILE = Profile(
    name="one", description="", arch="amd64", chost="x86_64-pc-linux-gnu", portage_profile="tiny:base",
    stage=StageSource("build"), install_stage=StageSource("install"),
    kernel_package="sys-kernel/test-sources-kernel", kernel_arguments="",
    kernel_config="CONFIG_MODULES=y\nCONFIG_NET=y\n# CONFIG_NET is not set\nCONFIG_ETHERNET=y\n",
    portage={"make.conf": b'CFLAGS="-O2"\nFEATURES="-sandbox -usersandbox -news"\n'},
    world=(), disk=DiskLayout((), 0), kernel_source="sys-kernel/test-sources", kernel_base="defconfig",
)  # fmt: skip


class Forge:
    """One repository with sources, and roots to build in."""

    def __init__(self, path: Path, stage: Stage) -> None:
        self.path = path
        self.stage = stage
        self.repository = Repository("tiny", path / "tiny")
        shutil.copytree(TINY, path / "tiny")
        for version, keywords in (("6.6.30-r1", "amd64"), ("6.12.1", "~amd64")):
            place = path / "tiny/sys-kernel/test-sources"
            shutil.copytree(SOURCES, place / "files/linux", dirs_exist_ok=True)
            (place / f"test-sources-{version}.ebuild").write_text(EBUILD.replace("@KEYWORDS@", keywords))

    def snapshots(self, *repositories: Repository) -> tuple[Snapshot, ...]:
        place = self.path / "snapshots"
        place.mkdir(exist_ok=True)
        return take_all(repositories, place, regenerate=lambda name, tree, masters: None)

    def prepare(self, profile: Profile) -> Repository:
        taken = self.snapshots(self.repository)
        (self.path / "kernels").mkdir(exist_ok=True)
        return kernel_source.make_repository(
            profile,
            self.path / "kernels",
            stage=self.stage.root,
            snapshots=taken,
            configuration=root.configuration(profile, [self.repository], taken),
        )

    def build(self, profile: Profile) -> tuple[int, str]:
        """Emerge the kernel's package; packages are below pkgdir."""
        repositories = (self.repository, self.prepare(profile))
        taken = self.snapshots(*repositories)
        scratch = self.path / "root"
        shutil.rmtree(scratch, ignore_errors=True)
        files = root.configuration(profile, repositories, taken)
        root.lay(scratch / "upper", self.stage.root, {**files, **kernel_source.configuration(profile)})
        (self.path / "pkgdir").mkdir(exist_ok=True)
        sandbox = root.client_sandbox(
            scratch,
            self.stage.root,
            taken,
            shelves=[Bind(self.path / "pkgdir", root.PKGDIR, read_only=False)],
            env={"FEATURES": "buildpkg", "BINPKG_FORMAT": "gpkg", "PKGDIR": str(root.PKGDIR)},
        )
        emerge = ["emerge", "--color=n", "--with-bdeps=y", profile.kernel_package]
        done = run(emerge, prefix=sandbox.prefix(), ok=range(256), output=self.path / "log")
        return done.status, (self.path / "log").read_text()


@pytest.fixture
def forge(tmp_path: Path, build_stage: Stage) -> Forge:
    return Forge(tmp_path, build_stage)


def test_sources_become_a_package_with_image_configuration_and_modules(forge: Forge, tmp_path: Path) -> None:
    status, log = forge.build(PROFILE)
    assert status == 0, log
    (package,) = (tmp_path / "pkgdir").glob("sys-kernel/test-sources-kernel/*.gpkg.tar")
    assert package.name.startswith("test-sources-kernel-6.6.30-r1-1")
    made = kernel.extract_kernel(package, tmp_path / "kernel")
    assert made.version == "6.6.30-test"
    assert made.installed_as == "/boot/vmlinuz-6.6.30-test"
    assert made.modules
    # NET came with the base; the last line of the profile took it away.
    assert made.config == "CONFIG_ETHERNET=y\nCONFIG_MODULES=y\nCONFIG_X86=y\n"
    assert kernel.objections(PROFILE.kernel_config, made, arch="amd64", kconfigs={}) == []
    assert (tmp_path / "kernel").read_bytes()[:4] == b"\x7fELF"
    assert not (tmp_path / "root/upper/usr/lib/modules/6.6.30-test/build").is_symlink()
    (sources,) = (tmp_path / "pkgdir").glob("sys-kernel/test-sources/*.gpkg.tar")
    wanted = "CONFIG_E1000=y\n"
    (said,) = kernel.objections(wanted, made, arch="amd64", kconfigs=kernel.read_kconfigs([package, sources]))
    assert said == "kernel 6.6.30-test: CONFIG_E1000 is n, wanted y: it depends on NET"


def test_an_option_that_cannot_be_had_is_refused_before_anything_is_compiled(forge: Forge) -> None:
    base = "CONFIG_NET=y\n"
    status, log = forge.build(replace(PROFILE, kernel_base=base, kernel_config="CONFIG_E1000=m\n"))
    assert status == 1
    assert "* CONFIG_E1000 is n, wanted m: it depends on ETHERNET" in log
    assert "kernel options that cannot be had" in log
    assert "bzImage" not in log


@pytest.mark.parametrize(
    ("atom", "said"),
    [
        ("sys-kernel/nothing", "is in none of the repositories"),
        (">=sys-kernel/test-sources-6.12", "is masked for this profile"),
    ],
)
def test_sources_that_portage_would_not_take_are_named(forge: Forge, atom: str, said: str) -> None:
    with pytest.raises(Problem, match=said):
        forge.prepare(replace(PROFILE, kernel_source=atom))
