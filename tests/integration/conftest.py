"""What integration tests share: the reference stages, kept between runs in DISTSERVER_CACHE."""

import os
import re
from pathlib import Path

import pytest

from appliance.demo import cache as kept_between_runs
from appliance.model import StageSource, Tree
from appliance.run import run
from buildfarm import stage

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
