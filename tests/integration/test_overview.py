"""The overview and the lists over a real store: what is counted, searched, paged, and what is never read."""

import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.farm_model import FailureKind, FailureRecord, Package
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.jobs import Wanted
from appliance.store.machines import RANK, Search
from buildfarm.signing import Signer
from tests.press import Press
from tests.webdoor import sign_in
from webui.app import make_app

FACTS = Facts("", Firmware.UEFI, 1 << 30, vendor="Example", disks=(Disk("/dev/vda", 8 << 30),))


@pytest.fixture
def press(tmp_path: Path) -> Press:
    tree = Tree(tmp_path / "state")
    return Press(tree, Path(shutil.copytree(example_site(), tmp_path / "site")), Signer(tree.room("keys")))


@pytest.fixture
def services(press: Press) -> Services:
    return Services(press.site, press.tree, press.clock)


def add(
    services: Services, number: int, state: MachineState, release: str | None = None, name: str = ""
) -> str:
    mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
    profile = None if state is MachineState.DISCOVERED else "vm"
    services.store.machines.add(Machine(mac, state, name, profile, FACTS, release))
    return mac


def test_coverage_is_who_is_installed_with_what_the_channel_names(services: Services, press: Press) -> None:
    old, new = press.published(b"old").id, press.published(b"new").id
    for number in range(3):
        add(services, number, MachineState.INSTALLED, new)
    add(services, 3, MachineState.INSTALLED, old)
    add(services, 4, MachineState.INSTALLING, new)
    other = add(services, 5, MachineState.INSTALLED, old)
    services.store.machines.set_channel(other, "canary")
    (profile,) = services.overview.look().profiles
    assert (profile.release and profile.release.id, profile.canary) == (new, None)
    assert (profile.current, profile.machines) == (3, 6)


def test_a_machine_on_canary_is_current_with_what_canary_names(services: Services, press: Press) -> None:
    old = press.published(b"old").id
    settings = press.site / "profiles/vm/profile.toml"
    settings.write_text(settings.read_text() + '\n[release]\nchannel = "canary"\n')
    new = press.published(b"new").id
    services.store.machines.set_channel(add(services, 1, MachineState.INSTALLED, new), "canary")
    add(services, 2, MachineState.INSTALLED, new)
    (profile,) = services.overview.look().profiles
    assert profile.release and profile.canary
    assert (profile.release.id, profile.canary.id, profile.current) == (old, new, 1)


def test_what_waits_for_a_person_is_counted_and_its_first_are_named(services: Services) -> None:
    for number in range(8):
        add(services, number, MachineState.DISCOVERED)
    lender = add(services, 20, MachineState.DISCOVERED)
    services.store.machines.set_lends(lender, True)
    add(services, 9, MachineState.FAILED)
    services.store.questions.update("vm", [("use", "a/b", "Which?", "")], now=1.0)
    record = FailureRecord("vm", "a/b-1", "k", FailureKind.TEST, "line", "", "", 1, 1.0, 1.0)
    services.store.failures.add(record)
    job = services.store.jobs.start("build", "vm", now=1.0)
    services.store.jobs.end(job, "failed", now=2.0, message="a/b failed")
    services.store.releases.set_fault("r1", "its signature is bad", now=1.0)
    services.store.compile_hosts.put(CompileHost("stranger", "192.0.2.1", HostState.UNKNOWN))
    waiting = services.overview.look().waiting
    assert (waiting.unknown.count, len(waiting.unknown.first), waiting.unknown.more) == (8, 5, 3)
    parts = (waiting.failed, waiting.questions, waiting.packages, waiting.builds, waiting.hosts)
    assert [part.count for part in parts] == [1] * 5
    assert waiting.releases.first == [("r1", "its signature is bad")]
    assert waiting.count == 14


def test_the_backlog_says_what_runs_where_and_until_when(services: Services) -> None:
    store, now = services.store, services.clock()
    here = store.jobs.start("build", "vm", now=now)
    store.database.execute("UPDATE job SET expected_seconds = 600 WHERE id = ?", (here,))
    there = store.jobs.start("warm", "amd64", now=now)
    store.database.execute("UPDATE job SET owner = 'strong@1234' WHERE id = ?", (there,))
    store.jobs.wait("build", Wanted("vm", "newer", now), now=now)
    seen = services.overview.look()
    assert [(run.job.profile, run.where, run.ends_at) for run in seen.running] == [
        ("vm", "", now + 600), ("amd64", "strong", None),
    ]  # fmt: skip
    (queued,) = seen.queued
    assert queued.starts_at == now + 600
    assert seen.drained_at == queued.ends_at > queued.starts_at


def test_the_cluster_is_its_ready_hosts_and_what_they_took_lately(services: Services) -> None:
    now = services.clock()
    report = HostReport("a", "x86_64", 8, load=2.5)
    for name, seen in (("a", now), ("b", now - 3600)):
        services.store.compile_hosts.put(
            CompileHost(name, "192.0.2.1", HostState.READY, seen_at=seen, report=report)
        )
    assert services.overview.look().cluster.remote_share is None
    for number, (share, built_at) in enumerate(((0.5, now), (1.0, now), (1.0, now - 30 * 86400))):
        package = Package(f"{number}", "a/b-1", 1, 1, "k", built_at, "", seconds=100, remote_share=share)
        services.store.packages.remember(package)
    cluster = services.overview.look().cluster
    assert (len(cluster.hosts), cluster.ready, cluster.slots, cluster.load) == (2, 1, 8, 2.5)
    assert cluster.remote_share == 0.75


def test_looking_writes_nothing(services: Services) -> None:
    services.store.compile_hosts.put(CompileHost("a", "192.0.2.1", HostState.READY, seen_at=1.0))
    before = services.store.database.stamp()
    services.overview.look()
    assert services.store.database.stamp() == before


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT state, profile, channel, release, count(*) FROM machine"
        " GROUP BY state, profile, channel, release",
        "SELECT count(*) FROM machine WHERE state = 'discovered' AND lends = 0",
        "SELECT count(*) FROM machine WHERE instr(lower(name), 'x') OR instr(mac, 'x')",
        f"SELECT mac FROM machine WHERE state = 'x' ORDER BY {RANK}, name = '', name, mac LIMIT 50",
        "SELECT mac FROM machine WHERE release = 'x' ORDER BY mac",
        "SELECT sum(seconds), sum(seconds * remote_share) FROM package WHERE built_at >= 1",
    ],
)
def test_lists_are_counted_in_an_index_and_no_row_is_read(services: Services, statement: str) -> None:
    plan = [row["detail"] for row in services.store.database.rows(f"EXPLAIN QUERY PLAN {statement}")]
    assert "COVERING INDEX" in plan[0]


def test_machines_are_searched_filtered_and_paged_with_those_first_that_need_somebody(
    services: Services,
) -> None:
    for number in range(5):
        add(services, number, MachineState.INSTALLED, "r1", name=f"web{number}")
    unknown = add(services, 6, MachineState.DISCOVERED)
    failed = add(services, 7, MachineState.FAILED, name="db1")
    find = services.find_machines
    assert [one.mac for one in find(Search(), limit=2)] == [unknown, failed]
    assert [one.name for one in find(Search(), limit=3, offset=2)] == ["web0", "web1", "web2"]
    assert [one.name for one in find(Search(text="WEB3"), limit=9)] == ["web3"]
    assert [one.mac for one in find(Search(text="52-54-00-00-00-06"), limit=9)] == [unknown]
    assert services.count_machines(Search(text="web", release="r1", profile="vm", state="installed")) == 5
    assert services.count_machines(Search(text="%")) == 0
    assert services.count_machines(Search(text="' OR 1 --")) == 0


def test_releases_are_paged_and_a_new_kernel_is_seen_over_the_edge_of_a_page(
    services: Services, press: Press
) -> None:
    made = [press.release(b"a"), press.release(b"b", kernel=b"other"), press.release(b"c", kernel=b"other")]
    for release in made:
        services.store.releases.add(release)
    desk = services.release_desk
    shown = [desk.page(limit=1, offset=offset)[0] for offset in range(3)]
    assert [one.release.id for one in shown] == [one.release.id for one in desk.releases()]
    assert [one.reboot for one in desk.releases()] == [one.reboot for one in shown]
    assert sum(one.reboot for one in shown) >= 1
    assert (desk.count("vm"), desk.count("other"), desk.page("other", limit=9)) == (3, 0, [])


@pytest.fixture
def browser(services: Services) -> FlaskClient:
    client = make_app(lambda: Services(services.live.path, services.tree, services.clock)).test_client()
    sign_in(client, services)
    return client


def test_the_bar_of_the_cluster_says_that_it_is_the_load(browser: FlaskClient, services: Services) -> None:
    report = HostReport("a", "x86_64", 8, load=3.0)
    host = CompileHost("a", "192.0.2.1", HostState.READY, seen_at=services.clock(), report=report)
    services.store.compile_hosts.put(host)
    assert "load: 37 % of the slots" in browser.get("/").text


def test_the_list_of_machines_has_pages_that_keep_the_search(
    browser: FlaskClient, services: Services
) -> None:
    for number in range(60):
        add(services, number, MachineState.ASSIGNED, name=f"web{number:03}")
    text = browser.get("/machines?text=web&state=assigned").text
    assert text.count('href="/machine/') == 50
    assert 'rel="next" href="/machines?text=web&amp;state=assigned&amp;page=2"' in text
    text = browser.get("/machines?text=web&state=assigned&page=2").text
    assert text.count('href="/machine/') == 10
    assert 'rel="next"' not in text


def test_what_is_empty_says_what_to_do_next(browser: FlaskClient) -> None:
    for path in ("/", "/machines"):
        assert "distserver machine add MAC" in browser.get(path).text
    assert "The farm is building the first one" in browser.get("/releases").text
    assert "show all of them" in browser.get("/machines?text=nobody").text
    assert "Nothing: every machine has what it needs" in browser.get("/").text
