"""Failures as real Portage reports them: a repository in which every package fails in its own way."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.farm_model import FailureKind
from buildfarm.build import BuildResult
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard
from tests.unit.test_failures import EXPECTED

BROKEN = Path(__file__).resolve().parent.parent / "data" / "broken"


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory, build_stage: Stage, install_stage: Stage
) -> tuple[Farmyard, BuildResult]:
    farm = Farmyard.make(tmp_path_factory.mktemp("broken"), build_stage, install_stage)
    shutil.copytree(BROKEN / "app-misc", farm.repository / "app-misc", dirs_exist_ok=True)
    shutil.copytree(BROKEN / "distfiles", farm.tree.room("distfiles"), dirs_exist_ok=True)
    farm = replace(
        farm, features="test", world=("app-misc/witness", *(f"app-misc/{name}" for name in EXPECTED))
    )
    return farm, farm.build()


def test_every_way_to_fail_is_told_from_the_others(broken: tuple[Farmyard, BuildResult]) -> None:
    _, result = broken
    found = {failure.package: failure for failure in result.failed}
    assert found.keys() == {f"app-misc/{name}-1" for name in EXPECTED}
    for name, (kind, _, line) in EXPECTED.items():
        failure = found[f"app-misc/{name}-1"]
        assert failure.kind is kind, name
        assert line in failure.evidence
        assert failure.build_key == result.keys[failure.package]
        assert failure.log is not None
        assert failure.log.is_file()
    assert result.release is None
    assert "app-misc/witness-1" in result.built


def test_the_reason_of_a_refusal_names_kind_line_and_log(broken: tuple[Farmyard, BuildResult]) -> None:
    _, result = broken
    (reason,) = [reason for reason in result.reasons if reason.startswith("app-misc/disk-1")]
    assert reason.startswith("app-misc/disk-1 does not build (disk): dd: error writing '/dev/full'")
    (failure,) = [one for one in result.failed if one.kind is FailureKind.DISK]
    assert str(failure.log) in reason
