"""The farm on repositories in the shape of Gentoo's, and the shape itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.model import Tree
from appliance.site_model import DiskLayout, Profile, Repository, Site, StageSource
from buildfarm import manifest
from buildfarm.build import BuildResult, Tools, build_profile
from buildfarm.egencache import update_cache
from buildfarm.manifest import Manifest
from buildfarm.order import Progress
from buildfarm.stage import Stage
from tests.integration import gentoo_like
from tests.integration.farmyard import FileLedger
from tests.integration.gentoo_like import DESKTOP, MAIN, MORE, PROFILE, Shape, Written

MAKE_CONF = b"""CFLAGS="-O2"
FEATURES="-sandbox -usersandbox parallel-install"
SNAKE_TARGETS="snake3_13"
"""
SERVER = Profile(
    name="server", description="", arch="amd64", chost="x86_64-pc-linux-gnu",
    portage_profile=f"{MAIN}:{PROFILE}", stage=StageSource("build"), install_stage=StageSource("install"),
    kernel_package="sys-kernel/like-kernel", kernel_arguments="", kernel_config="CONFIG_LIKE=y\n",
    portage={
        "make.conf": MAKE_CONF,
        "package.use/own": b"dev-snake/egg snake_targets_snake3_12\n*/* -doc\n",
        "package.accept_keywords/own": b"sys-libs/bound\n",
        "package.license": b"games-like/eula LIKE-EULA\n",
    },
    world=(), disk=DiskLayout((), 0), lineage=("server",),
)  # fmt: skip


@dataclass
class Yard:
    path: Path
    build_stage: Stage
    install_stage: Stage
    written: Written

    @property
    def tree(self) -> Tree:
        return Tree(self.path / "state")

    def build(self, profile: Profile) -> BuildResult:
        stages = {"build": self.build_stage, "install": self.install_stage}
        tools = Tools(
            take_stage=lambda source, tree, say: stages[source.location],
            make_installer=lambda build_root, target_root, key, output, shelf, enrolment: output.write_bytes(
                b"x"
            ),
        )
        distfiles = self.tree.room("distfiles")
        for name, content in self.written.distfiles.items():
            (distfiles / name).write_bytes(content)
        repositories = (Repository(MAIN, self.written.main), Repository(MORE, self.written.more))
        site = Site(self.path / "site", "test", repositories, {profile.name: profile})
        return build_profile(site, profile, self.tree, FileLedger(self.path / "ledger"), show, tools=tools)

    def sealed(self, result: BuildResult) -> Manifest:
        assert result.reasons == ()
        assert result.release
        return manifest.parse((self.tree.room("releases") / result.release.id / "manifest").read_text())


def show(progress: Progress) -> None:
    print(progress)


@pytest.fixture
def yard(tmp_path: Path, build_stage: Stage, install_stage: Stage) -> Yard:
    written = gentoo_like.write(tmp_path / "trees", Shape(ebuilds=300, world=1))
    return Yard(tmp_path, build_stage, install_stage, written)


def test_two_profiles_of_a_gentoo_like_tree_become_releases(yard: Yard) -> None:
    world = (*yard.written.world, "games-like/eula")
    server = replace(SERVER, world=(*world, SERVER.kernel_package))
    first = yard.sealed(yard.build(server))
    names = {item.name.rpartition("-")[0] for item in first.packages}
    # The overlay's newer version, through the name it had before; what keywords, masks and USE choose.
    assert "app-like/moved-4" in names
    assert "net-like/first-1" in names
    assert "net-like/second-1" not in names
    assert "sys-libs/bound-2.0" in names
    assert "dev-lang/snake-3.12.1" in names
    assert "dev-lang/snake-3.11.1" not in names
    assert "app-like/blocked-2" in names
    assert (yard.tree.room("releases") / first.id / "kernel").read_text() == "an image\n"
    desktop = replace(
        server,
        name="desktop",
        portage_profile=f"{MAIN}:{DESKTOP}",
        kernel_package="sys-kernel/like-sources-kernel",
        kernel_source="sys-kernel/like-sources",
        kernel_base="defconfig",
        kernel_config="CONFIG_MODULES=y\nCONFIG_ETHERNET=y\n",
        world=(*world, "sys-kernel/like-sources-kernel"),
        lineage=("desktop",),
    )
    result = yard.build(desktop)
    second = yard.sealed(result)
    assert "sys-kernel/like-sources-kernel-6.6.30" in result.built
    # USE=systemd is another key for who has it in IUSE, and nothing to the others.
    assert "x11-libs/widgets-7" in result.built
    assert {"app-like/either-1", "sys-libs/object-1", "dev-lang/snake-3.12.1"} <= set(result.reused)
    shared = {item.sha256 for item in first.packages} & {item.sha256 for item in second.packages}
    assert len(shared) > len(second.packages) / 2


def test_the_metadata_cache_is_what_egencache_makes(tmp_path: Path, build_stage: Stage) -> None:
    written = gentoo_like.write(tmp_path / "trees", Shape(ebuilds=60))
    place = written.main / "metadata/md5-cache"
    ours = {path.relative_to(place): path.read_text().splitlines() for path in place.glob("*/*")}
    for path in ours:
        (place / path).unlink()
    update_cache(build_stage.root, MAIN, MAIN, written.main, ())
    theirs = {path.relative_to(place): path.read_text().splitlines() for path in place.glob("*/*")}
    assert {path: sorted(lines) for path, lines in ours.items()} == {
        path: sorted(lines) for path, lines in theirs.items()
    }
