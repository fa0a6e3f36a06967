"""What integration tests share: the reference stages, kept between runs in DISTSERVER_CACHE."""

import pytest

from appliance.demo import cache as kept_between_runs
from appliance.model import StageSource, Tree
from buildfarm import stage


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
