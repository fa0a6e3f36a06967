"""A virtual machine updates itself, and comes to its release from wherever the power was cut."""

import secrets
from collections.abc import Iterator

import pytest

from appliance.model import Tree
from appliance.site_model import StageSource
from buildfarm import stage
from tests.e2e.scenes import Built
from tests.power_lab import Lab, Uncut, make_lab

CUTS = 4
"""`make power-cuts` makes as many as wanted."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, built: Built) -> Iterator[Lab]:
    tree: Tree = built.tree
    build = stage.acquire(StageSource("reference:build"), tree, print)
    install = stage.acquire(StageSource("reference:install"), tree, print)
    with make_lab(tmp_path_factory.mktemp("lab"), (build, install), tree, built.release) as made:
        yield made


@pytest.fixture(scope="module")
def uncut(lab: Lab) -> Uncut:
    return lab.update()


def test_a_machine_updates_itself_and_keeps_what_was_changed_on_it(uncut: Uncut) -> None:
    """Its packages, its world and its merged configuration were compared when it was switched off."""
    assert uncut.last > uncut.first
    assert b"first = mine" in uncut.etc["large.conf"]
    assert b"version = 2" in uncut.etc["large.conf"]


def test_a_machine_whose_power_is_cut_anywhere_boots_and_comes_to_its_release(lab: Lab, uncut: Uncut) -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")
    outcomes = []
    for outcome in lab.cuts(uncut, CUTS, seed, whole=CUTS - 1):
        print(outcome.line(), flush=True)
        outcomes.append(outcome)
    assert [one for one in outcomes if one.problems] == []
    assert [one.finished_in for one in outcomes].count("machine") == 1
    assert len({one.step for one in outcomes}) > 1
