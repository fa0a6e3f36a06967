"""What integration tests share: the reference stages, kept between runs in DISTSERVER_CACHE."""

import os
from pathlib import Path

import pytest

from appliance.model import StageSource, Tree
from buildfarm import stage


@pytest.fixture(scope="session")
def cache() -> Tree:
    """A state directory that outlives the run; making the reference stages takes minutes."""
    place = Path(os.environ.get("DISTSERVER_CACHE") or Path.home() / ".cache" / "distserver")
    place.mkdir(parents=True, exist_ok=True)
    return Tree(place)


@pytest.fixture(scope="session")
def build_stage(cache: Tree) -> stage.Stage:
    return stage.acquire(StageSource("reference:build"), cache, print)


@pytest.fixture(scope="session")
def install_stage(cache: Tree) -> stage.Stage:
    return stage.acquire(StageSource("reference:install"), cache, print)
