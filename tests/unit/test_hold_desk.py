"""What persons keep out of a profile, and builds they ask for."""

import shutil
from pathlib import Path

import pytest

from appliance.desks.holds import newer
from appliance.errors import Problem
from appliance.farm_model import FailureKind, FailureRecord, Mask, MaskKind
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm.holds import with_masks
from tests.clock import Clock
from tests.fake_notary import FakeNotary
from tests.press import START, Press

CPV = "app-misc/broken-2"


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Machines of `vm` have app-misc/a-1; what it was last built from is what there is."""
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    press = Press(Tree(tmp_path / "state"), site, FakeNotary(), Clock(START))
    press.published(b"one")
    made = Services(site, press.tree, press.clock)
    made.release_desk = press.desk()
    made.holds.catalogue = made.release_desk
    run(made, "done")
    return made


def run(services: Services, state: str) -> None:
    job = services.backlog.take(services.live.now().profiles["vm"])
    services.store.jobs.end(job.id, state, now=services.clock(), failure="compile")


def fail(services: Services, *cpvs: str) -> None:
    for cpv in cpvs:
        record = FailureRecord("vm", cpv, "k", FailureKind.COMPILE, "error", "", "", 1, START, START)
        services.store.failures.add(record)


def due(services: Services) -> bool:
    return "vm" in services.backlog.due()


def test_a_held_package_stays_where_machines_are_and_that_is_a_reason_to_build(services: Services) -> None:
    assert not due(services)
    mask = services.holds.hold("vm", "app-misc/a", who="web olga", why="2 is\nbad")
    assert (mask.kind, mask.atoms, mask.stays, mask.why) == (
        MaskKind.HOLD, (">app-misc/a-1",), "1", "2 is bad",
    )  # fmt: skip
    assert due(services)
    run(services, "done")
    assert not due(services)
    laid = services.holds.masked(services.live.now().profiles["vm"]).portage
    assert b"\n>app-misc/a-1\n" in laid["package.mask/distserver-asked"]
    services.holds.release("vm", "app-misc/a", who="web olga", why="3 is good")
    assert due(services)
    said = [(one.who, one.action, one.detail) for one in services.audit.page(subject="vm/app-misc/a")]
    assert said == [
        ("web olga", "package release", "hold 3 is good"),
        ("web olga", "package hold", "1 2 is bad"),
    ]


def test_a_skipped_version_is_masked_alone(services: Services) -> None:
    assert services.holds.skip("vm", "app-misc/a-2", why="it crashes").atoms == ("=app-misc/a-2",)
    with pytest.raises(Problem, match="have app-misc/a-1 already"):
        services.holds.skip("vm", "app-misc/a-1")
    assert [one.subject for one in services.holds.all("vm")] == ["app-misc/a-2"]


@pytest.mark.parametrize(
    "name",
    ["a", "app-misc/a\n>sys-libs/glibc-0", "app-misc/a >x/y-1", "app-misc/*", "../a", "", "app-misc/none"],
)
def test_what_is_no_package_of_the_machines_is_not_held(services: Services, name: str) -> None:
    with pytest.raises(Problem):
        services.holds.hold("vm", name)
    for cpv in (name, f"{name}-1\n*/*", f"{name}-x"):
        with pytest.raises(Problem):
            services.holds.skip("vm", cpv)
    assert services.holds.all() == []


def test_nothing_is_held_of_a_profile_or_release_that_is_not_there(services: Services) -> None:
    (services.live.path / "profiles/web").mkdir()
    (services.live.path / "profiles/web/profile.toml").write_text(
        'parent = ["vm"]\ndescription = "another"\n'
    )
    for profile, sentence in (("nosuch", "nosuch"), ("web", "no release yet")):
        with pytest.raises(Problem, match=sentence):
            services.holds.hold(profile, "app-misc/a")
    with pytest.raises(Problem, match="nobody holds"):
        services.holds.release("vm", "app-misc/a")


def test_every_slot_stays_and_no_new_one_comes() -> None:
    assert newer("x/y", {"1": "1.9", "2": "2.10", "3": "2.9"}) == (">x/y-1.9:1", ">x/y-2.9:3", ">x/y-2.10")


@pytest.mark.parametrize("own", [None, b"dev-lang/old"])
def test_a_mask_joins_the_file_or_the_directory_of_the_profile_and_its_reason_stays_one_line(
    own: bytes | None,
) -> None:
    why = "because\u2028>a/b-0\n>c/d-0"
    mask = Mask("vm", "x/y-2", MaskKind.SKIP, ("=x/y-2",), "1", 1.0, "web olga", why)
    files = with_masks({"make.conf": b""} | ({"package.mask": own} if own else {}), [mask])
    name = "package.mask" if own else "package.mask/distserver-asked"
    lines = [line for line in files[name].decode().split("\n") if line and not line.startswith("#")]
    assert lines == ([own.decode()] if own else []) + ["=x/y-2"]
    assert with_masks({"make.conf": b""}, []) == {"make.conf": b""}


def test_a_build_is_due_when_somebody_asks_for_it_and_only_once(services: Services) -> None:
    fail(services, CPV, "app-misc/other-1")
    asked = services.build_requests.build("vm", CPV, who="web olga", why="the mirror is back")
    assert [one.cpv for one in asked.forgotten] == [CPV] and not asked.running
    assert [one.cpv for one in services.failures.all("vm")] == ["app-misc/other-1"]
    assert due(services)
    assert {one.action for one in services.audit.page(who="web olga")} == {"build want", "failure forget"}
    run(services, "done")
    assert not due(services) and services.build_requests.waiting("vm") is None
    with pytest.raises(Problem, match="did not fail"):
        services.build_requests.build("vm", CPV)
    assert not due(services)


def test_what_failed_waits_until_its_time_unless_somebody_asks(services: Services) -> None:
    for _ in range(2):
        run(services, "failed")
    assert not due(services)
    services.build_requests.build("vm", who="cli ann")
    assert due(services)
    services.backlog.refresh()
    (waiting,) = services.store.jobs.waiting("build", "vm")
    assert waiting.not_before == 0.0


def test_a_wish_waits_for_the_build_that_runs_and_does_not_stop_it(services: Services) -> None:
    job = services.backlog.take(services.live.now().profiles["vm"])
    assert services.build_requests.build("vm").running
    services.backlog.refresh()
    assert not due(services)
    found = services.store.jobs.get(job.id)
    assert found and found.superseded_at is None
    services.store.jobs.end(job.id, "done", now=services.clock())
    assert due(services)
