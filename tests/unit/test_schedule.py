"""When a repository is synchronised, and which trees are doubted."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from appliance.farm_model import RepositoryState
from appliance.schedule import RETRY_SECONDS, is_due, last_slot
from appliance.site_model import Schedule
from buildfarm.survey import Survey, read_masters, read_timestamp
from buildfarm.sync.doubt import doubt

HOUR = 3600.0
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
GOOD = RepositoryState("gentoo", revision="1", image="1.sqfs", tried_at=NOON, succeeded_at=NOON)
BAD = replace(GOOD, problem="the server is away")
TREE = Survey("gentoo", (), 1000, NOON, {}, ())


def test_what_was_never_there_is_due() -> None:
    assert is_due(Schedule(), None, NOON)


@pytest.mark.parametrize(("hours", "due"), [(0, False), (23.9, False), (24, True), (-1, True), (-9999, True)])
def test_a_day_later_it_is_due_and_when_the_clock_was_set_back(hours: float, due: bool) -> None:
    assert is_due(Schedule(), GOOD, NOON + hours * HOUR) == due


@pytest.mark.parametrize(
    ("hours", "due"), [(0, False), (15.9, False), (16, True), (24, True), (40, True), (-1, True)]
)
def test_at_four_means_once_after_each_four_o_clock(hours: float, due: bool) -> None:
    assert is_due(Schedule(at_minute=240), GOOD, NOON + hours * HOUR, UTC) == due


def test_a_failure_is_tried_again_within_the_hour_and_not_at_once() -> None:
    for schedule in (Schedule(), Schedule(at_minute=240)):
        assert not is_due(schedule, BAD, NOON + RETRY_SECONDS - 1, UTC)
        assert is_due(schedule, BAD, NOON + RETRY_SECONDS, UTC)
    never = RepositoryState("gentoo", tried_at=NOON, problem="no such branch")
    assert not is_due(Schedule(), never, NOON + 60)


def test_the_last_slot_may_have_been_yesterday() -> None:
    assert last_slot(12 * 60, NOON, UTC) == NOON
    assert last_slot(12 * 60 + 1, NOON, UTC) == NOON - 24 * HOUR + 60


@pytest.mark.parametrize(
    ("ebuilds", "made_at", "said"),
    [
        (1000, NOON, ""),
        (101, NOON + HOUR, ""),
        (100, NOON + HOUR, "it has 100 ebuilds, there were 1000"),
        (0, NOON, "it has 0 ebuilds"),
        (1000, NOON - HOUR, ""),
        (1000, NOON - 2 * HOUR, "2 hours older"),
        (1000, 0.0, ""),
    ],
)
def test_a_tree_is_doubted_when_it_shrank_or_is_old(ebuilds: int, made_at: float, said: str) -> None:
    found = doubt(replace(TREE, ebuilds=ebuilds, made_at=made_at), TREE)
    assert said in found
    assert bool(said) == bool(found)


def test_a_first_tree_and_an_overlay_without_ebuilds_are_not_doubted() -> None:
    assert doubt(replace(TREE, ebuilds=0), None) == ""
    assert doubt(replace(TREE, ebuilds=0), replace(TREE, ebuilds=0)) == ""


def test_masters_and_times_are_read_as_portage_writes_them() -> None:
    assert read_masters("# x\nmasters = gentoo other\n") == ("gentoo", "other")
    assert read_masters("masters =\n") == ()
    assert read_masters("thin-manifests = true\n") is None
    assert read_timestamp("Sun, 22 Nov 2026 12:00:00 +0000\n") == NOON
    assert read_timestamp("soon") == 0.0
