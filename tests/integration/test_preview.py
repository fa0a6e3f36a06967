"""What a build would do, asked of real Portage before and after builds; nothing may be changed by asking."""

import pytest

from appliance.desks.planning import PlanningDesk
from appliance.desks.sync import SyncDesk
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.store import Store
from buildfarm.decisions import Deed, PlanView
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard

WITNESS = "app-misc/witness-1"
ALL = ["app-misc/slow-1", WITNESS, "sys-kernel/tiny-kernel-1", "virtual/witness-0"]


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory, build_stage: Stage, install_stage: Stage) -> Farmyard:
    return Farmyard.make(tmp_path_factory.mktemp("preview"), build_stage, install_stage)


@pytest.fixture(scope="module")
def desk(farm: Farmyard) -> PlanningDesk:
    tree = Tree(farm.path / "state")
    live, store = LiveSite(farm.path / "site"), Store(tree.store)

    def clock() -> float:
        return 1000.0

    return PlanningDesk(live, tree, store, clock, SyncDesk(live, tree, store, clock))


def plan(farm: Farmyard, desk: PlanningDesk) -> PlanView:
    site, tools = farm.site(), farm.tools()
    for package in farm.ledger.packages():
        desk.store.packages.remember(package)
    return desk.look(site, farm.profile(), farm.seen.append, tools=tools)


def deeds(view: PlanView) -> dict[str, list[str]]:
    return {deed.value: sorted(row.cpv for row in view.of(deed)) for deed in Deed if view.of(deed)}


def state(farm: Farmyard) -> list[str]:
    roots = farm.path / "state/roots"
    places = [*roots.glob("*/*"), *roots.glob(".plan-*")]
    return sorted(str(place.relative_to(roots)) for place in places if not place.name.endswith("lock"))


def test_a_plan_says_what_a_build_does_and_changes_nothing(farm: Farmyard, desk: PlanningDesk) -> None:
    first = plan(farm, desk)
    assert first.method == "private API"
    assert deeds(first) == {"build": ALL}
    assert all(row.reasons == ("new",) for row in first.rows)
    assert state(farm) == []
    assert list((farm.path / "state/logs").iterdir()) == []
    assert sorted(farm.build().built) == ALL
    before = state(farm)
    again = plan(farm, desk)
    assert again.portage == ""
    assert deeds(again) == {"keep": ALL}
    source = farm.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text().replace('"witness"', '"still a witness"'))
    changed = plan(farm, desk)
    assert deeds(changed) == {"build": [WITNESS], "keep": [cpv for cpv in ALL if cpv != WITNESS]}
    farm.world = ("app-misc/witness", "sys-kernel/tiny-kernel")
    smaller = plan(farm, desk)
    assert deeds(smaller)["remove"] == ["app-misc/slow-1"]
    assert state(farm) == before


def test_what_cannot_be_solved_is_an_open_question_until_it_is(farm: Farmyard, desk: PlanningDesk) -> None:
    world = farm.world
    farm.world = (*world, "app-misc/nothing")
    asked = plan(farm, desk)
    assert asked.complete
    assert [(one.kind.value, one.subject) for one in asked.questions] == [("missing", "app-misc/nothing")]
    assert [one.subject for one in desk.questions("one")] == ["app-misc/nothing"]
    farm.world = world
    assert plan(farm, desk).questions == ()
    assert desk.questions("one") == []
    assert [one.subject for one in desk.questions("one", settled=True)] == ["app-misc/nothing"]
