"""What integration tests share: the reference stages, kept between runs in DISTSERVER_CACHE."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.demo import cache as kept_between_runs
from appliance.model import StageSource, Tree
from appliance.run import run
from buildfarm import stage
from buildfarm.build import BuildResult
from tests.integration.farmyard import Farmyard

KERNEL_PACKAGE = re.compile(r"Depends: (linux-image-\S+-cloud-amd64)$", re.MULTILINE)


@pytest.fixture(scope="session")
def cache() -> Tree:
    """The state directory that outlives a run; making the reference stages takes minutes."""
    return Tree(kept_between_runs() / "state")


@pytest.fixture(scope="session")
def build_stage(cache: Tree) -> stage.Stage:
    return stage.acquire(StageSource("reference:build"), cache, print)


@pytest.fixture(scope="session")
def install_stage(cache: Tree) -> stage.Stage:
    return stage.acquire(StageSource("reference:install"), cache, print)


@pytest.fixture(scope="session")
def kernel_files() -> Path:
    """Debian's cloud kernel with its modules, fetched once through apt: a kernel no profile had to build."""
    listing = run(["apt-cache", "depends", "linux-image-cloud-amd64"]).stdout
    found = KERNEL_PACKAGE.search(listing)
    assert found, listing
    unpacked = kept_between_runs() / "kernels" / found.group(1)
    if not unpacked.exists():
        fetched = unpacked.with_name(f"{found.group(1)}.{os.getpid()}")
        fetched.mkdir(parents=True)
        run(["apt-get", "download", found.group(1)], cwd=fetched)
        run(["dpkg-deb", "--extract", next(fetched.glob("*.deb")), fetched])
        fetched.rename(unpacked)
    return unpacked


@pytest.fixture(scope="session")
def kernel(kernel_files: Path) -> Path:
    return next((kernel_files / "boot").glob("vmlinuz-*"))


@pytest.fixture(scope="session")
def first(
    tmp_path_factory: pytest.TempPathFactory, build_stage: stage.Stage, install_stage: stage.Stage
) -> tuple[Farmyard, BuildResult]:
    """A farm of the tiny repository after its first build; nobody builds in it again."""
    farm = Farmyard.make(tmp_path_factory.mktemp("first"), build_stage, install_stage)
    return farm, farm.build()


@pytest.fixture
def grown(tmp_path: Path, first: tuple[Farmyard, BuildResult]) -> Farmyard:
    """A copy of it, to go on with."""
    run(["cp", "-a", f"{first[0].path}/.", tmp_path])
    return replace(first[0], path=tmp_path, seen=[])
