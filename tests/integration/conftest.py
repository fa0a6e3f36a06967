"""What integration tests share: the reference stages, kept between runs, boot servers, mirrors' keys."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.demo import cache as kept_between_runs
from appliance.model import Tree
from appliance.run import run
from appliance.site_model import StageSource
from buildfarm import stage
from buildfarm.build import BuildResult
from tests import small_linux
from tests.integration.dhcp_office import Office, make_office
from tests.integration.farmyard import Farmyard
from tests.integration.mirrors import Keys, make_keys
from tests.integration.pxe_served import Served, serve_everything


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
    return small_linux.kernel_files()


@pytest.fixture(scope="session")
def kernel() -> Path:
    return small_linux.kernel()


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


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with make_office(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve_everything(tmp_path_factory.mktemp("pxe")) as made:
        yield made


@pytest.fixture(scope="session")
def mirror_keys() -> Iterator[tuple[Keys, Keys]]:
    """The mirror's key, and that of somebody else."""
    with make_keys("mirror") as own, make_keys("stranger") as other:
        yield own, other
