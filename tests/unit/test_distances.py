"""How far one release is from another: read once, and again when its files are others."""

import shutil
from pathlib import Path

import pytest

from appliance.desks.distances import Distance, _distance, distance
from appliance.model import Tree
from tests.fake_notary import FakeNotary
from tests.press import Press


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The directories of two releases whose only package differs."""
    press = Press(Tree(tmp_path / "state"), tmp_path, FakeNotary())
    made = [press.release(content) for content in (b"one", b"a longer one")]
    before, after = (press.tree.path / "releases" / one.id for one in made)
    return before, after


def test_a_distance_is_read_once(places: tuple[Path, Path]) -> None:
    found = distance(*places)
    assert found == Distance(1, found.reboot, len(b"a longer one"))
    read = _distance.cache_info().misses
    assert distance(*places) == found and _distance.cache_info().misses == read


def test_what_was_made_anew_is_read_anew_and_what_is_gone_is_not_remembered(
    places: tuple[Path, Path],
) -> None:
    before, after = places
    assert distance(before, after).packages == 1
    shutil.rmtree(after)
    with pytest.raises(FileNotFoundError):
        distance(before, after)
    shutil.copytree(before, after)
    assert distance(before, after) == Distance(0, False, 0)
