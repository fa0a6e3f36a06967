"""`distserver profile`: the tree, and every value with its place; mistakes of the site are told."""

import shutil
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.overlays import example_site


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    shutil.copytree(example_site(), tmp_path / "site")
    return ["--site", str(tmp_path / "site")]


def printed(capsys: pytest.CaptureFixture[str], state: Path, *words: str) -> str:
    assert main(["--state", str(state), *words]) == 0
    return capsys.readouterr().out


def test_profiles_stand_behind_what_they_inherit(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, tmp_path / "state", "profile", "list", *options).splitlines()
    named = [line.split("  ")[0].strip() for line in lines if "amd64" in line]
    assert named == ["amd64", ". vm"]


def test_every_value_has_its_place_and_what_replaced_it(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    said = printed(capsys, state, "profile", "show", "vm", *options)
    assert "vm/profile.toml:1" in said and '"a virtual machine of QEMU or KVM"' in said
    assert "any amd64 machine" not in said
    more = printed(capsys, state, "profile", "show", "vm", "--replaced", *options)
    line = next(line for line in more.splitlines() if "any amd64 machine" in line)
    assert "amd64/profile.toml:2" in line and "vm/profile.toml:1" in line


def test_mistakes_of_the_site_are_told(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--state", str(tmp_path / "state"), "profile", "show", "none", *options]) == 1
    assert "there is no profile none" in capsys.readouterr().err
    (tmp_path / "site/profiles/vm/profile.toml").write_text("[")
    assert main(["--state", str(tmp_path / "state"), "profile", "list", *options]) == 1
    assert "profile.toml:1: " in capsys.readouterr().err
