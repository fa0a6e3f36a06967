"""A real small build that fails, as the web page shows it: its last lines, another version, another try."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.desks.errands import PLANS, ErrandDesk
from appliance.desks.foresight import ForesightDesk
from appliance.desks.planning import PlanningDesk
from appliance.desks.plans import PlanDesk
from appliance.desks.work import Work
from appliance.farm_model import Job
from appliance.overlays import example_site
from appliance.run import run
from appliance.services import Services
from appliance.store.errands import ErrandKind, ErrandState
from buildfarm.build import BuildResult, build_profile
from buildfarm.decisions import PlanView
from buildfarm.order import Report
from buildfarm.preview import Preview
from tests.integration.farmyard import Farmyard
from tests.webdoor import sign_in, submit
from webui.app import make_app

NEXT = 'EAPI=8\n\ninherit tiny\nDESCRIPTION="The next one"\n'
BREAKS = NEXT + 'src_compile() { echo "the very last <b>words</b>"; die "broken on purpose"; }\n'
BROKEN = "app-misc/witness-2"


@pytest.fixture
def farm(tmp_path: Path, first: tuple[Farmyard, BuildResult]) -> Farmyard:
    """A copy of it, which may hold nothing by itself, with a next version that does not build."""
    run(["cp", "-a", f"{first[0].path}/.", tmp_path])
    farm = replace(first[0], path=tmp_path, hold=False, name="vm", seen=[])
    (farm.repository / "app-misc/witness/witness-2.ebuild").write_text(BREAKS)
    run(["mv", tmp_path / "state/roots/one", tmp_path / "state/roots/vm"])
    return farm


@pytest.fixture
def services(farm: Farmyard) -> Services:
    site = Path(shutil.copytree(example_site(), farm.path / "web-site"))
    return Services(site, farm.tree)


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def build(services: Services, farm: Farmyard) -> Job:
    """As the farm does it, on the tiny repository and stages."""
    for package in farm.ledger.packages():
        services.store.packages.remember(package)
    job = services.backlog.take(services.live.now().profiles["vm"])
    tools = replace(farm.tools(), not_due=services.failures.not_due)
    profile = services.holds.masked(farm.profile())
    with Work(services.store, job.id, lambda progress: None, clock=services.clock) as work:
        result = build_profile(farm.site(), profile, farm.tree, work, work.report, tools=tools)
    services.failures.note("vm", result.failed, keys=result.keys, built=result.built)
    state = "done" if result.release else "failed"
    log = result.logs.name if result.logs else ""
    said = "; ".join(result.reasons)
    services.store.jobs.end(job.id, state, now=services.clock(), message=said, log=log, failure="compile")
    found = services.store.jobs.get(job.id)
    assert found
    return found


@dataclass
class YardPlanning(PlanningDesk):
    """On the yard's stages and repository as they are."""

    services: Services
    farm: Farmyard

    def __post_init__(self) -> None:
        services = self.services
        super().__init__(
            services.live, self.farm.tree, services.store, services.clock, services.sync,
            masked=services.holds.masked,
        )  # fmt: skip

    def find(self, name: str, progress: Report) -> tuple[PlanView, Preview]:
        profile = self.farm.profile()
        found = self._preview(self.farm.site(), profile, progress, self.farm.tools())
        return self._seen(profile, found), found


def plans(services: Services, farm: Farmyard) -> PlanDesk:
    planning = YardPlanning(services, farm)
    return PlanDesk(ForesightDesk(services.store, services.backlog, planning), services.clock)


def test_a_package_fails_is_skipped_let_in_again_and_retried(
    browser: FlaskClient, services: Services, farm: Farmyard
) -> None:
    failed = build(services, farm)
    assert failed.state == "failed"
    page = browser.get(f"/build/{failed.id}").text
    assert "witness-2 did not build" in page and "compile: broken on purpose" in page
    assert "the very last &lt;b&gt;words&lt;/b&gt;" in page
    assert "app-misc/witness-1 was the last that was built" in page
    (name,) = (one.name for one in services.builds.logs(failed) if BROKEN in one.name)
    log = browser.get(f"/build/{failed.id}/log", query_string={"name": name}).text
    assert f"{BROKEN} did not build: compile" in log

    # What a build would do, found out by the farm with Portage's own resolver.
    submit(browser, "/plan/vm")
    planned = ErrandDesk(services.release_desk, services.clock, {ErrandKind.PLAN: plans(services, farm).make})
    errand = planned.do_next(PLANS)
    assert errand and errand.state is ErrandState.DONE and "1 to build" in errand.said, errand
    page = browser.get("/plan/vm?deed=build").text
    assert BROKEN in page and "private API" in page

    # Without the version that fails there is nothing to build, and the release is what machines have.
    form = {"profile": "vm", "package": BROKEN, "why": "it breaks"}
    submit(browser, f"/build/{failed.id}", "/holds/skip", form)
    assert "vm" in services.backlog.due()
    skipped = build(services, farm)
    assert skipped.state == "done", skipped.message
    assert BROKEN not in {one.cpv for one in services.store.job_packages.page(skipped.id, limit=99)}

    # Let in again and mended, it is built when somebody asks.
    submit(browser, "/holds", "/holds/release", {"profile": "vm", "package": BROKEN})
    (farm.repository / "app-misc/witness/witness-2.ebuild").write_text(NEXT)
    submit(browser, f"/build/{failed.id}", "/builds/want", {"profile": "vm", "why": "mended"})
    assert "vm" in services.backlog.due()
    done = build(services, farm)
    assert done.state == "done", done.message
    made = services.store.job_packages.get(done.id, BROKEN)
    assert made and made.state == "done" and not made.reused and made.sha256
    page = browser.get(f"/build/{done.id}").text
    assert "app-misc/witness-1 was the last that was built" in page
    shown = browser.get(f"/package/{made.sha256}").text
    assert "build key" in shown and "profile: vm" in shown
    assert [one.who for one in services.audit.page(action="build want")] == ["web olga"]
