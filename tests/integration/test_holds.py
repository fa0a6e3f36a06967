"""A package that does not build does not keep the others from being published."""

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.desks.failures import FailureDesk
from appliance.farm_model import Held
from appliance.run import run
from appliance.store import Store
from buildfarm.build import BuildResult
from tests.integration.farmyard import Farmyard

NEXT = 'EAPI=8\n\ninherit tiny\nDESCRIPTION="The next one"\n'
BREAKS = NEXT + 'src_compile() { die "broken on purpose"; }\n'
HELD = (Held("app-misc/witness-2", "app-misc/witness-1"),)


@pytest.fixture
def desk(tmp_path: Path) -> FailureDesk:
    return FailureDesk(Store(tmp_path / "failures" / "store.sqlite"), lambda: 1000.0)


@pytest.fixture
def grown(tmp_path: Path, first: tuple[Farmyard, BuildResult], desk: FailureDesk) -> Farmyard:
    """A copy of it, with a next version of the witness that does not build and one of slow that does."""
    run(["cp", "-a", f"{first[0].path}/.", tmp_path])
    farm = replace(first[0], path=tmp_path, not_due=desk.not_due, seen=[])
    (farm.repository / "app-misc/witness/witness-2.ebuild").write_text(BREAKS)
    (farm.repository / "app-misc/slow/slow-2.ebuild").write_text(NEXT)
    return farm


def note(desk: FailureDesk, result: BuildResult) -> None:
    desk.note("one", result.failed, keys=result.keys, built=result.built)


def compiled(farm: Farmyard, cpv: str) -> bool:
    return any(one.package.startswith(cpv) and one.status == "begin" for one in farm.seen)


def test_what_does_not_build_stays_and_the_others_are_published(grown: Farmyard, desk: FailureDesk) -> None:
    result = grown.build()
    assert result.reasons == ()
    assert result.release
    assert result.built == ("app-misc/slow-2",)
    assert "app-misc/witness-1" in result.reused
    assert result.held == HELD
    assert [one.package for one in result.failed] == ["app-misc/witness-2"]
    with tarfile.open(grown.tree.room("releases") / result.release.id / "portage.tar") as archive:
        mask = archive.extractfile("etc/portage/package.mask/distserver-held")
        assert mask
        assert b"\n=app-misc/witness-2\n" in mask.read()

    # The same key is not compiled again, and the release stays the same.
    note(desk, result)
    again = grown.build()
    assert again.release == result.release
    assert again.held == HELD
    assert not compiled(grown, "app-misc/witness-2")
    note(desk, again)
    assert [one.cpv for one in desk.all()] == ["app-misc/witness-2"]

    # Another key is tried, and what builds is held no more.
    (grown.repository / "app-misc/witness/witness-2.ebuild").write_text(NEXT)
    fixed = grown.build()
    assert fixed.reasons == ()
    assert fixed.built == ("app-misc/witness-2",)
    assert fixed.held == ()
    note(desk, fixed)
    assert desk.all() == []


def test_a_profile_may_forbid_holds_and_a_failure_is_remembered_all_the_same(
    grown: Farmyard, desk: FailureDesk
) -> None:
    grown.hold = False
    result = grown.build()
    assert result.release is None
    assert result.held == ()
    assert result.built == ("app-misc/slow-2",)
    note(desk, result)
    (record,) = desk.all()
    again = grown.build()
    assert again.release is None
    (failure,) = again.failed
    assert failure.remembered
    assert (failure.kind, failure.evidence) == (record.kind, record.evidence)
    assert again.reasons[0].startswith("app-misc/witness-2 does not build (compile): broken on purpose")
    note(desk, again)
    assert desk.all() == [record]
